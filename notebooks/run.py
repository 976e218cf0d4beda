"""Run the numbered notebooks headless: `python notebooks/run.py [--publish] [--report FOLDER] [NN …]`.

Executed copies, figures and a site (html/index.html) go to the report's folder; the work tree stays as it is, unless
--publish copies outputs and figures back into it. Training runs are kept by the package, so a second start only repeats
what is quick. Solutions are run with --publish and in quick mode.

On a CPU as many notebooks run at a time as there are cores, with one thread each, and those that measure time after the
others, alone. With --publish, and beside a GPU, one runs after another, and a costs.toml tells what each has taken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

import nbformat
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from landmark.utils import device, files
from landmark.utils.process import usable_cpus

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TIMED = ("07", "13")  # notebooks whose outputs are timings
KERNEL = 3e9  # bytes of memory that a notebook and what trains for it may take
COSTS = "# Of each notebook, when all run in order: seconds, and megabytes that it adds to data and runs."
WIDGET = "application/vnd.jupyter.widget-view+json"


class Kernel(AsyncKernelManager):
    """This interpreter's own kernel, whatever is registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it starts."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
            language="python",
        )


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """One stream output per stream, the last state of each progress bar, no times, pictures in the place of widgets."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        outputs: list = []
        for output in cell.outputs:
            before = outputs[-1] if outputs else None
            if output.output_type == "stream" and before and before.get("name") == output.name:
                before.text += output.text
            elif output.get("data", {}).pop(WIDGET, None) is None or {"image/png", "image/jpeg"} & output.data.keys():
                outputs.append(output)
        for output in outputs:
            if output.output_type == "stream":
                lines = [line.rstrip("\r").split("\r")[-1] for line in output.text.split("\n")]
                output.text = "\n".join(line for line in lines if "%|" not in line)
        cell.outputs = [o for o in outputs if o.output_type != "stream" or o.text.strip()]
    colab = {key: notebook.metadata[key] for key in ("accelerator", "colab") if key in notebook.metadata}
    notebook.metadata = colab | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def name_of(path: Path) -> str:
    """Tell a notebook from its solutions, which bear the same name."""
    return f"{path.parent.name}/{path.name}" if path.parent.name == "solutions" else path.name


def execute(path: Path, report: Path, stopped: Event | None = None) -> float:
    """Run one notebook into the report; returns its seconds, exits with the cell's error.

    Args:
        path: of the notebook.
        report: folder for the executed copy.
        stopped: set when all kernels are killed; given when others run at the same time.
    """
    notebook, name = nbformat.read(path, as_version=4), name_of(path)
    executed = report / name
    executed.parent.mkdir(parents=True, exist_ok=True)
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    done = 0

    def progress(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
        nonlocal done
        done += cell.cell_type == "code"
        if sys.stdout.isatty():
            print(f"\r{name:44} cell {done:2}/{total}", end="", flush=True)

    client = NotebookClient(notebook, kernel_manager_class=Kernel, timeout=None, on_cell_execute=progress)
    # nbclient plays the browser of Output widgets: it answers them on the very socket on which it awaits the cell's
    # reply. A reply that comes while it writes wakes nobody, and it waits for ever; so it gets none of them to play.
    client.widget_registry = {}
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=report) as scratch:
            client.resources = {"metadata": {"path": scratch}}
            client.execute()
    except CellExecutionError as error:
        print(f"\n{name}: cell {done} of {total} failed\n{str(error)[-3000:]}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # of a kernel that is killed a client may say anything
        if stopped and stopped.is_set():
            sys.exit(1)
        if not isinstance(error, DeadKernelError):
            raise
        print(f"\n{name}: the kernel died in cell {done} of {total} (out of memory?)", file=sys.stderr)
        sys.exit(1)
    seconds = time.monotonic() - start
    start_line = "\r" if sys.stdout.isatty() else ""
    print(f"{start_line}{name:44} {total:2} cells {seconds:7.1f} s", flush=True)
    notebook = tidy(notebook)
    with files.atomic_path(executed) as part:
        part.write_text(nbformat.writes(notebook) + "\n")
    return seconds


def stop_kernels() -> None:
    """End all processes that this one has started, kernels and what trains for them; they have seconds to save."""
    started = psutil.Process().children(recursive=True)
    for end in ("terminate", "kill"):
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, end)()
        _, started = psutil.wait_procs(started, timeout=10)


def execute_beside(paths: Sequence[Path], report: Path, at_once: int) -> None:
    """Run several notebooks at a time; the first error, or Ctrl-C, stops the kernels of all."""
    stopped = Event()
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(execute, path, report, stopped) for path in paths]
        try:
            for one in as_completed(running):
                one.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop_kernels()
            raise


def execute_all(paths: Sequence[Path], report: Path, at_once: int) -> None:
    """Run notebooks some at a time, and those that measure time alone, when the others are done.

    The longest begin first, or one of them would be left alone at the end; each trains what it finds missing.
    """
    timed = [path for path in paths if path.name[:2] in TIMED and not files.quick()]
    costs = tomllib.loads((HERE / "costs.toml").read_text())
    others = [path for path in paths if path not in timed]
    others.sort(key=lambda path: -costs.get(path.stem, {}).get("seconds", 0))
    with one_thread():
        execute_beside(others, report, at_once)
    for path in timed:
        execute(path, report)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give the processes that are started inside one thread each, unless the user has set how many."""
    ours = "OMP_NUM_THREADS" not in os.environ
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        yield
    finally:
        if ours:
            del os.environ["OMP_NUM_THREADS"]


def notebooks_at_once() -> int:
    """Count the notebooks that this machine can run beside each other: cores and free memory set the limit."""
    if device.device().type != "cpu":
        return 1
    return max(1, min(usable_cpus(), int(psutil.virtual_memory().available // KERNEL)))


def execute_in_order(paths: Sequence[Path], report: Path) -> None:
    """Run notebooks one after another, and write what each costs into the report."""
    lines, before = [COSTS], used()
    for path in paths:
        seconds = execute(path, report)
        before, added = (now := used()), now - before
        lines.append(f"{path.stem} = {{seconds = {seconds:.0f}, megabytes = {added / 1e6:.0f}}}")
    (report / "costs.toml").write_text("\n".join(lines) + "\n")


def used() -> int:
    """Bytes in the folders of data and runs."""
    total = 0
    for path in (path for root in (files.data_root(), files.runs_root()) for path in root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # another run may be at work beside this one
            total += path.stat().st_size
    return total


def publish(report: Path, paths: Sequence[Path]) -> None:
    """Copy executed notebooks and their figures into the work tree."""
    figures = ROOT / "figures"
    figures.mkdir(exist_ok=True)
    for path in paths:
        shutil.copyfile(report / name_of(path), path)
    for number in {path.name[:2] for path in paths}:
        for old in figures.glob(f"{number}-*"):
            old.unlink()
        for figure in (report / "figures").glob(f"{number}-*"):
            shutil.copyfile(figure, figures / figure.name)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the numbered notebooks headless.")
    parser.add_argument("numbers", nargs="*", help="such as 01 08; all when left out")
    parser.add_argument("--report", type=Path, default=ROOT / "runs" / "report", help="folder for the results")
    parser.add_argument("--publish", action="store_true", help="copy outputs and figures into the work tree")
    args = parser.parse_args()
    report = args.report.resolve()
    paths = [p for p in sorted(HERE.glob("[0-9][0-9]_*.ipynb")) if not args.numbers or p.name[:2] in args.numbers]
    if not paths:
        parser.error(f"no notebook {' '.join(args.numbers)} in {HERE}")
    if args.publish and files.quick():
        parser.error("--publish in quick mode would keep meaningless numbers: unset LANDMARK_QUICK")
    solutions = [path.parent / "solutions" / path.name for path in paths] if args.publish or files.quick() else []
    solutions = [path for path in solutions if path.exists()]
    figures = report / "figures"
    for path in paths:  # figures that are no longer drawn must not linger
        for old in figures.glob(f"{path.name[:2]}-*"):
            old.unlink()
    os.environ["LANDMARK_FIGURES"] = str(figures)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    print(device.describe(), flush=True)
    start = time.monotonic()
    at_once = 1 if args.publish else notebooks_at_once()
    if at_once > 1:
        execute_all([*paths, *solutions], report, at_once)
    else:
        execute_in_order(paths, report)
        for path in solutions:  # of which the costs do not tell: who reads the course need not run them
            execute(path, report)
    if args.publish:
        publish(report, [*paths, *solutions])
    import pages  # beside this script: found when it is run, and not when another program reads it

    site = pages.build(report / "html", report)
    print(f"{len(paths)} notebooks, {len(solutions)} with solutions, {time.monotonic() - start:.0f} s: {site}")


if __name__ == "__main__":
    main()
