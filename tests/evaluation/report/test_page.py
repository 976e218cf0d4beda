"""The report as one page."""

import re

import numpy as np
import pytest

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.page import draw_report, html_page, write_page
from landmark.evaluation.report.summary import evaluate
from landmark.utils.errors import WriteError
from tests.evaluation.report.tables import table


def test_one_file_that_needs_no_other(tmp_path):
    """Fails when the page loads something, or text from a table becomes markup."""
    name = "<script>alert(1)</script> $x"
    page = write_page(evaluate({name: table(1)}, n=5), tmp_path / "report").read_text()
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page and "&lt;script&gt;" in page
    assert page.count("data:image/png;base64,") == 4 and "Paired" not in page


def test_figures_that_cannot_be_drawn_are_left_out():
    """Fails when a set without distractors, without answers or with logits ends in a traceback."""
    for answers, figures in ((Answers([0.5], [True], [0]), 2), (Answers([7.0, 8.0], [True, False], [0, 2]), 3),
                             (Answers([np.nan], [False], [0]), 0)):  # fmt: skip
        report = evaluate({"a": answers}, n=5)
        assert len(list(draw_report(report))) == figures
        assert "not defined" in html_page(report)


def test_a_place_that_cannot_be_written(tmp_path):
    """Fails when a file in the way of the folder gives a traceback."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="file"):
        write_page(evaluate({"a": table(1)}, n=5), tmp_path / "file")
