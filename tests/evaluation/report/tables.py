"""What the tests of the report share: random tables of answers, and tables with each row written out."""

import numpy as np

from landmark.evaluation.report.answers import Answers


def table(seed, size=60, levels=0, outside=False):
    """Answers of all kinds, some missing; with few score levels many of them tie."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, size=size, p=[0.5, 0.2, 0.3])
    score = rng.integers(levels, size=size) / levels if levels else rng.random(size)
    score[rng.random(size) < 0.1] = np.nan
    right = (kind == 0) | outside & (kind == 1)
    return Answers(score, right & (rng.random(size) < 0.6) & ~np.isnan(score), kind)


def copies(answers, counts):
    """The table with each row as often as it counts, side by side."""
    rows = np.repeat(np.arange(len(answers)), counts)
    return Answers(answers.score[rows], answers.correct[rows], answers.kind[rows])


def some_counts(size, seed=0, rows=5):
    return np.random.default_rng(seed).poisson(1, (rows, size))


def ranked(answers):
    """Rows with an answer, best first."""
    made = [i for i in range(len(answers)) if not np.isnan(answers.score[i])]
    return sorted(made, key=lambda i: (-answers.score[i], i))
