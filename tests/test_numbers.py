"""Every number of the prose stands in an output: of its own notebook, or for README of any notebook.

What counts as a number: decimals, percentages, and whole numbers from 100 on. Smaller whole numbers are counts that a
reader can see ("five models"), and a four-digit number between 1990 and 2029 is a year. What is left out by rule:

- headings, links, code and code blocks: no results;
- formulas, up to two decimals: symbols and sums to be done in one's head. Longer decimals in formulas are looked for;
- Questions and References: the answers have notebooks of their own, in `notebooks/solutions/`.

Bounds of an interval, and the value in front of them, must stand in one row or line of an output, and the numbers of a
row of README in rows that bear its name. Any other number is found when an output (alt texts of figures included, which
are written from what is drawn), or the code of a cell, has it to the digits of the prose, or when a sum in the prose has
it as its result: `624/936 = 0.667` is worked out. A sign in the prose must be that of the output. What stands in none of
these is in `ELSEWHERE`, with a reason.
"""

import ast
import math
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ELSEWHERE = {  # page → reason → what its prose has from elsewhere
    "every page": {
        "scores and losses of the paper's Figure 5": "0.841; 0.812; 0.674; 0.241; 0.119; 0.064; 0.908; 0.932",
        "the paper's pixels, learning rate, steps, images and filter": "299; 3e-4; 300,000; 1.2 million; 100",
        "TARs of Google Landmarks v2, and its gigabytes": "500",
        "the level of an interval": "95 %",
    },
    "01_data_exploration": {"the threshold of `find_suspects`": "0.975"},
    "02_resnet50_baseline": {"resamples of the bootstrap": "1,000"},
    "05_bilinear_pooling": {"2048² / 8192": "512"},
    "07_training_on_gpu": {
        "float16 and bfloat16, by their definition": "6e-8; 1e-38; 0.001; 0.008; 6.6e-4",
        "the course's learning rate, `course_config`": "1e-3",
        "pixels of the paper's networks here, and a default of Adam": "128; 0.999",
    },
    "08_gap_evaluation": {"pixels of the paper's networks here": "128", "resamples of the bootstrap": "1,000"},
    "10_real_landmarks": {"pixels of the paper's reduced version": "256"},
    "README": {
        "photographs of gld23k": "23,080",
        "docs/speed.md, measured by `landmark bench`": "2.2; 4.5",
    },
}


class Number(NamedTuple):
    """A number as it is written, and what it says."""

    text: str
    value: float
    half: float  # half a unit of its last digit
    sign: str  # "+", "-" or ""


WRITTEN = re.compile(
    r"(?<![\w.,^])([+\-−]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e-?\d+)?( million| M\b| k\b)?( ?%)?(?![\w])(?!\.\d)"
)


def numbers(text):
    """Numbers of a text in the order in which they stand."""
    found = []
    for sign, whole, decimals, power, unit, percent in WRITTEN.findall(text):
        scale = float(f"1{power or 'e0'}") * {"": 1, " k": 1e3}.get(unit, 1e6)
        value = float(whole.replace(",", "") + decimals) * scale
        half = 0.5 * 10 ** -max(len(decimals) - 1, 0) * scale
        found.append(Number(whole + decimals + power + unit + percent, value, half, sign.replace("−", "-")))
    return found


def worth_a_look(number):
    """Whether a number may be a result: no small count, no year."""
    if any(mark in number.text for mark in (".", "%", "e-", "million")):
        return True
    return number.value >= 100 and not re.fullmatch(r"199\d|20[0-2]\d", number.text)


def plain(formula):
    """A formula's numbers and signs as one would type them."""
    for tex, typed in ((r"\\cdot|·|×|\\times", "*"), (r"\\approx|≈", "="), (r"\{,\}", ""), (r"−", "-"), (r"²", "**2"),
                       (r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)"), (r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))"),
                       (r"\be\^\{([^{}]*)\}", r"exp(\1)"), (r"\^\{?(\d+)\}?", r"**\1"), (r"\\[,;!]|\$", ""),
                       (r"(\d) million", r"\1e6"), (r"(?<=\d),(?=\d{3}\b)", "")):  # fmt: skip
        formula = re.sub(tex, typed, formula)
    return formula


def sums(text):
    """Results of those sums of a text that come out: `624/936 = 0.667`."""
    right = []
    sum_and_result = r"((?:sqrt|exp|(?<=\d)e6|[\d.()+*/\- ])+) = (-?\d+(?:\.\d+)?)( ?%)?"
    for left, result, percent in re.findall(sum_and_result, plain(text)):
        half = 0.5 * 10.0 ** -len(result.partition(".")[2])
        for start in re.finditer(r"(?<![\w.])(?:sqrt|exp|\d|\(|-)", left):  # the longest end of it that is a sum
            try:
                tree = ast.parse(left[start.start() :].strip(), mode="eval")
                value = eval(compile(tree, "a sum", "eval"), {"sqrt": math.sqrt, "exp": math.exp}) * (
                    100 if percent else 1
                )
            except (SyntaxError, TypeError, ZeroDivisionError):
                continue
            if not isinstance(tree.body, ast.Constant) and abs(value - float(result)) <= half * 1.0001:
                right.append(abs(float(result)))
                break
    return right


def prose(text):
    """What is left of a page's Markdown when that which holds no results is taken out."""
    text = re.split(r"^## (?:Questions|References)", text, flags=re.M)[0]
    for no_result in (
        r"^```.*?^```",
        r"^#.*$",
        r"^(?:Before|After): .*$",
        r"`[^`]*`",
        r"(?<=\])\([^)]*\)",
        r"<[^>]*>",
        r"\b(?:[Ss]ections?|Python) \d\.\d+(?: and \d\.\d+)?",
        r"^- .*, \*[^*]*\*, .*\d{4}.*$",
    ):
        text = re.sub(no_result, " ", text, flags=re.M | re.S if "```" in no_result else re.M)
    kept = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", text, flags=re.S)
    formulas = " ".join(re.findall(r"\$\$.*?\$\$|\$[^$]*\$", text, flags=re.S))
    return kept + " " + " ; ".join(re.findall(r"[-−]?\d+\.\d{3,}", formulas))


def outputs(notebook):
    """Text of all outputs and code cells of a notebook, alt texts of figures included."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        texts.append(cell.source)
        for output in cell.outputs:
            texts += [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
            texts += [kind.get("alt", "") for kind in output.get("metadata", {}).values()]
    return "\n".join(texts)


def rows(notebook):
    """Rows of a notebook's tables with their names in front, lines of its other outputs, and parts of its alt texts."""
    found = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        html = output.get("data", {}).get("text/html", "")
        found += [re.sub(r"<[^>]*>|\s+", " ", row) for row in re.findall(r"<tr.*?</tr>", html, re.S)]
        found += (output.get("text", "") + "\n" + output.get("data", {}).get("text/plain", "")).split("\n")
        found += [part for kind in output.get("metadata", {}).values() for part in kind.get("alt", "").split(";")]
    return found


def stands_in(number, shown):
    """Whether one of the numbers that are shown is the one that is written."""
    scales = (1, 0.01) if "%" in number.text else (1,)
    return any(
        abs(number.value * scale - other.value) <= number.half * scale * 1.0001
        and number.sign in ("", other.sign, other.sign or "+")
        for other in shown
        for scale in scales
    )


INTERVAL = re.compile(r"(?:([+−]?\d\.\d+) )?[(\[][^()\[\]]*?([+−]?\d\.\d+)(?: to |, |–)([+−]?\d\.\d+)[)\]]")


def torn(text, lines, elsewhere=()):
    """Intervals of a page, with the value in front of them, whose numbers are in no row or line together."""
    shown = [numbers(line) for line in lines]
    missing = []
    for found in INTERVAL.finditer(prose(text)):
        parts = numbers(" ; ".join(part for part in found.groups() if part))
        if {part.text for part in parts} <= set(elsewhere):
            continue
        if not any(all(stands_in(part, line) for part in parts) for line in shown):
            missing.append(found[0])
    return missing


def lost(text, shown, elsewhere=()):
    """Numbers of a page's text that neither stand in what is shown, nor are a sum's result, nor are known to stand elsewhere."""
    there = numbers(shown)
    results = sums(text)
    missing = []
    for number in numbers(prose(text)):
        if not worth_a_look(number) or number.text in elsewhere:
            continue
        if not stands_in(number, there) and not any(abs(number.value - result) < 1e-9 for result in results):
            missing.append(number.sign + number.text)
    return missing


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def excused(page):
    return {number for line in ELSEWHERE.get(page, {}).values() for number in line.split("; ")}


def pages():
    """(name, text, what its numbers may stand in, rows and lines of that) of the notebooks and of README."""
    books = {path.stem: nbformat.read(path, as_version=4) for path in PATHS}
    costs = (ROOT / "notebooks" / "costs.toml").read_text()
    shown = {name: outputs(book) for name, book in books.items()}
    shown[PATHS[0].stem] += costs
    found = [(name, markdown(book), shown[name], rows(book)) for name, book in books.items()]
    everything = [row for *_, lines in found for row in lines]
    return [*found, ("README", (ROOT / "README.md").read_text(), "\n".join([*shown.values(), costs]), everything)]


PAGES = pages()


@pytest.mark.parametrize(
    ("page", "text", "lines"), [(page, text, lines) for page, text, _, lines in PAGES], ids=[page for page, *_ in PAGES]
)
def test_intervals_are_those_of_one_row(page, text, lines):
    """Fails when an interval has a bound of another row or run, which numbers one by one would not show."""
    assert torn(text, lines, excused("every page")) == []


def test_rows_of_readme_are_rows_of_an_output():
    """Fails when a number of a table in README is another model's, or none of the notebooks has it beside that name."""
    *_, (_, text, _, lines) = PAGES
    for name, cells in re.findall(r"^\| (`\w+`(?: − `\w+`)?) \|(.*)$", text, re.M):
        name = name.replace("`", "")
        shown = [n for row in lines if row.strip().startswith(f"{name} ") for n in numbers(row)]
        missing = [n.text for n in numbers(cells) if not stands_in(n, shown)]
        assert missing == [], name


@pytest.mark.parametrize(("page", "text", "shown"), [page[:3] for page in PAGES], ids=[page for page, *_ in PAGES])
def test_numbers_of_the_prose_stand_in_an_output(page, text, shown):
    """Fails when a result in the prose was never printed, is not rounded as it should be, or is another run's."""
    assert lost(text, shown, excused(page) | excused("every page")) == []


def test_no_number_is_excused_that_is_not_written():
    """Fails when the list of numbers from elsewhere holds one that its page no longer has: let it shrink, too."""
    written = {page: {number.text for number in numbers(prose(text))} for page, text, *_ in PAGES}
    for page in ELSEWHERE:
        there = set().union(*written.values()) if page == "every page" else written[page]
        assert excused(page) <= there, f"{page}: {sorted(excused(page) - there)}"


SHOWN = "gap 0.5521 -0.0713\nnetworks 23.5 M parameters, 1,464 images, 63% right, lr 0.001"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("It reaches 0.552 and loses 0.071 (−0.071), 63 % or 63.0 %.", []),
        ("It has 23.5 M or 23.5 million parameters and saw 1,464 images in 2019 at 1e-3.", []),
        ("It reaches 0.553.", ["0.553"]),  # another number
        ("It reaches 0.55 or 0.5521, not 0.56.", ["0.56"]),  # rounded, to more digits, rounded wrongly
        ("It gains +0.071.", ["+0.071"]),  # another sign
        ("64 % are right.", ["64 %"]),
        ("On 1,465 images, five of 12.", ["1,465"]),
        ("So (1/1 + 2/3) / 3 = 0.556, $624/(624 + 312) = 0.667$ and 0.9 − 0.7 = 0.2.", ["0.9", "0.7"]),
        ("$7.39/12.11 = 0.61$, so 0.61, and 30/1,063 = 2.8 %.", ["1,063"]),
        ("$7.39/12.11 = 0.62$, so 0.62.", ["0.62"]),  # a sum that does not come out
        ("In formulas $0.5$ and $x = 0.552$ pass, $x = 0.554$ does not.", ["0.554"]),
        ("# 0.1\n`0.2` [a](b0.3.md) section 5.2\n## Questions\n0.4", []),
    ],
)
def test_what_is_missed(text, missing):
    """Fails when a changed digit, sign or share goes unnoticed, or code, headings and folded answers are read as results."""
    assert lost(text, SHOWN) == missing


@pytest.mark.parametrize(("page", "right", "wrong"), [("02_resnet50_baseline", "0.552", "0.557")])
def test_a_changed_result_is_found(page, right, wrong):
    """Fails when a page's own outputs are so many that any number is found among them."""
    ((text, shown),) = [(text, shown) for name, text, shown, _ in PAGES if name == page]
    assert right in text and lost(text.replace(right, wrong), shown, excused(page) | excused("every page")) == [
        wrong
    ] * text.count(right)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("It has 0.719 (0.681 to 0.754), which is +0.166 (+0.129–+0.210).", []),
        ("At 0.719 [0.681, 0.754].", []),
        ("At 0.719 (0.681 to 0.594).", ["0.719 (0.681 to 0.594)"]),  # a bound of the other row
        ("At 0.552 (95 % interval 0.681 to 0.754).", ["0.552 (95 % interval 0.681 to 0.754)"]),
    ],
)
def test_what_is_torn(text, missing):
    """Fails when numbers of two rows pass for an interval, or a right one does not."""
    assert torn(text, ["a 0.719 0.681 0.754 0.342", "b 0.552 0.510 0.594", "a − b 0.166 0.129 0.210"]) == missing
