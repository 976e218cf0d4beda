"""The site of a small course of two notebooks."""

import re

import nbformat
import pytest

from tests.helpers import load_script

pytest.importorskip("myst_nb", reason='no Sphinx: pip install -e ".[site]"')
pages = load_script("pages")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII="


@pytest.fixture
def course(tmp_path):
    """README, two notebooks that link to each other, and what else a page may link to."""
    root = tmp_path / "course"
    for number, other in (("01_a", "02_b"), ("02_b", "01_a")):
        text = f"# Notebook {number}\n\n[![Colab](https://x.org/badge.svg)](https://x.org)\n\n[next]({other}.ipynb), [home](../README.md)"
        cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_markdown_cell(r"A mean: $\frac{1}{N}\sum_i x_i$")]
        output = nbformat.v4.new_output("display_data", data={"image/png": PIXEL})
        output.metadata = {"image/png": {"alt": "a grey pixel"}}
        cells.append(nbformat.v4.new_code_cell("draw()", outputs=[output], execution_count=1))
        (root / "notebooks").mkdir(parents=True, exist_ok=True)
        language = {"language_info": {"name": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=language), root / "notebooks" / f"{number}.ipynb")
    for name in ("README.md", "CONTRIBUTING.md", "LICENSE"):
        (root / name).write_text("# A course\n\n[first](notebooks/01_a.ipynb)\n")
    return root


def test_a_site_needs_no_network(course, tmp_path):
    """Fails when a page loads a script, a style or a picture from elsewhere, a formula stays TeX, or alt text is lost."""
    first = pages.build(tmp_path / "site", root=course)
    assert first.exists()
    html = [path.read_text() for path in first.parent.rglob("*.html")]
    assert len(html) > 4
    for text in html:
        assert not re.search(r"""<(script|link|img|iframe)\b[^>]*(src|href)="(https?:)?//""", text)
    page = (first.parent / "notebooks" / "01_a.html").read_text()
    assert "<mfrac>" in page and r"\frac" not in page and 'href="02_b.html"' in page and 'alt="a grey pixel"' in page


def test_executed_outputs_come_from_the_report(course, tmp_path):
    """Fails when the site shows kept outputs in the place of those that were just made."""
    book = nbformat.read(course / "notebooks" / "01_a.ipynb", as_version=4)
    book.cells[2].outputs = [nbformat.v4.new_output("stream", text="made just now")]
    (tmp_path / "report").mkdir()
    nbformat.write(book, tmp_path / "report" / "01_a.ipynb")
    pages.lay_out(tmp_path / "source", tmp_path / "report", course)
    assert "made just now" in (tmp_path / "source" / "notebooks" / "01_a.ipynb").read_text()
    assert "made just now" not in (tmp_path / "source" / "notebooks" / "02_b.ipynb").read_text()


def test_solutions_are_pages_beside_their_notebook(course, tmp_path):
    """Fails when the way to the solutions or back is a dead link, or their executed outputs are not taken."""
    folder = course / "notebooks" / "solutions"
    folder.mkdir()
    book = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    book.cells = [nbformat.v4.new_markdown_cell("# Solutions\n\n[back](../01_a.ipynb)")]
    nbformat.write(book, folder / "01_a.ipynb")
    lesson = nbformat.read(course / "notebooks" / "01_a.ipynb", as_version=4)
    lesson.cells[0].source += "\n\n[solutions](solutions/01_a.ipynb)"
    nbformat.write(lesson, course / "notebooks" / "01_a.ipynb")
    book.cells.append(nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="just now")]))
    (tmp_path / "report" / "solutions").mkdir(parents=True)
    nbformat.write(book, tmp_path / "report" / "solutions" / "01_a.ipynb")
    first = pages.build(tmp_path / "site", tmp_path / "report", course)
    assert 'href="solutions/01_a.html"' in (first.parent / "notebooks" / "01_a.html").read_text()
    page = (first.parent / "notebooks" / "solutions" / "01_a.html").read_text()
    assert 'href="../01_a.html"' in page and "just now" in page


@pytest.mark.parametrize(
    ("text", "line"),
    [("[gone](03_c.ipynb)", "03_c.ipynb"), (r"$$a &= b$$", "one formula a line")],
)
def test_what_does_not_work_stops_it(course, tmp_path, text, line):
    """Fails when a dead link or a formula that cannot be drawn is published."""
    book = nbformat.read(course / "notebooks" / "01_a.ipynb", as_version=4)
    book.cells[1].source = text
    nbformat.write(book, course / "notebooks" / "01_a.ipynb")
    with pytest.raises(SystemExit, match=line):
        pages.build(tmp_path / "site", root=course)
    assert not (tmp_path / "site").exists()
