"""Answer only if: what a threshold on the score buys, as curves, as areas, and as a promise.

The risk is the share of wrong answers among those given, the coverage the share of all answers that is given. An
answer to an unknown landmark or a distractor is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from landmark.evaluation.report.answers import KINDS, Answers
from landmark.evaluation.report.hits import Hits, harmonic, ratio
from landmark.evaluation.report.open_set import auroc
from landmark.utils.errors import InputError


def aurc(hits: Hits) -> np.ndarray:
    """Compute the area under the risk-coverage curve, 1/A Σ_k (wrong ones among the best k) / k: (B,).

    A is the number of answers. Equal scores count as in the mean over all their orders, so a constant score has the
    area of answering at random: the error rate. NaN without an answer.

    >>> from landmark.evaluation.report.hits import Ranking
    >>> table = Answers([0.9, 0.5, 0.7], [True, True, False], [0, 0, 0])
    >>> round(float(aurc(Ranking(table).hits(np.ones((1, 3), int)))[0]), 4)  # (0/1 + 1/2 + 1/3) / 3
    0.2778

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017.
    """
    total = hits.answers.sum(axis=0)
    sums, heaps = harmonic(1 << int(hits.images.sum(axis=0).max(initial=1)).bit_length())
    if hits.tied is None:
        before = sums[hits.number + hits.above.sum(axis=0) - 1]
    else:
        before = (heaps[hits.tied.sum(axis=0)] - heaps[hits.tied[0]]) / hits.tied[1]
    return 1 - ratio(hits.answers[0] * sums[total] - hits.total(before), total)


def augrc(hits: Hits) -> np.ndarray:
    """Compute the area under the generalized risk, the share of *all* answers that are given and wrong: (B,).

    AUGRC = (1 − AUROC) · a · (1 − a) + (1 − a)² / 2 with a the share of right answers; 0 is perfect and 1/2 the worst.
    Unlike AURC it does not weigh the few most confident answers above all others. NaN without an answer.

    >>> from landmark.evaluation.report.hits import Ranking
    >>> table = Answers([0.9, 0.5, 0.7], [True, True, False], [0, 0, 0])
    >>> round(float(augrc(Ranking(table).hits(np.ones((1, 3), int)))[0]), 4)  # 1/2 · 2/3 · 1/3 + 1/18
    0.1667

    Source: Traub et al., Overcoming Common Flaws in the Evaluation of Selective Classification Systems, NeurIPS 2024,
    equation 6.
    """
    right = ratio(hits.answers[0].astype(float), hits.answers.sum(axis=0))
    mixed = (right > 0) & (right < 1)
    return np.where(mixed, 1 - np.where(mixed, auroc(hits), 0), 0) * right * (1 - right) + (1 - right) ** 2 / 2


def risk_coverage(answers: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trace risk against coverage, from the most confident answer to all.

    Returns:
        coverage, risk and threshold, each (T,): one entry for each different score.

    >>> [curve.round(2).tolist() for curve in risk_coverage(Answers([0.9, 0.5, 0.5], [True, True, False], [0, 0, 0]))]
    [[0.33, 1.0], [0.0, 0.33], [0.9, 0.5]]
    """
    made = np.flatnonzero(answers.answered)
    order = made[np.argsort(-answers.score[made], kind="stable")]
    score = answers.score[order]
    last = np.flatnonzero(np.diff(score, append=np.nan) != 0)
    wrong = np.cumsum(~answers.correct[order])[last]
    return (last + 1) / max(len(order), 1), wrong / (last + 1), score[last]


class Operation(NamedTuple):
    """What happens when a system answers only if its score reaches a threshold."""

    precision: float  # right among the answers given; NaN when none is
    coverage: float  # answers given among all images
    recall: float  # right answers given among the images of the label set
    risk: float  # wrong answers given among all images


def operate(answers: Answers, threshold: float, share: float | None = None) -> Operation:
    """Answer only if the score is at least `threshold`: what comes of it at a share of distractors.

    Args:
        answers: of a system.
        threshold: on the score.
        share: of distractors among the images, from 0 to below 1, each weighted as in `hits.gap`; as it is when left
            out. NaN throughout for a share above 0 without distractors, as for no image at all.

    >>> table = Answers([0.9, 0.8, 0.4], [True, False, False], [0, 2, 1])
    >>> operate(table, 0.5), operate(table, 0.5, share=0.0)  # doctest: +NORMALIZE_WHITESPACE
    (Operation(precision=0.5, coverage=0.66..., recall=1.0, risk=0.33...),
     Operation(precision=1.0, coverage=0.5, recall=1.0, risk=0.0))
    """
    if share is not None and not 0 <= share < 1:
        raise InputError(f"a share of distractors lies from 0 to below 1, not at {share}")
    distractor = answers.kind == 2
    weight = np.ones(len(answers))
    if share is not None:
        here = distractor.sum()
        factor = share / (1 - share) * (len(answers) - here) / here if here else 0.0 if share == 0 else np.nan
        weight = np.where(distractor, factor, 1.0) if here or share == 0 else np.full(len(answers), np.nan)
    given = answers.score >= threshold  # NaN, no answer, is not
    right, wrong = (weight[given & part].sum() for part in (answers.correct, ~answers.correct))
    everything, known = weight.sum(), weight[answers.kind == 0].sum()

    def share_of(part: float, whole: float) -> float:
        return float(part / whole) if whole > 0 else float("nan")

    return Operation(
        share_of(right, right + wrong),
        share_of(right + wrong, everything),
        share_of(weight[given & answers.correct & (answers.kind == 0)].sum(), known),
        share_of(wrong, everything),
    )


def answered(answers: Answers, threshold: float) -> dict[str, tuple[int, int]]:
    """Count what a threshold lets through: the right answers, and the wrong ones by the kind of their image.

    Args:
        answers: of a system.
        threshold: on the score.

    Returns:
        `right`, `wrong: known`, `wrong: unknown`, `wrong: distractor` → how many of them have a score of at least
        `threshold`, and how many there are. The second numbers add up to all images; no answer counts as wrong.

    >>> answered(Answers([0.9, 0.8, 0.4], [True, False, False], [0, 2, 2]), 0.5)
    {'right': (1, 1), 'wrong: known': (0, 0), 'wrong: unknown': (0, 0), 'wrong: distractor': (1, 2)}
    """
    given = answers.score >= threshold  # NaN, no answer, is not
    parts = {"right": answers.correct}
    parts |= {f"wrong: {name}": ~answers.correct & (answers.kind == number) for number, name in enumerate(KINDS)}
    return {name: (int((part & given).sum()), int(part.sum())) for name, part in parts.items()}


def plain_threshold(answers: Answers, precision: float) -> float:
    """Find the lowest threshold at which the answers given reach a precision here; infinite when none does.

    It promises nothing about other images: of many thresholds the luckiest is taken. See `certified_threshold`.

    >>> plain_threshold(Answers([0.9, 0.5, 0.4], [True, False, True], [0, 0, 0]), 0.6)
    0.4
    """
    _, risk, threshold = risk_coverage(answers)
    enough = np.flatnonzero(1 - risk >= precision - 1e-12)
    return float(threshold[enough[-1]]) if len(enough) else float("inf")


def risk_threshold(answers: Answers, risk: float) -> float:
    """Find the lowest threshold that keeps the share of wrong answers among *all images* under `risk`, with a promise.

    The loss of an image, 1 if it is answered and the answer is wrong, can only fall as the threshold rises. With n
    calibration images, of which r(t) are answered wrongly at threshold t, the lowest t with

        (r(t) + 1) / (n + 1) ≤ risk

    keeps E[loss of a new image] ≤ risk, and no lower than risk − 2 / (n + 1) when scores do not tie. The promise is on
    the mean over calibration sets, and for images drawn as those of the calibration set were: where the share of
    distractors is another, it does not hold, see `operate`.

    Returns:
        A threshold; infinite (never answer) when even that cannot be promised from so few images.

    >>> risk_threshold(Answers([0.9, 0.5, 0.4], [True, False, False], [0, 0, 2]), 0.5)
    0.5

    Source: Angelopoulos et al., Conformal Risk Control, ICLR 2024, theorem 1 (B = 1) and theorem 2.
    """
    if not 0 < risk < 1:
        raise InputError(f"a risk lies between 0 and 1, not at {risk}")
    coverage, share, threshold = risk_coverage(answers)
    wrong = share * coverage * answers.answered.sum()
    safe = np.flatnonzero(wrong.round() + 1 <= risk * (len(answers) + 1) + 1e-9)
    return float(threshold[safe[-1]]) if len(safe) else float("inf")


def certified_threshold(
    answers: Answers, precision: float, error: float = 0.1, grid: Sequence[float] = tuple(np.linspace(0, 0.99, 34))
) -> float:
    """Find a threshold whose precision on new images is at least the wanted one, but for a chance of `error`.

    Precision is not monotone in the threshold, so conformal risk control does not apply to it; testing does. At a
    threshold that was chosen beforehand m answers are given and r are wrong. It passes when

        P(Binomial(m, 1 − precision) ≤ r) ≤ error / T

    with T thresholds in all (Bonferroni): all that pass hold together with a chance of at least 1 − error. The lowest
    of them is returned. As with `risk_threshold`, another share of distractors breaks the promise.

    Args:
        answers: of a calibration set.
        precision: wanted, in 0 to 1.
        error: the chance that the promise is broken, in 0 to 1.
        grid: (T,) the thresholds, chosen before the answers were seen; of a score that is a probability by default.

    Returns:
        A threshold; infinite (never answer) when none passes.

    >>> certain = Answers(np.linspace(1, 0.5, 200), np.ones(200, bool), np.zeros(200, int))
    >>> certified_threshold(certain, 0.9), certified_threshold(certain, 0.99)
    (0.0, inf)

    Source: Angelopoulos et al., Learn then Test, Annals of Applied Statistics 2025, section 3.
    """
    if not 0 < precision < 1 or not 0 < error < 1:
        raise InputError(f"precision and error lie between 0 and 1, not at {precision} and {error}")
    thresholds = np.asarray(grid, float)
    given = answers.score[None] >= thresholds[:, None]  # (T, N)
    chance = bdtr((given & ~answers.correct).sum(axis=1), given.sum(axis=1), 1 - precision)  # of so few errors
    passed = thresholds[chance <= error / len(thresholds)]
    return float(passed.min()) if len(passed) else float("inf")
