"""What colours alone answer."""

import numpy as np
import pytest
from PIL import Image

from landmark.course.lessons import floor
from landmark.data.folder import GoogleLandmarks


def test_vectors_are_those_of_a_plain_loop():
    """Fails when channels are mixed up, levels are cut at the wrong bytes, or shares are not of the whole image."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = np.zeros((4, 4, 4))
    for red, green, blue in image.reshape(-1, 3).tolist():
        expected[red // 64, green // 64, blue // 64] += 1 / 35
    (found,) = floor.colour_vectors([image], levels=4)
    assert found == pytest.approx(np.sqrt(expected).ravel(), rel=1e-6)
    assert (found**2).sum() == pytest.approx(1, rel=1e-6)


def test_the_like_coloured_landmark_is_named(tmp_path, monkeypatch):
    """Fails when a test image gets another's answer, one that is not scored is asked, or the filter is forgotten."""
    monkeypatch.setattr(floor, "min_images", lambda: 2)
    colours = {"red": (200, 20, 20), "blue": (20, 20, 200), "pale": (200, 190, 200)}
    of = {"a": "red", "b": "red", "c": "blue", "d": "blue", "e": "pale"}
    train = {f"{i:016x}": name for i, name in enumerate(of.values())}
    asked = {"f" * 16: "blue", "e" * 16: "red", "d" * 16: "pale", "c" * 16: "red"}
    for split, images in (("train", train), ("test", asked)):
        for image_id, name in images.items():
            path = tmp_path / split / "/".join(image_id[:3]) / f"{image_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), colours[name]).save(path)
    marks = {"red": 1, "blue": 2, "pale": 3}
    rows = "\n".join(f"{image_id},u,{marks[name]}" for image_id, name in train.items())
    (tmp_path / "train.csv").write_text(f"id,url,landmark_id\n{rows}\n")
    (tmp_path / "test.csv").write_text("id\n" + "\n".join(asked) + "\n")
    scored = "\n".join(f"{i},{marks[n]},Public" for i, n in list(asked.items())[:2]) + f"\n{'d' * 16},,Private"
    (tmp_path / "recognition_solution_v2.1.csv").write_text(f"id,landmarks,Usage\n{scored}\n{'c' * 16},,Ignored\n")
    found = floor.colour_answers(GoogleLandmarks(tmp_path))
    assert {i: answer for i, (answer, _) in found.items() if i != "d" * 16} == {"f" * 16: 2, "e" * 16: 1}
    assert found["f" * 16][1] == pytest.approx(1, abs=0.05) and found.keys() == {"f" * 16, "e" * 16, "d" * 16}
    assert found["d" * 16][0] in (1, 2), "one image of the pale landmark is below the filter"
