"""The report as one HTML page that one can mail: figures and tables in a single file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.calibration import reliability
from landmark.evaluation.report.hits import Ranking, gap
from landmark.evaluation.report.open_set import oscr
from landmark.evaluation.report.resamples import Interval
from landmark.evaluation.report.results import Evaluation
from landmark.evaluation.report.risk import risk_coverage
from landmark.figures.evaluation import gap_by_share, oscr_curves, reliability_diagram, risk_curves
from landmark.figures.save import encode
from landmark.utils.errors import WriteError
from landmark.utils.files import atomic_path

SHARES = (*np.linspace(0, 0.9, 19).tolist(), 0.925, 0.95, 0.965, 0.975, 0.983, 0.99)
POINTS = 1000  # of a curve that are drawn
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#22252a;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0;font-size:13px}td,th{padding:.2rem .6rem;text-align:right;
border-bottom:1px solid #e3e6ea}td:first-child,th:first-child{text-align:left}img{max-width:100%;height:auto}
small{color:#7a8088}"""


def write_page(report: Evaluation, folder: str | Path) -> Path:
    """Write `index.html` into a folder, which is made if need be; the page needs no other file and no network.

    Args:
        report: of `summary.evaluate`.
        folder: to write into.

    Raises:
        WriteError: the page cannot be written; what was there before is whole.
    """
    page, path = html_page(report), Path(folder) / "index.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise error if isinstance(error, WriteError) else WriteError(path, error) from None
    return path


def html_page(report: Evaluation) -> str:
    """Draw a report as one page of HTML; all text in it is escaped."""
    systems = [*report.runs, *report.models]
    rows = [[name, *(_cell(system.scores[name]) for system in systems)] for name in report.runs[0].scores]
    rows += [[f"gap at {share:.1%}", *(_cell(s.at[share]) for s in systems)] for share in report.runs[0].at]
    parts = [
        [system.run, part, *(_cell(value) for value in scores.values())]
        for system in systems
        for part, scores in system.parts.items()
    ]
    pairs = [
        [score, f"{d.a} − {d.b}", _cell(Interval(*d[2:5])), f"{d.p_holm:.3f}"]
        for score, differences in report.paired.items()
        for d in differences
    ]
    rules = [
        [run, rule["rule"], f"{rule['threshold']:.4f}", "as here" if at["share"] is None else f"{at['share']:.1%}",
         *(f"{at[name]:.3f}" for name in ("precision", "coverage", "recall", "risk"))]
        for run, chosen in report.rules.items() for rule in chosen for at in rule["at"]
    ]  # fmt: skip
    errors = [
        [run, name, f"{values['ece']:.4f}", f"{values['brier']:.4f}"]
        for run, maps in report.calibrated.items()
        for name, values in maps.items()
    ]
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.images.items())
    body = [
        "<h1>Evaluation in an open world</h1>",
        f"<p>Test images: {counts}. With this label set no system has a GAP over {report.ceiling:.3f}, as the unknown "
        f"landmarks count among its queries. Intervals are {report.level:.0%}, from {report.resamples} resamples of "
        "the images, drawn within each kind; p is corrected by Holm for all pairs of its score.</p>",
        *(f"<p>{html.escape(note)}</p>" for note in report.notes),
        _table("GAP and the scores beside it", ["score", *(system.run for system in systems)], rows),
        *(f'<p><img alt="{html.escape(f.get_suptitle())}" src="{_inline(f)}"></p>' for f in draw_report(report)),
        _table("Paired differences on the same resamples", ["score", "pair", "difference", "p"], pairs),
        _table("Parts of the known queries, closed", ["run", "part", "gap", "top1"], parts),
        _table("Calibration, with maps fitted on other images", ["run", "map", "ECE", "Brier"], errors),
        _table("Answer only if: thresholds chosen on other images, and what they do here",
               ["run", "rule", "threshold", "distractors", "precision", "coverage", "recall", "risk"], rules),
        _table("The most confident mistakes", list(report.mistakes[0]) if report.mistakes else [],
               [list(row.values()) for row in report.mistakes]),
    ]  # fmt: skip
    title = "Evaluation in an open world"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body>{''.join(body)}</body></html>\n"
    )


def draw_report(report: Evaluation) -> Iterator[Figure]:
    """Draw the figures of a report that its data allows: GAP by share, risk, OSCR, reliability."""
    tables, images = report.tables, report.images
    queries = images["known"] + images["unknown"]
    if images["distractor"] and queries:
        whiskers = {
            system.run: [(share, *value) for share, value in system.at.items() if share < 1] for system in report.runs
        }
        curves = {name: (SHARES, _gaps(table)) for name, table in tables.items()}
        here = images["distractor"] / (queries + images["distractor"])
        yield gap_by_share(curves, whiskers, here=here)
    answering = {name: table for name, table in tables.items() if table.answered.any()}
    if answering:
        yield risk_curves({name: _thin(*risk_coverage(table)[:2]) for name, table in answering.items()})
    open_curves = {name: oscr(table) for name, table in answering.items()}
    open_curves = {name: _thin(*c) for name, c in open_curves.items() if np.isfinite(c).all()}
    if open_curves:
        yield oscr_curves(open_curves)
    proper = {
        name: table for name, table in answering.items() if 0 <= np.nanmin(table.score) and np.nanmax(table.score) <= 1
    }
    if proper:
        yield reliability_diagram({name: reliability(table) for name, table in proper.items()})


def _gaps(table: Answers) -> list[float]:
    ranked = Ranking(table).hits(np.ones((1, len(table)), np.int32))
    return [float(gap(ranked, share=share)[0]) for share in SHARES]


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take at most `POINTS` of a curve, close together at its start, where few answers decide."""
    places = np.unique(np.geomspace(1, len(x), POINTS).round().astype(int)) - 1
    return x[places], y[places]


def _inline(figure: Figure) -> str:
    data, kind = encode(figure)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _cell(value: Interval) -> str:
    if np.isnan(value.value):
        return "not defined"
    return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})"


def _table(title: str, head: Iterable[object], rows: Sequence[Sequence[object]]) -> str:
    """Write a table with its title, or nothing when it has no row."""
    if not rows:
        return ""

    def line(cells: Iterable[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<h2>{html.escape(title)}</h2><table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
