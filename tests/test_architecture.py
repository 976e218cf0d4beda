"""The house: wings on floors, imports that go down, files that stay small, faces that only re-export.

Exceptions stand by name in the tables below, and may only shrink: one that is no longer needed fails as well.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "landmark"
WINGS = {"utils": 0, "data": 1, "models": 1, "figures": 1, "world": 2, "prepare": 2, "evaluation": 2, "training": 3,
         "retrieval": 3, "course": 4, "cli": 5}  # fmt: skip
TOP = {"": 5, "__main__": 6}  # the package's face, and what starts the command
# files over 300 lines, with their length
LONG: dict[str, int] = {}
# folders of more than 9 files, with their number
CROWDED = {}
# files that import modules by name
NAMED = {
    "training/run.py",
    "utils/faces.py",
}
# notebooks that show what is not public
PRIVATE: set[str] = set()
FREE_OF_TORCH = (
    "evaluation/metrics.py",
    "evaluation/bootstrap.py",
    "evaluation/open_world.py",
    "evaluation/confidence.py",
    "evaluation/neighbours.py",
    "evaluation/report/page.py",
    "evaluation/report/summary.py",
    "retrieval/config.py",
    "retrieval/fusion/crowd.py",
    "retrieval/fusion/ensemble.py",
    "retrieval/fusion/rule.py",
    "retrieval/vectors/likeness.py",
    "retrieval/local/matching.py",
    "retrieval/local/rerank.py",
    "retrieval/scale/resumable.py",
    "retrieval/vote.py",
)
HEAVY = {"torch", "torchvision", "timm", "safetensors"}

FILES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
FACES = [name for name in FILES if name.endswith("__init__.py")]
ROOMS = [name for name in FILES if name not in FACES]


def dotted(name):
    """File of the package → module."""
    return ".".join(["landmark", *Path(name).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {dotted(name): name for name in FILES}


def wing(name):
    return name.split("/")[0] if "/" in name else ""


def floor(name):
    return WINGS[wing(name)] if wing(name) else TOP[Path(name).stem.removeprefix("__init__")]


def reexports(name):
    """Name → module of a face."""
    blocks = [block for block in FILES[name].body if isinstance(block, ast.If)]
    return {alias.asname or alias.name: node.module for block in blocks for node in block.body for alias in node.names}


def targets(node: ast.AST) -> Iterator[str]:
    """Files of the package that an import statement reaches, through faces as well."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == "landmark":
                yield MODULES[alias.name]
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "landmark":
        for alias in node.names:
            if f"{node.module}.{alias.name}" in MODULES:
                yield MODULES[f"{node.module}.{alias.name}"]
            elif MODULES[node.module] in FACES and alias.name in reexports(MODULES[node.module]):
                yield MODULES[reexports(MODULES[node.module])[alias.name]]
            else:
                yield MODULES[node.module]


def imported(name, tree=None):
    return {file for node in ast.walk(tree or FILES[name]) for file in targets(node)} - {name}


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name):
    """Fails when a metric starts to know about training, or a file stands outside the wings."""
    assert wing(name) in WINGS or name.count("/") == 0, f"{name}: no such wing"
    reached = {file for file in imported(name) if wing(file) != wing(name) or not wing(name)}
    wrong = [file for file in reached if floor(file) > floor(name) or (floor(file) == floor(name) and wing(name))]
    assert not wrong, f"{name} (floor {floor(name)}) imports {sorted(wrong)}"


def test_no_circle():
    """Fails when two files need each other, whichever wing they are in."""
    waiting = {name: imported(name) - set(FACES) for name in ROOMS}
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert not waiting, f"in a circle, or above one: {sorted(waiting)}"


@pytest.mark.parametrize("name", FILES)
def test_every_import_is_seen(name):
    """Fails when an import is relative or hides in a string, where the two tests above do not see it."""
    assert not [node for node in ast.walk(FILES[name]) if isinstance(node, ast.ImportFrom) and node.level]
    names = {node.id for node in ast.walk(FILES[name]) if isinstance(node, ast.Name)}
    modules = {a.name for node in ast.walk(FILES[name]) if isinstance(node, ast.Import) for a in node.names}
    modules |= {f"{node.module}.{a.name}" for node in ast.walk(FILES[name]) if isinstance(node, ast.ImportFrom)
                for a in node.names}  # fmt: skip
    modules -= {"importlib.metadata"}  # tells what is installed, and imports nothing
    by_name = "__import__" in names or any(module.split(".")[0] == "importlib" for module in modules)
    assert by_name == (name in NAMED)


@pytest.mark.parametrize("name", FACES)
def test_faces(name):
    """Fails when a face does work, hides a name, or shows one that its file's name will take away."""
    tree, module = FILES[name], importlib.import_module(dotted(name))
    assert ast.get_docstring(tree)
    kinds = [type(node).__name__ for node in tree.body[1:]]
    if name == "__init__.py":  # what threads do is settled before anything can load torch
        quiet = "logging.getLogger(__name__).addHandler(logging.NullHandler())"  # and nothing is said unasked
        assert [ast.unparse(node) for node in tree.body if isinstance(node, ast.Expr)][1:] == [
            quiet,
            "settle_threads()",
        ]
        for kind in ("Import", "ImportFrom", "Expr", "Expr"):
            kinds.remove(kind)
    assert kinds == ["ImportFrom", "ImportFrom", "If", "Assign", "Assign"], f"a face only re-exports: {kinds}"
    assert module.__all__ == sorted(module.__all__) == dir(module) and set(module.__all__) == reexports(name).keys()
    assert not {"_"} & {shown[0] for shown in module.__all__}
    assert all(getattr(module, shown) is not None for shown in module.__all__)
    beside = {path.stem for path in (PACKAGE / name).parent.iterdir()}
    assert not beside & set(module.__all__), "once that file is imported, the name means the file"
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_every_folder_has_a_face():
    """Fails when a folder of code is no package, or a wing is not in the table."""
    folders = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*")
               if path.is_dir() and any(path.rglob("*.py"))}  # fmt: skip
    assert {Path(name).parent.as_posix() for name in FACES} == folders | {"."}
    assert {folder for folder in folders if "/" not in folder} == WINGS.keys()


def test_files_stay_small():
    """Fails when a file grows into a second noun, or one that shrank could grow again unseen."""
    sizes = {name: len((PACKAGE / name).read_text().splitlines()) for name in FILES}
    over = {name: size for name, size in sizes.items() if size > LONG.get(name, 300)}
    assert not over, over
    assert LONG == {name: sizes.get(name) for name in LONG if sizes.get(name, 0) > 300}, "let the table shrink, too"


def test_folders_stay_small():
    """Fails when a wing takes in more files than one can keep in mind."""
    rooms = [Path(name).parent.as_posix() for name in ROOMS]
    counts = {folder: rooms.count(folder) for folder in sorted(set(rooms))}
    assert CROWDED == {folder: count for folder, count in counts.items() if count > 9}


def cells(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield re.sub(r"^(\s*)[%!].*$", r"\1pass", "".join(cell["source"]), flags=re.M)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").rglob("*.ipynb")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_notebooks_use_faces(path):
    """Fails when a notebook reaches behind a face, needs more than one wing beside the course, or a private name."""
    trees = [ast.parse(cell) for cell in cells(path)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used, wings = set(), set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "landmark":
            used.add(node.module)
            wings |= {alias.name for alias in node.names} if node.module == "landmark" else {node.module.split(".")[1]}
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names if alias.name.split(".")[0] == "landmark"}
    private = [n.attr for n in nodes if isinstance(n, ast.Attribute) and re.match(r"_[a-zA-Z]", n.attr)]
    behind = used - {"landmark"}
    assert bool(private or behind) == (path.stem in PRIVATE), f"{private} {behind}"
    assert len(wings - {"course", "figures"}) <= 1 and wings <= WINGS.keys(), sorted(wings)
    for node in nodes:  # every name is one that the face shows
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"landmark", *wings}
        ):
            face = MODULES["landmark" if node.value.id == "landmark" else f"landmark.{node.value.id}"]
            assert node.attr in reexports(face) or path.stem in PRIVATE, f"{node.value.id}.{node.attr}"


def public(name):
    """Whether a file defines a name that others may use."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in FILES[name].body)


def test_tests_mirror_the_wings():
    """Fails when a file with a public name has no test file of its own, or a test file's file is gone."""
    wanted = {Path("tests", Path(name).parent, f"test_{Path(name).name}").as_posix() for name in ROOMS if public(name)}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert wanted - there == set(), "a file without a test of its own"
    assert {name for name in there - wanted if name.count("/") > 1} == set(), "a test file without its file"


@pytest.mark.parametrize("name", FREE_OF_TORCH)
def test_free_of_torch(name):
    """Fails when scoring a submission starts to need torch, by whatever way the import is written."""
    seen, queue = set(), [name]
    while queue:
        file = queue.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in FILES[file].body:  # what runs when the file is imported
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef) else ():
                heads = [inner.module or ""] if isinstance(inner, ast.ImportFrom) else []
                heads += [alias.name for alias in inner.names] if isinstance(inner, ast.Import) else []
                assert not {head.split(".")[0] for head in heads} & HEAVY, (
                    f"{name} reaches {file}: {ast.unparse(inner)}"
                )
                queue += targets(inner)
        parents = Path(file).parents
        queue += [face for parent in parents if (face := (parent / "__init__.py").as_posix()) in FILES]
    modules = ", ".join(dotted(n) for n in FREE_OF_TORCH)
    code = f"import sys, {modules}; sys.exit(' '.join({HEAVY!r} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout")
def test_every_file_is_tracked_and_installed(tmp_path):
    """Fails when git ignores a wing or a file of data, or an install from git leaves it out."""
    here = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in
            path.parts}  # fmt: skip
    listed = ["git", "ls-files", "landmark", "--cached"]
    assert set(subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.split()) == here
    for name in [*here, "pyproject.toml", "README.md", "LICENSE"]:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes((ROOT / name).read_bytes())
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    built = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "copy", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("landmark/")} == here
