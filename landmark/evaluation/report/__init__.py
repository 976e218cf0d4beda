"""Evaluate systems on an open test set: every score with its interval, and pairs of them compared.

answers      The common ground of every score: what one system answered to each image of a test set, as arrays.
calibration  Whether a score says how often it is right: reliability, ECE and Brier, and maps that mend it.
hits         The right answers of a system and what ranks above each: all that GAP and its kin depend on.
open_set     How well a score tells right answers from the others: AUROC, false positives at a recall, OSCR.
page         The report as one HTML page that one can mail.
resamples    Resampled test sets: how often each image is drawn, shared by every score, and their intervals.
results      What an evaluation found: scores with their intervals, and differences, as JSON and as lines of text.
risk         Answer only if: what a threshold on the score buys, as curves, as areas, and as a promise.
summary      All scores of several systems on the same images, with intervals, and their paired differences.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.evaluation.report.answers import Answers, tabulate
    from landmark.evaluation.report.calibration import reliability
    from landmark.evaluation.report.resamples import Interval
    from landmark.evaluation.report.risk import operate, risk_coverage
    from landmark.evaluation.report.summary import evaluate

__all__ = ["Answers", "Interval", "evaluate", "operate", "reliability", "risk_coverage", "tabulate"]

__getattr__, __dir__ = lazy(__name__, __file__)
