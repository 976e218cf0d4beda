"""The runner of the notebooks, on a notebook of its own."""

import select

import nbformat
import psutil
import pytest

from tests.helpers import load_script

run = load_script("run")


def notebook(tmp_path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# 1. A title\n\n**Question.** Does it run?")]
    book = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(s) for s in sources])
    nbformat.write(book, tmp_path / "01_x.ipynb")
    return tmp_path / "01_x.ipynb"


def test_executes_and_reports(tmp_path):
    """Fails when outputs or execution counts are missing, or a kernel stays."""
    path = notebook(tmp_path, "print(1)\nprint(2)", "1 + 1")
    assert run.execute(path, tmp_path / "report") > 0
    left = [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]
    assert not left, "a kernel that stays keeps its memory while the next notebook runs"
    done = nbformat.read(tmp_path / "report" / "01_x.ipynb", as_version=4)
    assert [c.execution_count for c in done.cells[1:]] == [1, 2] and done.cells[1].outputs[0].text == "1\n2\n"


def test_a_failing_cell_stops_with_its_error(tmp_path, capsys):
    """Fails when an error is swallowed, or a broken notebook leaves an executed copy."""
    path = notebook(tmp_path, "1 / 0")
    with pytest.raises(SystemExit) as stop:
        run.execute(path, tmp_path / "report")
    assert stop.value.code == 1 and "ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "report" / "01_x.ipynb").exists()


@pytest.mark.timeout(60)
def test_a_widget_cannot_make_it_wait_for_ever(tmp_path, monkeypatch):
    """Fails when nbclient answers an Output widget: the cell's reply, here as always on a busy machine there already, is
    then never noticed."""
    process = run.NotebookClient.process_message

    def late(self, msg, cell, index):
        if msg["msg_type"] == "stream":  # go on only once the reply has come, which the loop has not seen yet
            assert select.select([self.kc.shell_channel.socket.FD], [], [], 30)[0]
        return process(self, msg, cell, index)

    monkeypatch.setattr(run.NotebookClient, "process_message", late)
    source = "with ipywidgets.Output():\n    print('inside', flush=True)\n    time.sleep(0.5)"
    path = notebook(tmp_path, "import ipywidgets, time", source)
    run.execute(path, tmp_path / "report")
    done = nbformat.read(tmp_path / "report" / "01_x.ipynb", as_version=4)
    assert done.cells[2].outputs[0].text == "inside\n"


def test_tidy_by_hand():
    """Fails when progress bars fill pages, widget state is kept, a widget takes its picture along, or Colab's settings
    are lost."""
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="run:  10%|█ | 1/10\rrun: 100%|██| 10/10\n"),
        nbformat.v4.new_output("stream", name="stdout", text="a\n"),
        nbformat.v4.new_output("stream", name="stdout", text="b\n"),
        nbformat.v4.new_output("display_data", data={run.WIDGET: {}, "text/plain": "HBox()"}),
        nbformat.v4.new_output("display_data", data={run.WIDGET: {}, "image/png": "iVBORw0KGgo="}),
    ]
    colab = {"accelerator": "GPU", "colab": {"gpuType": "T4"}}
    book = run.tidy(nbformat.v4.new_notebook(cells=[cell], metadata={**colab, "widgets": {}}))
    text, picture = book.cells[0].outputs
    assert text.text == "a\nb\n" and picture.data == {"image/png": "iVBORw0KGgo="}
    assert book.metadata.keys() == {"accelerator", "colab", "kernelspec", "language_info"}
    assert book.metadata.colab.gpuType == "T4"
