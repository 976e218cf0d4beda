"""The notebooks keep to the template, show what they computed, and draw the committed figures."""

import ast
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
LOOPS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_thirteen_of_them():
    """Fails when a notebook is lost or its number is taken twice."""
    assert [p.name[:2] for p in PATHS] == [f"{i:02}" for i in range(1, 14)]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_template(path):
    """Fails on a cell that should be a function of the package, or a part of the template that is missing."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert 15 <= len(notebook.cells) <= 45 and path.stat().st_size <= 3_000_000
    lines = 0
    for cell in code_cells(path):
        source = "\n".join(line for line in cell.source.splitlines() if not line.strip().startswith(("%", "!")))
        source = re.sub(r"(if importlib.+)\n", r"\1\n    pass\n", source)
        assert len(cell.source.splitlines()) <= 12, cell.source
        lines += len(cell.source.splitlines())
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, LOOPS)], cell.source
    assert lines <= 150
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for heading in ("**Question.**", "**Answer.**", "What this does not show", "Questions", "References"):
        assert heading in text, heading
    assert ADDRESS.removeprefix("https://github.com/") in notebook.cells[0].source
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
    assert any(f"git+{ADDRESS}" in cell.source for cell in code_cells(path))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_outputs_are_those_of_one_run(path):
    """Fails when a notebook is committed without outputs, with an error, or run in another order."""
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert "full mode" in "".join(o.get("text", "") for cell in cells for o in cell.outputs)


def test_figures_belong_to_notebooks():
    """Fails on a figure that no notebook draws, one that was not committed, or one that is too large."""
    drawn = {name for path in PATHS for cell in code_cells(path) for name in re.findall(r'"(\d\d-[a-z0-9-]+)"', cell.source)
             if name[:2] == path.name[:2]}  # fmt: skip
    files = {p.stem: p.stat().st_size for p in (ROOT / "figures").glob("*.png")}
    assert files.keys() == drawn
    assert all(size <= 150 * 1024 for size in files.values())
