"""The runner of the notebooks, on a notebook of its own."""

import importlib.util
from pathlib import Path

import nbformat
import psutil
import pytest

spec = importlib.util.spec_from_file_location("run", Path(__file__).parents[1] / "notebooks" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


def notebook(tmp_path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# 1. A title\n\n**Question.** Does it run?")]
    book = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(s) for s in sources])
    nbformat.write(book, tmp_path / "01_x.ipynb")
    return tmp_path / "01_x.ipynb"


def test_executes_and_reports(tmp_path):
    """Fails when outputs, execution counts, the page or the index are missing."""
    path = notebook(tmp_path, "print(1)\nprint(2)", "1 + 1")
    seconds = run.execute(path, tmp_path / "report")
    run.index(tmp_path / "report", {"01_x": seconds})
    left = [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]
    assert not left, "a kernel that stays keeps its memory while the next notebook runs"
    done = nbformat.read(tmp_path / "report" / "01_x.ipynb", as_version=4)
    assert [c.execution_count for c in done.cells[1:]] == [1, 2] and done.cells[1].outputs[0].text == "1\n2\n"
    assert "Does it run?" in (tmp_path / "report" / "index.html").read_text()
    assert "A title" in (tmp_path / "report" / "01_x.html").read_text()


def test_a_failing_cell_stops_with_its_error(tmp_path, capsys):
    """Fails when an error is swallowed, or a broken notebook leaves an executed copy."""
    path = notebook(tmp_path, "1 / 0")
    with pytest.raises(SystemExit) as stop:
        run.execute(path, tmp_path / "report")
    assert stop.value.code == 1 and "ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "report" / "01_x.ipynb").exists()


def test_tidy_by_hand():
    """Fails when progress bars fill pages, or widget state is kept."""
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="run:  10%|█ | 1/10\rrun: 100%|██| 10/10\n"),
        nbformat.v4.new_output("stream", name="stdout", text="a\n"),
        nbformat.v4.new_output("stream", name="stdout", text="b\n"),
        nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
    ]
    book = run.tidy(nbformat.v4.new_notebook(cells=[cell]))
    assert [o.text for o in book.cells[0].outputs] == ["a\nb\n"]
