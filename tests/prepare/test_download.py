"""Downloads of whole plans: the question, the summary, one failure that stops no other."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from landmark.data import tables
from landmark.data.images import image_path
from landmark.prepare import sources
from landmark.prepare.download import fetch_data
from landmark.utils.errors import DownloadError, HaltError, InputError
from landmark.utils.http import web
from landmark.utils.http.fetch import fetch
from tests.server import BLOCK, Fault
from tests.serving import DATA, MD5, SHA, tree


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(web, "WAIT", 0.0)


def test_a_receipt_that_cannot_be_written(served, tmp_path):
    """Fails when a file that came whole is called a failure because it could not be noted beside others' data."""
    (tmp_path / "no folder").write_text("")
    for _ in range(2):
        fetch(served.url, served.out, receipt=tmp_path / "no folder/f.json", md5=MD5)
        assert served.out.read_bytes() == DATA and len(served.asked()) == 1


def fetch_all(mirror, data, shards="0-2", **options):
    fetch_data(sources.gldv2(data, shards=shards, mirror=mirror.url), yes=True, progress=False, **options)


def test_gldv2_from_a_mirror(mirror, tmp_path, log_lines):
    """Fails when a file goes elsewhere than where the project reads it, or a second run fetches anything."""
    data = tmp_path / "data"
    mirror.faults["train/images_001.tar"] = Fault(times=2, cut=BLOCK)
    mirror.faults["metadata/train.csv"] = Fault(times=1, status=503)
    fetch_all(mirror, data)
    names = {"train.csv", "test.csv", "recognition_solution_v2.1.csv", "train_label_to_category.csv", "train_clean.csv",
             "train_attribution.csv"}  # fmt: skip
    names |= {f"train/images_00{k}.tar" for k in range(3)} | {"test/images_000.tar"}
    found = tree(data)
    assert {p.as_posix() for p in found} == names
    for path, content in found.items():
        folder = "" if path.suffix == ".tar" else "ground_truth" if "solution" in path.name else "metadata"
        assert content == (mirror.folder / folder / path).read_bytes()
    assert "train_label_to_hierarchical.csv: not on the server: left out" in "\n".join(log_lines)
    mirror.log.clear()
    fetch_all(mirror, data)
    assert not [line for line in mirror.log if line[0] == "GET"]
    assert "all here already" in log_lines[-1]
    from landmark.data.archives import open_images
    from landmark.data.folder import GoogleLandmarks

    assert len(open_images(data, "train").ids()) == len(GoogleLandmarks(data).train)


def test_one_wrong_tar_does_not_stop_the_others(mirror, tmp_path):
    """Fails when a changed file is accepted, ends the night's download, or the message lacks the way out."""
    sidecar = mirror.folder / "md5sum/train/md5.images_001.txt"
    right = sidecar.read_text()
    sidecar.write_text("0" * 32 + "  images_001.tar\n")
    data = tmp_path / "my data"
    with pytest.raises(DownloadError) as caught:
        fetch_all(mirror, data, workers=1)
    message = str(caught.value)
    assert f"landmark download gldv2 '{data}' --yes --mirror {mirror.url} --splits train --shards 1;" in message
    assert "--md5-file" in message and "\n" not in message
    assert (data / "train/images_002.tar").exists() and (data / "train/images_001.tar.bad").exists()
    sums = tmp_path / "sums.txt"
    sums.write_text(right.replace("images", "train/images"))
    items = sources.gldv2(data, splits=["train"], shards="1", mirror=mirror.url, md5_file=sums)
    fetch_data(items, yes=True, progress=False)
    assert (data / "train/images_001.tar").exists()


@pytest.mark.parametrize("text", ["", "nonsense", "0" * 32 + "  images_009.tar", None])
def test_a_tar_without_a_sum_is_not_taken(mirror, tmp_path, text):
    """Fails when an unchecked TAR passes for a checked one."""
    for split in ("train", "test"):
        sidecar = mirror.folder / f"md5sum/{split}/md5.images_000.txt"
        sidecar.unlink() if text is None else sidecar.write_text(text)
        items = [i for i in sources.gldv2(tmp_path / "d", splits=[split], shards="0", mirror=mirror.url) if i.md5_url]
        with pytest.raises(DownloadError, match="--md5-file"):
            fetch_data(items, yes=True, progress=False)
    assert not list(tmp_path.glob("d/*/*.tar"))


def test_missing_train_tar_and_table(mirror, tmp_path):
    """Fails when an incomplete train set passes for a complete one, or anything starts before that is known."""
    with pytest.raises(DownloadError, match=r"images_003\.tar.*404.*and 1 more"):
        fetch_all(mirror, tmp_path / "d", shards="2-4")
    (mirror.folder / "metadata/test.csv").unlink()
    with pytest.raises(DownloadError, match=r"test\.csv.*404"):
        fetch_all(mirror, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_sizes_question_and_refusal(mirror, tmp_path, log_lines, monkeypatch):
    """Fails when something large starts without a word, or a dry run leaves a trace."""
    items = sources.gldv2(tmp_path / "d", shards="0", mirror=mirror.url)
    fetch_data(items, dry_run=True, progress=False)
    out = log_lines[-1]
    assert "train/images_000.tar -> " in out and f"to fetch  {mirror.url}/metadata/train.csv" in out
    assert "in 8 files to fetch, " in out.splitlines()[-1]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(InputError, match=r"kB in 8 files to fetch.*free.*--yes"):
        fetch_data(items, progress=False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "")
    with pytest.raises(InputError, match="nothing was fetched"):
        fetch_data(items, progress=False)
    assert "Go on? [y/N]" in asked[0] and not (tmp_path / "d").exists()
    monkeypatch.setattr("builtins.input", lambda text: "y")
    fetch_data(items, progress=False)
    assert (tmp_path / "d/train/images_000.tar").exists()
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(HaltError, match="have 1.0 kB free"):
        fetch_all(mirror, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_ctrl_c_stops_all(mirror, tmp_path):
    """Fails when Ctrl-C waits for servers that are silent, or costs what has come."""
    for number in range(3):
        mirror.faults[f"train/images_00{number}.tar"] = Fault(
            times=9, delay=30 if number else 0, cut=BLOCK if number else -1
        )
    code = (f"from landmark.prepare import download, sources; from landmark.utils.http import web; web.WAIT = 0.0; "
            f"download.fetch_data(sources.gldv2({str(tmp_path / 'd')!r}, shards='0-2', mirror={mirror.url!r}), "
            "yes=True, progress=False)")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while sum(line[:2] in {("GET", f"train/images_00{n}.tar") for n in range(3)} for line in mirror.log) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(15) == -signal.SIGINT
    mirror.faults.clear()
    fetch_all(mirror, tmp_path / "d")
    assert not list((tmp_path / "d").rglob("*.part*")) and not list((tmp_path / "d").rglob(".*.lock"))


def test_a_lost_connection_stops_all(mirror, tmp_path):
    """Fails when each of 500 files waits for a server that is gone."""
    items = sources.gldv2(tmp_path / "d", shards="0-2", mirror="http://127.0.0.1:9")
    with pytest.raises(HaltError, match="refused"):
        fetch_data(items, yes=True, progress=False)


def test_clean_and_index(mirror, tmp_path):
    """Fails when the clean list is not required where it is the point, or images come with it."""
    items = sources.gldv2_clean(tmp_path / "d", mirror=mirror.url)
    fetch_data(items, yes=True, progress=False)
    assert (tmp_path / "d/train_clean.csv").exists() and not (tmp_path / "d/train").exists()
    (mirror.folder / "metadata/train_clean.csv").unlink()
    with pytest.raises(DownloadError, match=r"train_clean\.csv.*404"):
        fetch_data(sources.gldv2_clean(tmp_path / "e", mirror=mirror.url), yes=True, progress=False)
    assert [i.name for i in sources.gldv2("d", splits=["index"], shards="99")][-2:] == [
        "index.csv",
        "index/images_099.tar",
    ]


def test_weights(served, monkeypatch):
    """Fails when weights are taken without their sum, or from another place than the mirror."""
    facts = [{"url": "https://nowhere.invalid/x/f.tar", "sha256": SHA[:8]}, {"package": "weights", "sha256": SHA}]
    folder = served.out.parent
    fetch_data(sources.weights(facts, folder, mirror=served.root), yes=True, progress=False)
    assert served.out.read_bytes() == DATA
    with pytest.raises(DownloadError, match=r"sha256 .* expected 00000000"):
        fetch_data(
            sources.weights([facts[0] | {"sha256": "0" * 8}], folder, mirror=served.root), yes=True, progress=False
        )
    assert served.out.read_bytes() == DATA


def test_landmarks50(mirror, tmp_path, world, log_lines):
    """Fails when the subset does not become a folder that the project reads, with the right labels."""
    data = tmp_path / "d"
    fetch_data(sources.landmarks50(data, mirror=mirror.url), yes=True, progress=False)
    assert "5 landmarks, 22 train and 2 test images; landmark_images.zip" in log_lines[0]
    train, test = tables.read_train(data / "train.csv"), tables.read_test(data / "test.csv")
    solution = tables.read_solution(data / "recognition_solution_v2.1.csv")
    names = dict(tables.read_categories(data / "train_label_to_category.csv").itertuples(index=False))
    assert set(train["landmark_id"]) == set(names) == set(range(5)) and set(solution["Usage"]) == {"Public"}
    with zipfile.ZipFile(mirror.folder / "landmark_images.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert len(members) == len(train) + len(test) and list(test["id"]) == list(solution["id"])
    labels = dict(zip(train["id"], train["landmark_id"], strict=True))
    labels |= {image_id: cell[0] for image_id, cell in zip(solution["id"], solution["landmarks"], strict=True)}
    for name, content in members.items():
        _, split, landmark, file = name.split("/")
        assert image_path(data, split, file[:-4]).read_bytes() == content
        assert landmark == f"{labels[file[:-4]]:02}.{names[labels[file[:-4]]]}"
    before = tree(data)
    fetch_data(sources.landmarks50(data, mirror=mirror.url), yes=True, progress=False)
    assert tree(data) == before


def test_nothing_unsafe_in_the_sources():
    """Fails when somebody unpacks an archive at one stroke or names a server in the clear."""
    for name in (
        "utils/http/web",
        "utils/http/fetch",
        "prepare/download",
        "prepare/sources",
        "prepare/subsets/gld23k",
        "prepare/subsets/landmarks50",
    ):
        text = (Path(web.__file__).parents[2] / f"{name}.py").read_text()
        assert "extractall" not in text and "verify=False" not in text
        assert not [
            line for line in text.splitlines() if "http://" in line and '"http://"' not in line and ">>>" not in line
        ]
