"""Make a site of executed notebooks, README and docs: `python notebooks/pages.py [--report FOLDER] [--out FOLDER]`.

A notebook is taken from the report when it was executed there, and as it is kept here otherwise. The site needs no
network and no server: open its index.html, or publish the folder. A dead link stops it, with its page and line.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BADGE = re.compile(r"\[!\[([^\]]*)\]\([^)]*\)\]")  # a picture from elsewhere that is a link


def lay_out(source: Path, report: Path | None = None, root: Path = ROOT) -> None:
    """Copy what the site shows into an empty folder: pages where they link to each other, README as the first."""
    notebooks = []
    folders = (root / "notebooks", root / "notebooks" / "solutions")
    for path in [path for folder in folders for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]:
        name = path.relative_to(root)
        executed = report / path.relative_to(root / "notebooks") if report else path
        notebook = nbformat.read(executed if executed.exists() else path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = BADGE.sub(r"[\1]", cell.source)
            for output in cell.get("outputs", []):
                for kind in ("image/png", "image/jpeg"):
                    if alt := output.get("metadata", {}).get(kind, {}).get("alt"):
                        cell.metadata["mystnb"] = {"image": {"alt": alt}}
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, source / name)
        notebooks.append(name.with_suffix("").as_posix())
    docs = [*sorted(root.glob("docs/*.md")), root / "CONTRIBUTING.md"]
    for path in [*docs, root / "README.md", root / "LICENSE", *root.glob("figures/*.*")]:
        target = source / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    trees = {"Notebooks": notebooks, "More": [path.relative_to(root).with_suffix("").as_posix() for path in docs]}
    first = BADGE.sub(r"[\1]", (source / "README.md").read_text())
    for caption, names in trees.items():
        first += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
    (source / "README.md").write_text(first)


def build(out: Path, report: Path | None = None, root: Path = ROOT) -> Path:
    """Make the site; returns its first page, exits with what is wrong with a page."""
    if importlib.util.find_spec("myst_nb") is None or importlib.util.find_spec("furo") is None:
        sys.exit('the pages need Sphinx: pip install -e ".[site]"')
    with tempfile.TemporaryDirectory() as scratch:
        source, new = Path(scratch) / "source", Path(scratch) / "new"
        lay_out(source, report, root)
        command = [sys.executable, *"-m sphinx -q -b html -j auto -W --keep-going -c".split(), str(ROOT / "docs/site")]
        settings = ["-D", "root_doc=README", "-d", str(Path(scratch) / "trees")]
        done = subprocess.run([*command, *settings, str(source), str(new)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr.replace(f"{source}/", "").strip())
        (new / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=README.html">\n')
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(new, out)
    return out / "index.html"


def main() -> None:
    """Make the site that the command line asks for."""
    parser = argparse.ArgumentParser(description="Make a site of the executed notebooks.")
    parser.add_argument(
        "--report", type=Path, help="folder of `notebooks/run.py`; the notebooks' kept outputs when left out"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "site", help="folder to write")
    args = parser.parse_args()
    print(build(args.out.resolve(), args.report and args.report.resolve()))


if __name__ == "__main__":
    main()
