"""Notebooks in JupyterLab: run from top to bottom in quick mode, their explorers moved by mouse, a photograph uploaded."""

import io

import numpy as np
import pytest
from PIL import Image

# notebook → the controls of its explorer, in their order; none for a notebook that has no explorer
NOTEBOOKS = {
    "00_start_here": [],
    "08_gap_evaluation": ["slider"],
    "09_saliency_maps": ["slider", "menu"],
    "10_real_landmarks": ["upload"],
}
PROMPTS = "[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim())"
MINUTES = 8 * 60_000  # in milliseconds, for a slow machine on which no run is trained yet


def run_all(page):
    """Run all cells by the menu; return the prompts once no cell waits any more."""
    page.get_by_text(" | Idle").first.wait_for(timeout=MINUTES)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    ended = f"(p => p.some(x => /\\d/.test(x)) && !p.some(x => x.includes('*')))({PROMPTS})"
    page.wait_for_function(ended, timeout=MINUTES)
    return page.evaluate(PROMPTS)


def picture(page):
    """The explorer's picture as it is shown, once it is loaded."""
    image = page.locator("img.widget-image")
    image.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('img.widget-image')?.naturalWidth > 0")
    return image.screenshot()


def changed(page, before, seconds=30):
    """The picture, once it is another one."""
    for _ in range(seconds * 10):
        if (now := picture(page)) != before:
            return now
        page.wait_for_timeout(100)
    return before


def drag(page, share):
    """Move the slider's handle by mouse to a share of its track."""
    page.locator(".noUi-handle").scroll_into_view_if_needed()
    track, handle = page.locator(".noUi-base").bounding_box(), page.locator(".noUi-handle").bounding_box()
    middle = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], middle, steps=12)
    page.mouse.up()


def upload(page, *files):
    """Choose files, (name, content) each, in the dialogue that the button opens."""
    with page.expect_file_chooser() as dialogue:
        page.locator(".widget-upload").click()
    dialogue.value.set_files([{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files])


def noise():
    """A photograph of nothing, as a PNG."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)).save(out, format="png")
    return out.getvalue()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name, lab, open_page):
    """Fails when a cell stops, the browser complains, or a control of the explorer, or an upload, leaves the picture as it is."""
    window = open_page(lab(name))
    page = window.page
    prompts = run_all(page)
    stopped = page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert not stopped, stopped[0][-2000:]
    assert prompts == [f"[{i}]:" for i in range(1, len(prompts) + 1)]
    for control in NOTEBOOKS[name]:
        before = picture(page)
        if control == "slider":
            drag(page, 0.9)
            moved = changed(page, before)
            assert moved != before, "the slider was moved and the picture stayed"
            drag(page, 0.1)
            assert changed(page, moved) != moved, "the slider was moved back and the picture stayed"
        elif control == "upload":
            upload(page, ("noise.png", noise()), ("broken.png", noise()[:1000]))
            answers = page.locator(".widget-html pre")
            answers.filter(has_text=", score ").wait_for(timeout=MINUTES)
            broken, noisy = answers.inner_text().splitlines()
            assert broken.startswith("broken.png: ") and broken.endswith(": no answer")
            assert noisy.startswith("noise.png: ")
            assert changed(page, before) != before, "a photograph was uploaded and the picture stayed"
        else:
            menu = page.locator(".widget-dropdown select")
            menu.select_option(index=0 if menu.evaluate("menu => menu.selectedIndex") else 1)
            assert changed(page, before) != before, "another line of the menu was chosen and the picture stayed"
    assert not window.errors, window.errors
