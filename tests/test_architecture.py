"""The floors of the house: a module imports only from lower ones."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "landmark"
FLOORS = {
    0: "diagrams functional localserver materials metrics plots renderer runtime sampling structure",
    1: "bigtable charts checkpoints curves distributed figures images int8 locks mechanisms panels process recipes "
    "saliency solids sprites tarindex web",
    2: "archives config gauges layers sacred scenery secular tables transfer",
    3: "architecture backbones inspection landmarks50 layer_benchmark mirror shrink table_benchmark",
    4: "distractors health models sources splits",
    5: "check_benchmark data download inference synthetic thread_benchmark",
    6: "prediction runs suspects views",
    7: "submission training",
    8: "experiments sides studies",
    9: "benchmarks int8_benchmark precision",
    10: "cli __init__ __main__",
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}
MODULES = sorted(PACKAGE.glob("*.py"))


def imported(path):
    """Modules of the package that a file imports, function bodies included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "landmark":
            found |= {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("landmark.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_imports_go_down(path):
    """Fails on a circle, or on a metric that starts to know about training."""
    assert path.stem in FLOOR, f"{path.name} has no floor: give it one in this test"
    wrong = {m for m in imported(path) & FLOOR.keys() if FLOOR[m] >= FLOOR[path.stem]}
    if path.stem == "__main__":
        wrong -= {"cli"}
    assert not wrong, f"{path.name} (floor {FLOOR[path.stem]}) imports {sorted(wrong)}"


def test_numpy_only_metrics():
    """Fails when scoring a submission would start to need torch or the package's other rooms."""
    names = {n.name.split(".")[0] for node in ast.walk(ast.parse((PACKAGE / "metrics.py").read_text()))
             if isinstance(node, ast.Import) for n in node.names}  # fmt: skip
    assert "torch" not in names and not imported(PACKAGE / "metrics.py")


def test_files_stay_small():
    """Fails when a file grows into a second noun."""
    sizes = {p.name: len(p.read_text().splitlines()) for p in MODULES}
    assert not {n: s for n, s in sizes.items() if s > 450}
