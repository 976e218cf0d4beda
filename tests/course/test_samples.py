"""Pictures, names and batches, against the files they come from."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from landmark.course import samples
from landmark.data.dataset import eval_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path, read_image
from landmark.retrieval.gallery import open_gallery
from landmark.training.config import TrainConfig
from landmark.training.run import Run

IDS = ["a" * 16, "b" * 16]


def test_pictures_are_those_of_the_rows(tmp_path):
    """Fails when a picture is stretched, larger than asked, another row's, or an unreadable one ends the page."""
    path = image_path(tmp_path, "train", IDS[0])
    path.parent.mkdir(parents=True)
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, 200:] = 250
    Image.fromarray(pixels).save(path, quality=95)
    grey, wide = samples.pictures(pd.DataFrame({"id": IDS[::-1]}), tmp_path, size=80)
    assert wide.shape == (20, 80, 3) and wide[:, :35].max() < 40 and wide[:, 45:].min() > 210
    assert grey.shape == (60, 80, 3) and (grey == 150).all()


def test_pictures_carry_their_credits(world, tmp_path):
    """Fails when real photographs are shown without their authors, or an invented picture has one."""
    rows = GoogleLandmarks(world).train[:2]
    assert not samples.pictures(rows, world).credits
    (tmp_path / "train_attribution.csv").write_text(f"id,url,author,license,title\n{IDS[1]},u,Ada,CC0,Dom\n")
    assert samples.pictures(pd.DataFrame({"id": IDS}), tmp_path).credits == ["2. Dom: Ada, CC0"]
    batch = torch.zeros(2, 3, 4, 4)
    assert samples.squares(batch, pd.DataFrame({"id": IDS}), tmp_path).credits == ["2. Dom: Ada, CC0"]
    assert not samples.squares(batch).credits


def test_as_many_rows_of_each_landmark_as_asked():
    """Fails when landmarks lose their order, one of few images has too few, or the seed makes no difference."""
    table = pd.DataFrame({"id": [f"{i:016x}" for i in range(40)], "landmark_id": [7] * 30 + [3] * 9 + [5]})
    rows = samples.sample_rows(table, [3, 7, 5], 4)
    assert rows["landmark_id"].tolist() == [3] * 4 + [7] * 4 + [5] * 4
    for landmark_id in (3, 7):
        chosen = rows.loc[rows["landmark_id"] == landmark_id, "id"]
        assert chosen.is_unique and set(chosen) <= set(table.loc[table["landmark_id"] == landmark_id, "id"])
    assert rows.equals(samples.sample_rows(table, [3, 7, 5], 4)) and not rows.equals(
        samples.sample_rows(table, [3, 7, 5], 4, 1)
    )


def test_copied_photographs_are_a_folder_that_a_search_opens(world, tmp_path):
    """Fails when a photograph goes to another landmark's sub-folder, is encoded anew, or one of a query gets a folder."""
    data = GoogleLandmarks(world)
    rows = data.train.groupby("landmark_id").head(2)
    paths = samples.copy_photographs(rows, data, tmp_path / "album")
    names = samples.names_of(data)
    assert [path.parent.name for path in paths] == [names[i] for i in rows["landmark_id"]]
    assert all(path.read_bytes() == image_path(world, "train", path.stem).read_bytes() for path in paths)
    gallery = open_gallery(tmp_path / "album")
    assert sorted(gallery.landmarks.values()) == sorted({names[i] for i in rows["landmark_id"]})
    (query,) = samples.copy_photographs(data.test.head(1), data, tmp_path / "new", "test")
    assert query == tmp_path / "new" / f"{data.test['id'][0]}.jpg"


def test_names_and_faults_of_a_world(world, tmp_path):
    """Fails when names belong to other landmarks, a fault is lost, or real data, where nobody knows them, has some."""
    made = pd.read_csv(world / "landmarks.csv")
    assert samples.names_of(GoogleLandmarks(world)) == dict(zip(made["landmark_id"], made["name"], strict=True))
    faults = samples.planted_faults(GoogleLandmarks(world))
    assert {"id", "fault"} <= set(faults.columns) and faults["id"].str.len().eq(16).all()
    assert len(faults) == len((world / "planted.csv").read_text().splitlines()) - 1 > 5
    real = GoogleLandmarks(tmp_path)
    assert samples.names_of(real) == {} and samples.planted_faults(real).shape == (0, 2)


def test_a_batch_holds_all_rows_in_their_order(world):
    """Fails when a batch is cut to the run's size, rows are shuffled, or pixels are those of the training transform."""
    data = GoogleLandmarks(world)
    run = Run(world, TrainConfig(model="resnet50", size=32, batch_size=2), LabelMap(data.train["landmark_id"]), {})
    batch = samples.batch_of(run, data.test[:5], world)
    assert batch.ids == data.test["id"][:5].tolist() and batch.images.shape == (5, 3, 32, 32)
    assert len(samples.batch_of(run, data.test[:1], world).ids) == 1
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = eval_transform(32, mean, std)(read_image(image_path(world, "test", batch.ids[3]), at_least=32))
    torch.testing.assert_close(batch.images[3], expected)


def test_squares_fill_their_own_range():
    """Fails when one bright image makes the others dark, channels come first, or a flat image divides by zero."""
    images = torch.stack([torch.linspace(-2, 3, 27).view(3, 3, 3), torch.full((3, 3, 3), 0.7)])
    first, flat = samples.squares(images)
    assert first.min() == 0 and first.max() == 1 and flat.max() == 0
    assert first[2, 1] == pytest.approx(((images[0, :, 2, 1] + 2) / 5).numpy(), abs=1e-6)


def test_rows_of_known_landmarks_and_of_none(world):
    """Fails when an unknown landmark passes for a known one, or a distractor for a landmark."""
    data = GoogleLandmarks(world)
    shown = dict(zip(data.solution["id"], data.solution["landmarks"], strict=True))
    some = LabelMap([next(marks[0] for marks in shown.values() if marks)])
    known, empty = samples.known_rows(data, some)["id"].tolist(), samples.empty_rows(data)["id"].tolist()
    assert known == [i for i in data.test["id"] if set(shown[i]) & set(some.landmark_ids)] and known
    assert empty == [i for i in data.test["id"] if not shown[i]] and empty


def test_right_rows_are_those_whose_answer_is_true(world, monkeypatch):
    """Fails when a distractor counts as right, the order of the table is lost, or nothing right leaves no picture."""
    data = GoogleLandmarks(world)
    truth = samples.truth_of(data)
    shown = [i for i in data.test["id"] if truth.get(i)]
    answers = {i: (truth[i][0] if i in shown[::2] else 999, 0.5) for i in truth}
    monkeypatch.setattr(samples, "test_answers", lambda run, data: answers)
    assert samples.right_rows(None, data)["id"].tolist() == shown[::2]
    monkeypatch.setattr(samples, "test_answers", lambda run, data: {})
    assert samples.right_rows(None, data).equals(data.test)
