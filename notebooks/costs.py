"""What each notebook costs, in one place: `costs.toml`. Headers and tables repeat it, written from here.

`python notebooks/costs.py [runs/report/costs.toml]` takes over what a run of all notebooks has measured, and writes
minutes and disk into the notebooks and README. Measure with empty folders for data and runs, as a reader begins.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
COSTS = HERE / "costs.toml"
UNITS = {"seconds": 60, "megabytes": 1000}  # minutes and gigabytes are what a reader sees
Costs = Mapping[str, Mapping[str, float]]


def stamped(name: str, text: str, costs: Costs) -> str:
    """Write costs into a page's text: its own minutes into its header, each notebook's into its row of a table."""
    lines = text.split("\n")
    minutes, gigabytes = (sum(cost[key] for cost in costs.values()) / unit for key, unit in UNITS.items())
    for i, line in enumerate(lines):
        row = re.match(r"\|.*\b(\d\d_\w+)\.ipynb\)", line)
        if row:
            cost = costs[row[1]]
            line = re.sub(r"\| \d+ \|( [\d,]+ MB \|)?$", rf"| {_minutes(cost)} |\1", line)
            line = re.sub(r"[\d,]+ MB \|$", f"{cost['megabytes']:,.0f} MB |", line)
        elif line.startswith(("Before: ", "After: ")):
            own = _minutes(costs[name])
            line = re.sub(r"\d+ minutes?\.$", f"{own} minute{'s' * (own > 1)}.", line)
        line = re.sub(r"\d+(?= minutes on two)", f"{minutes:.0f}", line)
        lines[i] = re.sub(r"\d+(?= GB at the end)", f"{gigabytes:.0f}", line)
    return "\n".join(lines)


def _minutes(cost: Mapping[str, float]) -> int:
    """Round to minutes, one at least."""
    return max(1, round(cost["seconds"] / 60))


def main(measured: Path | None = None) -> None:
    """Take over a file of costs where one is given, and write the costs into all pages."""
    if measured:
        shutil.copyfile(measured, COSTS)
    costs = tomllib.loads(COSTS.read_text())
    readme = HERE.parent / "README.md"
    readme.write_text(stamped("README", readme.read_text(), costs))
    for path in sorted(HERE.glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = stamped(path.stem, cell.source, costs)
        path.write_text(nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
