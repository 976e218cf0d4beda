"""Run the numbered notebooks headless, in order: `python notebooks/run.py [--publish] [--report FOLDER] [NN …]`.

Executed copies, figures, a site (html/index.html) and a costs.toml go to the report's folder; the work tree stays as it
is, unless --publish copies outputs and figures back into it. Training runs are kept by the package, so a second start
only repeats what is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from landmark.utils import device, files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
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


def execute(path: Path, report: Path) -> float:
    """Run one notebook into the report; returns its seconds, exits with the cell's error."""
    notebook = nbformat.read(path, as_version=4)
    scratch = report / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    done = 0

    def progress(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
        nonlocal done
        done += cell.cell_type == "code"
        if sys.stdout.isatty():
            print(f"\r{path.name:34} cell {done:2}/{total}", end="", flush=True)

    client = NotebookClient(notebook, kernel_manager_class=Kernel, timeout=None, on_cell_execute=progress,
                            resources={"metadata": {"path": str(scratch)}})  # fmt: skip
    # nbclient plays the browser of Output widgets: it answers them on the very socket on which it awaits the cell's
    # reply. A reply that comes while it writes wakes nobody, and it waits for ever; so it gets none of them to play.
    client.widget_registry = {}
    start = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\n{path.name}: cell {done} of {total} failed\n{str(error)[-3000:]}", file=sys.stderr)
        sys.exit(1)
    except DeadKernelError:
        print(f"\n{path.name}: the kernel died in cell {done} of {total} (out of memory?)", file=sys.stderr)
        sys.exit(1)
    seconds = time.monotonic() - start
    start_line = "\r" if sys.stdout.isatty() else ""
    print(f"{start_line}{path.name:34} {total:2} cells {seconds:7.1f} s", flush=True)
    notebook = tidy(notebook)
    with files.atomic_path(report / path.name) as part:
        part.write_text(nbformat.writes(notebook) + "\n")
    return seconds


def used() -> int:
    """Bytes in the folders of data and runs."""
    total = 0
    for path in (path for root in (files.data_root(), files.runs_root()) for path in root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # another run may be at work beside this one
            total += path.stat().st_size
    return total


def publish(report: Path, names: list[str]) -> None:
    """Copy executed notebooks and their figures into the work tree."""
    figures = ROOT / "figures"
    figures.mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(report / f"{name}.ipynb", HERE / f"{name}.ipynb")
        for old in figures.glob(f"{name[:2]}-*"):
            old.unlink()
        for figure in (report / "figures").glob(f"{name[:2]}-*"):
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
    figures = report / "figures"
    for path in paths:  # figures that are no longer drawn must not linger
        for old in figures.glob(f"{path.name[:2]}-*"):
            old.unlink()
    os.environ["LANDMARK_FIGURES"] = str(figures)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    print(device.describe(), flush=True)
    start, lines, before = time.monotonic(), [COSTS], used()
    for path in paths:
        seconds = execute(path, report)
        before, added = (now := used()), now - before
        lines.append(f"{path.stem} = {{seconds = {seconds:.0f}, megabytes = {added / 1e6:.0f}}}")
    (report / "costs.toml").write_text("\n".join(lines) + "\n")
    shutil.rmtree(report / "scratch", ignore_errors=True)
    if args.publish:
        publish(report, [path.stem for path in paths])
    import pages  # beside this script: found when it is run, and not when another program reads it

    print(f"{len(paths)} notebooks, {time.monotonic() - start:.0f} s: {pages.build(report / 'html', report)}")


if __name__ == "__main__":
    main()
