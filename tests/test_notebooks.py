"""The notebooks keep to the template, show what they computed, and draw the committed figures."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
spec = importlib.util.spec_from_file_location("costs", ROOT / "notebooks" / "costs.py")
costs_of_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(costs_of_pages)
TRAINS = re.compile(
    r"course\.(course_runs?|score_table|learning_tables|course_evaluation|trained|leak_table|mistakes_table"
    r"|recipe_ladder|dev_table)\(|landmark\.(fit|launch)\("
)
LOOPS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While)


def name_of(path):
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


every_notebook = pytest.mark.parametrize("path", PATHS + SOLUTIONS, ids=name_of)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def header(path):
    """The line of a notebook's first cell that leads to its neighbours and says its minutes."""
    (line,) = re.findall(r"^(?:Before|After): .*$", nbformat.read(path, as_version=4).cells[0].source, re.M)
    return line


def test_fourteen_of_them():
    """Fails when a notebook is lost or its number is taken twice."""
    assert [p.name[:2] for p in PATHS] == [f"{i:02}" for i in range(14)]


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_header_leads_to_the_neighbours(path):
    """Fails when a notebook that was added, renamed or moved is not reached from the one before it or after it."""
    i = PATHS.index(path)
    near = {"Before": PATHS[i - 1] if i else None, "After": PATHS[i + 1] if i + 1 < len(PATHS) else None}
    links = dict(re.findall(r"(Before|After): \[\d+\. [^\]]+\]\(([^)]+)\)", header(path)))
    assert links == {word: there.name for word, there in near.items() if there}


def test_costs_are_the_same_everywhere():
    """Fails when a header, README or notebook 0 says other minutes than `costs.toml`, or forgets a notebook."""
    costs = tomllib.loads(costs_of_pages.COSTS.read_text())
    assert list(costs) == [path.stem for path in PATHS]
    readme = (ROOT / "README.md").read_text()
    assert costs_of_pages.stamped("README", readme, costs) == readme
    assert re.findall(r"^\| \d+ \|.*\(notebooks/(\w+)\.ipynb\).*\| \d+ \|$", readme, re.M) == list(costs)
    first = "\n".join(cell.source for cell in nbformat.read(PATHS[0], as_version=4).cells)
    assert costs_of_pages.stamped(PATHS[0].stem, first, costs) == first
    assert re.findall(r"^\| \d+ \|.*\((\w+)\.ipynb\).*\| \d+ \| [\d,]+ MB \|$", first, re.M) == list(costs)[1:]
    for path in PATHS:
        minutes = re.search(r"\) *\. (\d+) minutes?\.$", header(path))
        assert minutes and costs_of_pages.stamped(path.stem, header(path), costs) == header(path)


def test_costs_by_hand():
    """Fails when a page's own minutes are written into another page's row, or 1 minute becomes 1 minutes."""
    costs = {"01_a": {"seconds": 31, "megabytes": 1234}, "02_b": {"seconds": 100, "megabytes": 766}}
    page = (
        "Before: [1](01_a.ipynb). 9 minutes.\n| 1 | [a](01_a.ipynb) | 9 | 9 MB |\n| 2 | [b](notebooks/02_b.ipynb) | 9 |"
    )
    stamped = costs_of_pages.stamped("02_b", f"{page}\nin 9 minutes on two, 9 GB at the end", costs)
    assert stamped == (
        "Before: [1](01_a.ipynb). 2 minutes.\n| 1 | [a](01_a.ipynb) | 1 | 1,234 MB |\n| 2 | [b](notebooks/02_b.ipynb) | 2 |\n"
        "in 2 minutes on two, 2 GB at the end"
    )
    assert costs_of_pages.stamped("01_a", "After: [2](02_b.ipynb). 9 minutes.", costs).endswith(" 1 minute.")


@every_notebook
def test_cells(path):
    """Fails on a cell that should be a function of the package, or a page that cannot be opened on Colab."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    lines = 0
    for cell in code_cells(path):
        source = "\n".join(line for line in cell.source.splitlines() if not line.strip().startswith(("%", "!")))
        source = re.sub(r"(if importlib.+)\n", r"\1\n    pass\n", source)
        assert len(cell.source.splitlines()) <= 12, cell.source
        lines += len(cell.source.splitlines())
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, LOOPS)], cell.source
    assert lines <= 150
    assert (
        f"{ADDRESS.removeprefix('https://github.com/')}/blob/main/notebooks/{name_of(path)}.ipynb"
        in notebook.cells[0].source
    )
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
    assert any(f"git+{ADDRESS}" in cell.source for cell in code_cells(path))


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_template(path):
    """Fails when a part of the template is missing, or a page grows too long to read."""
    notebook = nbformat.read(path, as_version=4)
    assert 15 <= len(notebook.cells) <= 45 and path.stat().st_size <= 3_000_000
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for heading in ("**Question.**", "**Answer.**", "What this does not show", "Questions", "References"):
        assert heading in text, heading


def questions(path):
    """The part of a notebook that asks, and its questions."""
    text = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    part = re.search(r"^## Questions$(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    return part, re.findall(r"^(\d+\. .+)$", part, re.M)


def test_every_lesson_has_solutions():
    """Fails when a notebook is renamed or added and its solutions are not."""
    assert [path.name for path in SOLUTIONS] == [path.name for path in PATHS[1:]]


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_every_question_has_a_folded_answer(path):
    """Fails when a question is asked and not answered, numbered twice, or its code cannot be found."""
    part, asked = questions(path)
    assert len(asked) >= 3 and [line.split(".")[0] for line in asked] == [str(i + 1) for i in range(len(asked))]
    assert part.count("<details>") == part.count("</details>") == len(asked)
    assert (f"](solutions/{path.name})" in part) == (path != PATHS[0])


@pytest.mark.parametrize("path", SOLUTIONS, ids=name_of)
def test_solutions_answer_the_questions_of_their_notebook(path):
    """Fails when a title or question was reworded on one page alone, or stands there without code or a sentence."""
    cells = nbformat.read(path, as_version=4).cells
    title = nbformat.read(path.parents[1] / path.name, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    assert cells[0].source.startswith(f"# Solutions: {title}\n") and f"[{title}](../{path.name})" in cells[0].source
    assert path.stat().st_size <= 600_000
    heads = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    assert [cells[i].source.removeprefix("## ") for i in heads] == questions(path.parents[1] / path.name)[1]
    for start, end in zip(heads, [*heads[1:], len(cells)], strict=True):
        kinds = [cell.cell_type for cell in cells[start + 1 : end]]
        assert kinds[0] == "code" and kinds[-1] == "markdown" and cells[end - 1].source.rstrip().endswith((".", ")"))


@every_notebook
def test_a_failed_install_stops_with_a_line(path, monkeypatch):
    """Fails when a reader on Colab meets a ModuleNotFoundError in place of what to do, or an install where none is due."""
    (setup,) = [cell.source for cell in code_cells(path) if f"%pip install -q git+{ADDRESS}" in cell.source]
    lines = setup[: setup.index("\n", setup.index("assert"))].replace("%pip", "pip.append(True) #")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    pip = []
    with pytest.raises(AssertionError, match="landmark was not installed: .* run this cell again"):
        exec(lines, {"pip": pip})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "here")
    exec(lines, {"pip": pip})
    assert pip == [True]


@every_notebook
def test_what_trains_asks_colab_for_a_gpu(path):
    """Fails when a page that trains networks opens on a CPU there, or one that trains none takes a GPU."""
    code = "".join(cell.source for cell in code_cells(path))
    asked = nbformat.read(path, as_version=4).metadata.get("accelerator")
    assert asked == ("GPU" if TRAINS.search(code) else None)


@every_notebook
def test_outputs_are_those_of_one_run(path):
    """Fails when a notebook is committed without outputs, with an error, or run in another order."""
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert "full mode" in "".join(o.get("text", "") for cell in cells for o in cell.outputs)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_a_figure_that_is_saved_is_shown(path):
    """Fails when a figure is not the last value of its cell: it is in the folder then, and missing on the page."""
    for cell in code_cells(path):
        if "save_figure(" in cell.source:
            assert [o for o in cell.outputs if {"image/png", "image/jpeg"} & o.get("data", {}).keys()], cell.source


def test_figures_belong_to_notebooks():
    """Fails on a figure that no notebook draws, one that was not committed, or one that is too large."""
    drawn = {name for path in PATHS + SOLUTIONS for cell in code_cells(path) for name in re.findall(r'"(\d\d-[a-z0-9-]+)"', cell.source)
             if name[:2] == path.name[:2]}  # fmt: skip
    files = sorted((ROOT / "figures").iterdir())
    assert sorted(path.stem for path in files) == sorted(drawn)
    assert all(path.suffix in (".png", ".jpg") and path.stat().st_size <= 300 * 1024 for path in files)
