"""Oracles: folders laid out by hand."""

import numpy as np
import pytest
from PIL import Image

from landmark.retrieval.gallery import PhotoFiles, open_gallery, open_photos, open_test
from landmark.utils.errors import ImageError, InputError


def draw(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return path


def test_a_sub_folder_is_a_landmark(tmp_path, log_lines):
    """Fails when an image goes to another landmark, hidden files or other files count, or deeper ones do not."""
    for name in ("Köln/a.jpg", "Köln/more/b.PNG", "Eiffel Tower/a.jpg", ".hidden/a.jpg", "Köln/._a.jpg", "loose.jpg"):
        draw(tmp_path / name)
    (tmp_path / "Köln/notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    gallery = open_gallery(tmp_path)
    named = {gallery.name(i): gallery.landmarks[k] for i, k in zip(gallery.ids, gallery.landmark.tolist(), strict=True)}
    assert named == {"Köln/a.jpg": "Köln", "Köln/more/b.PNG": "Köln", "Eiffel Tower/a.jpg": "Eiffel Tower"}
    assert not gallery.numbered and gallery.picture(gallery.ids[0]).size == (8, 8)
    assert any("1 images lie in no sub-folder" in line and "loose.jpg" in line for line in log_lines)
    ids = dict(zip(gallery.names.values(), gallery.ids, strict=True))
    draw(tmp_path / "Aachen/a.jpg")
    again = open_gallery(tmp_path)
    assert ids.items() <= dict(zip(again.names.values(), again.ids, strict=True)).items(), "an id is the path's"


def test_pictures_that_cannot_be_read_are_told(tmp_path, log_lines):
    """Fails when a telephone's pictures, and the landmark that has no others, are missed without a word."""
    draw(tmp_path / "Old Mill" / "a.jfif")
    for name in ("New Mill/b.HEIC", "New Mill/notes.txt", "Old Mill/.trash/c.heic"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    gallery = open_gallery(tmp_path)
    assert len(gallery.ids) == 1 and gallery.landmarks[int(gallery.landmark[0])] == "Old Mill"
    unread, bare = log_lines
    assert "1 pictures are left out: save them as JPEG, such as" in unread and unread.endswith("b.HEIC")
    assert bare.endswith("1 landmarks have no image and are not found, such as New Mill")


def test_folders_named_by_number_are_landmark_ids(tmp_path):
    """Fails when the number in a folder's name is not the landmark's id."""
    for name in ("1000/a.jpg", "37/b.jpg"):
        draw(tmp_path / name)
    gallery = open_gallery(tmp_path)
    assert gallery.numbered and sorted(gallery.landmark.tolist()) == [37, 1000]


def test_a_folder_in_the_layout_of_gldv2(world):
    """Fails when train.csv, the names of labels or the images without a landmark are not those of the folder."""
    from landmark.data.folder import GoogleLandmarks

    data, gallery = GoogleLandmarks(world), open_gallery(world)
    assert gallery.ids == data.train["id"].tolist() and gallery.landmark.tolist() == data.train["landmark_id"].tolist()
    assert gallery.numbered and gallery.split == "train"
    assert set(data.train["landmark_id"]) <= set(gallery.landmarks)
    assert gallery.others is not None and gallery.others.ids == data.nonlandmark["id"].tolist()
    assert open_test(world).ids == data.test["id"].tolist()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "0 images in 0 sub-folders"),
        (["a.jpg"], "0 images in 0 sub-folders"),
        (["x/notes.txt"], "0 images in 1 sub-folders"),
        (["Eiffel Tower/a.jpg", "eiffel_tower/b.jpg"], "are two folders of the same landmark: join them"),
        (["Ko\u0308ln/a.jpg", "K\u00f6ln/b.jpg"], "are two folders of the same landmark: join them"),
        (["7/a.jpg", "007/b.jpg"], "are two folders of the same landmark: join them"),
        (["index/0/1/2/0123456789abcdef.jpg"], "the landmark ids of the index split are others"),
        (["train/0/1/2/0123456789abcdef.jpg"], "this is a part of it: give the folder that holds train.csv"),
        (["index.csv", "index/0/1/2/0123456789abcdef.jpg"], "the landmark ids of the index split are others"),
        (["0/1/2/0123456789abcdef.jpg"], "this is a part of it"),
    ],
)
def test_bad_folders_are_one_line(tmp_path, files, words):
    """Fails when a folder that is no gallery is searched, with landmarks that it does not hold."""
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path) if path.suffix == ".jpg" else path.write_text("id\n")
    with pytest.raises(InputError, match=f"^[^\n]*{words}[^\n]*$"):
        open_gallery(tmp_path)


def test_the_index_split_itself_is_refused(tmp_path):
    """Fails when the images of GLDv2's index are searched as if their landmark ids were those of train."""
    draw(tmp_path / "index/0/1/2/0123456789abcdef.jpg")
    with pytest.raises(InputError, match="index: the landmark ids of the index split are others than those of train"):
        open_gallery(tmp_path / "index")
    with pytest.raises(InputError, match="no such folder"):
        open_gallery(tmp_path / "nowhere")


def test_photographs_by_path(tmp_path, monkeypatch):
    """Fails when one that is named twice is searched with twice, or what cannot be read is no `ImageError`."""
    path = draw(tmp_path / "ü.jpg", 200)
    monkeypatch.chdir(tmp_path)
    photos = open_photos([path, "ü.jpg", tmp_path / "no.jpg", tmp_path])
    assert [photos.name(i) for i in photos.ids] == ["ü.jpg", str(tmp_path / "no.jpg"), str(tmp_path)]
    assert np.abs(np.asarray(photos.picture(photos.ids[0]))[0, 0] - (200, 0, 0)).max() < 4
    for image_id, words in ((photos.ids[1], "no such file"), (photos.ids[2], "cannot be read")):
        with pytest.raises(ImageError, match=words):
            photos.picture(image_id)
    with pytest.raises(InputError, match="0 photographs"):
        open_photos([])


def test_the_stamp_of_a_file_changes_with_it(tmp_path):
    """Fails when the vector of a file that was replaced is still believed."""
    files = PhotoFiles({"a": draw(tmp_path / "a.jpg"), "b": tmp_path / "gone.jpg"})
    before = files.fingerprint(["a"]), files.fingerprint(["b"])
    draw(tmp_path / "a.jpg", 90)
    draw(tmp_path / "gone.jpg")
    assert files.fingerprint(["a"]) != before[0] and files.fingerprint(["b"]) != before[1]
