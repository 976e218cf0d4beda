"""The runner of the notebooks, on a notebook of its own."""

import os
import select

import nbformat
import psutil
import pytest
import torch

from tests.helpers import load_script

run = load_script("run")


def kernels():
    return [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]


def notebook(tmp_path, *sources, name="01_x.ipynb"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell("# 1. A title\n\n**Question.** Does it run?")]
    book = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(s) for s in sources])
    nbformat.write(book, tmp_path / name)
    return tmp_path / name


def test_executes_and_reports(tmp_path):
    """Fails when outputs or execution counts are missing, or a kernel stays."""
    path = notebook(tmp_path, "print(1)\nprint(2)", "1 + 1")
    assert run.execute(path, tmp_path / "report") > 0
    assert not kernels(), "a kernel that stays keeps its memory while the next notebook runs"
    done = nbformat.read(tmp_path / "report" / "01_x.ipynb", as_version=4)
    assert [c.execution_count for c in done.cells[1:]] == [1, 2] and done.cells[1].outputs[0].text == "1\n2\n"


def test_a_failing_cell_stops_with_its_error(tmp_path, capsys):
    """Fails when an error is swallowed, or a broken notebook leaves an executed copy."""
    path = notebook(tmp_path, "1 / 0")
    with pytest.raises(SystemExit) as stop:
        run.execute(path, tmp_path / "report")
    assert stop.value.code == 1 and "ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "report" / "01_x.ipynb").exists()


def test_several_at_a_time_and_solutions_apart(tmp_path, capsys):
    """Fails when notebooks are run one after another, share a folder, or solutions overwrite their notebook."""
    meet = "import pathlib, time\npathlib.Path('own').touch()\nthere = pathlib.Path({!r})\nthere.touch()\n"
    meet += "while not all((there.parent / x).exists() for x in 'ab'): time.sleep(0.05)\nsorted(p.name for p in pathlib.Path().iterdir())"
    paths = [notebook(tmp_path, meet.format(str(tmp_path / "a"))),
             notebook(tmp_path, meet.format(str(tmp_path / "b")), name="solutions/01_x.ipynb")]  # fmt: skip
    report = tmp_path / "report"
    run.execute_beside(paths, report, 2)
    told = capsys.readouterr().out.splitlines()
    for name in ("01_x.ipynb", "solutions/01_x.ipynb"):
        done = nbformat.read(report / name, as_version=4)
        assert done.cells[1].outputs[0].data["text/plain"] == "['own']"
        assert len([line for line in told if line.startswith(f"{name} ")]) == 1
    assert not kernels() and not list(report.glob("scratch-*"))


def test_what_measures_time_runs_alone_at_last(tmp_path, monkeypatch):
    """Fails when timings are taken beside other notebooks, with one thread, or a setting of the user is changed."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LANDMARK_QUICK", raising=False)
    told = f"import os\nopen({str(tmp_path / 'log')!r}, 'a').write('{{}} ' + os.environ.get('OMP_NUM_THREADS', 'all') + '\\n')"
    paths = [notebook(tmp_path, told.format(n), name=f"{n}_x.ipynb") for n in ("06", "07", "08")]
    run.execute_all(paths, tmp_path / "report", 2)
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines[:2]) == ["06 1", "08 1"] and lines[2:] == ["07 all"] and "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with run.one_thread():
        assert os.environ["OMP_NUM_THREADS"] == "3"


def test_the_longest_begin_first(tmp_path, monkeypatch):
    """Fails when the longest notebook of all begins last, and one core idles until it is done."""
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    began: list = []
    monkeypatch.setattr(run, "execute_beside", lambda paths, report, at_once: began.extend(p.stem for p in paths))
    (tmp_path / "costs.toml").write_text("a = {seconds = 3}\nb = {seconds = 50}\nc = {seconds = 7}\n")
    monkeypatch.setattr(run, "HERE", tmp_path)
    run.execute_all([tmp_path / f"{name}.ipynb" for name in "axbc"], tmp_path, 2)
    assert began == ["b", "c", "a", "x"]


def test_cores_and_free_memory_limit_the_notebooks_at_a_time(monkeypatch):
    """Fails when a machine with many cores and little memory is asked for more than it has, or a GPU is shared."""
    free = psutil.virtual_memory()._replace(available=7e9)
    monkeypatch.setattr(run.psutil, "virtual_memory", lambda: free)
    for cores, at_once in ((1, 1), (2, 2), (16, 2)):
        monkeypatch.setattr(run, "usable_cpus", lambda cores=cores: cores)
        assert run.notebooks_at_once() == at_once
    monkeypatch.setattr(run.device, "device", lambda: torch.device("cuda"))
    assert run.notebooks_at_once() == 1


@pytest.mark.parametrize("how", ["an error", "Ctrl-C"])
def test_the_first_error_or_ctrl_c_stops_all(tmp_path, capsys, monkeypatch, how):
    """Fails when a kernel outlives the run, the error does not name notebook and cell, or killed ones are told as well."""
    began = tmp_path / "began"
    paths = [notebook(tmp_path, f"open({str(began)!r}, 'w')", "import time\ntime.sleep(600)", name="02_y.ipynb")]
    wait = f"import os, time\nwhile not os.path.exists({str(began)!r}): time.sleep(0.05)"
    paths += [
        notebook(tmp_path, wait, "1 / 0" if how == "an error" else "2"),
        notebook(tmp_path, "3", name="03_z.ipynb"),
    ]
    if how == "Ctrl-C":
        first = run.as_completed

        def interrupted(running):
            yield next(first(running))
            raise KeyboardInterrupt

        monkeypatch.setattr(run, "as_completed", interrupted)
    with pytest.raises(SystemExit if how == "an error" else KeyboardInterrupt):
        run.execute_beside(paths, tmp_path / "report", 2)
    told = capsys.readouterr().err
    assert "02_y" not in told and not kernels() and not (tmp_path / "report" / "02_y.ipynb").exists()
    if how == "an error":
        assert "01_x.ipynb: cell 2 of 2 failed" in told and "ZeroDivisionError" in told


def test_what_is_published(tmp_path, monkeypatch):
    """Fails when solutions are left out or go to the wrong place, or a figure that is no longer drawn stays."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    paths = [notebook(tmp_path, "old"), notebook(tmp_path, "old", name="solutions/01_x.ipynb")]
    for name in ("01_x.ipynb", "solutions/01_x.ipynb"):
        (tmp_path / "report" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "report" / name).write_text(f"new {name}")
    (tmp_path / "report" / "figures").mkdir()
    (tmp_path / "report" / "figures" / "01-new.png").touch()
    (tmp_path / "figures").mkdir()
    for name in ("01-old.png", "02-other.png"):
        (tmp_path / "figures" / name).touch()
    run.publish(tmp_path / "report", paths)
    assert [path.read_text() for path in paths] == ["new 01_x.ipynb", "new solutions/01_x.ipynb"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["01-new.png", "02-other.png"]


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
