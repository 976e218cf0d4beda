"""The site of the executed notebooks, opened as a file: light and dark, on a desk and on a phone."""

from pathlib import Path

import pytest

from tests.helpers import load_script

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "runs" / "browser"
PAGES = [
    "README",
    *(path.relative_to(ROOT).with_suffix("").as_posix() for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))),
]
# texts whose contrast with what lies behind them is below the 4.5 : 1 that WCAG 2 asks for (AA)
PALE = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const behind = (e) => e ? over(parse(getComputedStyle(e).backgroundColor), behind(e.parentElement)) : [255, 255, 255];
  const light = (c) => c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pale = [];
  for (const e of document.querySelectorAll("article :is(h1, h2, p, li, a, td, th, summary, code, pre, pre span)")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const ground = behind(e), ink = over(parse(getComputedStyle(e).color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${e.tagName} ${e.textContent.slice(0, 40)} ${ink} on ${ground}`);
  }
  return pale;
}"""
WIDE = """() => [...document.querySelectorAll("article img")].filter((image) => !image.naturalWidth ||
  image.getBoundingClientRect().right > innerWidth + 1).map((image) => image.src)"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site of the notebooks as they are kept; a dead link between its pages fails here."""
    pytest.importorskip("myst_nb", reason='no Sphinx: pip install -e ".[site]"')
    return load_script("pages").build(tmp_path_factory.mktemp("site") / "html").parent


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages(site, open_page, scheme, width):
    """Fails when a page scrolls sideways, a figure is lost or sticks out, a text is pale, or the network is asked."""
    window = open_page(f"file://{site}/README.html", width, color_scheme=scheme)
    page = window.page
    SHOTS.mkdir(parents=True, exist_ok=True)
    formulas = 0
    for name in PAGES:
        page.goto(f"file://{site}/{name}.html")
        page.screenshot(path=SHOTS / f"{Path(name).stem}-{scheme}-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        assert page.evaluate(WIDE) == [], name
        assert page.evaluate(PALE) == [], name
        page.evaluate("document.querySelectorAll('details').forEach(answer => answer.open = true)")
        heights = page.evaluate("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
        assert all(heights), f"{name}: a formula is not drawn"
        formulas += len(heights)
    assert formulas > 100
    assert not window.errors and not window.asked, window.errors + window.asked


@pytest.mark.timeout(300)
def test_search_and_zoom(site, open_page):
    """Fails when the search needs a server, or a figure does not open in full size and close again."""
    page = open_page(f"file://{site}/README.html").page
    page.locator("input[name=q]").first.fill("distractor")
    page.keyboard.press("Enter")
    page.locator("ul.search li a").first.wait_for()
    assert any("GAP" in text for text in page.locator("ul.search li a").all_inner_texts())
    page.goto(f"file://{site}/notebooks/08_gap_evaluation.html")
    image = page.locator("article img").first
    before = image.bounding_box()["width"]
    image.click()
    large = page.locator("dialog.zoom[open] img")
    assert large.bounding_box()["width"] > before
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")
