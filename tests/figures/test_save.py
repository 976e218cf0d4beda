"""Figures on disk: small, white, whole, the same bytes every time."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import Image
from PIL import Image as Picture

from landmark.figures import evaluation, networks, pictures, save
from landmark.utils.errors import InputError


def noise(count, side):
    """Pictures that no palette compresses: the worst case."""
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def test_saved_figure_is_what_the_notebook_shows(folder):
    """Fails when the file and the output differ, the alternative text is lost, or a part file stays behind."""
    shown = save.save_figure(
        evaluation.interval_bars(["a"], [1], [0], [2], xlabel="x", title="Cost $1"), "08-gap-table"
    )
    assert isinstance(shown, Image) and shown.alt == "Cost $1: a 1.000 (0.000 to 2.000)"
    assert save.save_figure(evaluation.risk_curves({"a": ([0, 1], [0, 1])}), "08-risk", "It rises").alt == "It rises"
    (folder / "08-risk.png").unlink()
    assert [path.name for path in folder.iterdir()] == ["08-gap-table.png"]
    assert (folder / "08-gap-table.png").read_bytes() == shown.data
    assert not plt.get_fignums()


def test_same_figure_same_bytes():
    """Fails when a time, a version or an unstable layout enters the file: every run would then change git."""

    def draw():
        return pictures.image_grid(noise(3, 20), ["a", "b", "c"], columns=3, title="Noise")

    fig = draw()
    first, kind = save.encode(fig)
    assert (first, kind) == save.encode(fig) == save.encode(draw())
    first, kind = save.encode(networks.evaluation_flow())
    chunks = {first[i : i + 4] for i in range(len(first)) if first[i : i + 4] in (b"tEXt", b"iTXt", b"tIME", b"zTXt")}
    assert kind == "png" and not chunks


def test_the_hardest_sheet_is_small_enough_and_still_large_enough_to_read():
    """Fails when a contact sheet breaks the limit, or is shrunk to a stamp."""
    data, kind = save.encode(pictures.image_grid(noise(24, 64), columns=8, title="Noise"))
    assert kind == "jpeg" and len(data) <= save.LIMITS[kind]
    assert Picture.open(io.BytesIO(data)).width >= 500


def test_paper_stays_white_and_colours_stay_true():
    """Fails when the palette turns the background grey or moves a line's colour."""
    picture = Picture.open(io.BytesIO(save.encode(networks.evaluation_flow())[0])).convert("RGB")
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    colours = np.array([c for _, c in picture.getcolors(1 << 20)])
    assert np.abs(colours - (0x00, 0x72, 0xB2)).max(axis=1).min() <= 4


def test_photographs_keep_their_colours(folder):
    """Fails when a sky is cut into bands by a palette, a heat map into steps, or the file has the name of a PNG."""
    side = np.linspace(60, 200, 120)
    sky = np.stack(
        [np.broadcast_to(side, (120, 120)), np.broadcast_to(side[:, None], (120, 120)), np.full((120, 120), 90)], 2
    )
    shown = save.save_figure(pictures.image_grid([sky.astype(np.uint8)], columns=1, title="Sky"), "01-sky")
    assert shown.format == "jpeg" and [path.name for path in folder.iterdir()] == ["01-sky.jpg"]
    picture = Picture.open(io.BytesIO(shown.data)).convert("RGB")
    assert len(picture.getcolors(1 << 20)) > 2000
    heat = pictures.saliency_panels([sky / 255], {"a": np.outer(side, side)[None] / 40_000})
    assert save.encode(heat)[1] == "jpeg"


def test_what_cannot_be_made_small_is_refused_and_leaves_nothing(folder, monkeypatch):
    """Fails when a figure over the limit is written all the same."""
    with pytest.raises(InputError, match="draw fewer"):
        save.encode(pictures.image_grid(noise(1, 8)), limit=100)
    monkeypatch.setattr(save, "encode", lambda figure: (_ for _ in ()).throw(InputError("too large")))
    with pytest.raises(InputError):
        save.save_figure(networks.evaluation_flow(), "08-evaluation")
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["gap", "8-gap", "08", "08-", "08-Gap", "08-gap.png", "../08-gap", "08-a/b", "08-a--b", "08_a"]
)
def test_name_must_fit_the_pattern(name, folder):
    """Fails when a name escapes the folder or breaks the listing by notebook."""
    with pytest.raises(InputError, match="figure name"):
        save.save_figure(networks.evaluation_flow(), name)
    assert not folder.exists()
