"""Downloads from a server on this machine that misbehaves: the right bytes in the end, or one clear line."""

import hashlib
import multiprocessing
import os
import random
import resource
import signal
import stat
import sys
import threading
import time
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from server import BLOCK, Fault, serve

from landmark import download as downloading
from landmark import landmarks50, sources, tables, transfer, web
from landmark.download import download
from landmark.images import image_path
from landmark.runtime import InputError
from landmark.transfer import fetch, part_of
from landmark.web import DownloadError, Halt, Stopped, Web

DATA = random.Random(0).randbytes(5 * BLOCK + 123)
MD5, SHA = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(web, "WAIT", 0.0)


@pytest.fixture
def served(tmp_path):
    """A folder with one file, served; faults and log of its server; a folder to fetch into."""

    one = SimpleNamespace(faults={}, log=[], folder=tmp_path / "served", out=tmp_path / "out" / "f.tar")
    one.asked = lambda: [place for method, _, place in one.log if method == "GET"]
    one.folder.mkdir()
    (one.folder / "f.tar").write_bytes(DATA)
    with serve(one.folder, one.faults, one.log) as one.root:
        one.url = f"{one.root}/f.tar"
        yield one


def only(path):
    """Nothing lies beside the file."""
    return sorted(p.name for p in path.parent.iterdir()) == [path.name]


FAULTS = {
    "none": Fault(times=0),
    "cut": Fault(times=9, cut=BLOCK // 2),
    "cut at once": Fault(times=3, cut=0),
    "busy": Fault(times=3, status=503),
    "slow down": Fault(times=1, status=429, headers={"Retry-After": "0"}),
    "nonsense after": Fault(times=1, status=503, headers={"Retry-After": "soon"}),
    "says too long": Fault(times=1, headers={"Content-Length": str(len(DATA) + 5)}),
    "chunked-like": Fault(times=1, headers={"Content-Length": ""}, cut=len(DATA)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_that_pass(served, name):
    """Fails when a fault that passes ends the download, or leaves wrong bytes or debris."""
    served.faults["f.tar"] = FAULTS[name]
    told = []
    fetch(served.url, served.out, md5=MD5, advance=told.append)
    assert served.out.read_bytes() == DATA and only(served.out) and sum(told) == len(DATA)


def test_a_cut_file_goes_on_by_range(served):
    """Fails when the bytes at hand are fetched again, in the same run or in the next one."""
    served.faults["f.tar"] = Fault(times=1, cut=2 * BLOCK)
    fetch(served.url, served.out, sha256=SHA)
    assert served.asked() == ["", f"bytes={2 * BLOCK}-"]
    served.out.unlink()
    served.log.clear()
    interrupted(served, 3 * BLOCK)
    served.log.clear()
    fetch(served.url, served.out)
    assert served.asked() == [f"bytes={3 * BLOCK}-"]
    assert served.out.read_bytes() == DATA and only(served.out)


def interrupted(served, at):
    """Leave a part of `at` bytes, as Ctrl-C does."""
    served.faults["f.tar"] = Fault(times=1, cut=at)
    seen = []

    def press(count):
        seen.append(count)
        if sum(seen) >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(served.url, served.out, advance=press)
    served.faults.clear()
    assert part_of(served.out).stat().st_size == at and not served.out.exists()


UNFIT = {
    "ignores Range": Fault(times=1, ignore_range=True),
    "416": Fault(times=1, status=416),
    "other place": Fault(times=1, headers={"Content-Range": f"bytes {BLOCK}-{len(DATA) - 1}/{len(DATA)}"}),
    "other length": Fault(times=1, headers={"Content-Range": f"bytes {2 * BLOCK}-{len(DATA)}/{len(DATA) + 1}"}),
    "no place": Fault(times=1, headers={"Content-Range": ""}),
    "other version": Fault(times=1, headers={"ETag": '"other"'}),
    "other date": Fault(times=1, headers={"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_part_that_cannot_go_on_starts_anew(served, name):
    """Fails when bytes of another place or version are appended; no sum is known that would notice."""
    interrupted(served, 2 * BLOCK)
    served.faults["f.tar"] = UNFIT[name]
    served.log.clear()
    fetch(served.url, served.out)
    assert served.out.read_bytes() == DATA and only(served.out)
    assert served.asked() == [f"bytes={2 * BLOCK}-", ""][: 1 if name == "ignores Range" else 2]


def test_what_is_asked_for(served):
    """Fails when a short answer ends the file, all bytes at hand are fetched again, or those of another address kept."""
    interrupted(served, 2 * BLOCK)
    served.faults["f.tar"] = Fault(times=1, cut=BLOCK, headers={"Content-Length": str(BLOCK)})
    served.log.clear()
    fetch(served.url, served.out)
    assert served.out.read_bytes() == DATA and served.asked() == [f"bytes={k * BLOCK}-" for k in (2, 3)]
    served.out.unlink()
    interrupted(served, 2 * BLOCK)
    part_of(served.out).write_bytes(DATA)
    served.log.clear()
    fetch(served.url, served.out)
    assert served.out.read_bytes() == DATA and not served.log
    served.out.unlink()
    interrupted(served, 2 * BLOCK)
    os.link(served.folder / "f.tar", served.folder / "other.tar")
    served.log.clear()
    fetch(f"{served.root}/other.tar", served.out)
    assert served.asked() == [""]


def test_a_changed_file_is_never_mixed(served):
    """Fails when the end of a new version is appended to the beginning of the old one."""
    interrupted(served, 2 * BLOCK)
    new = DATA[::-1]
    (served.folder / "f.tar").write_bytes(new)
    os.utime(served.folder / "f.tar", (1, 1))
    fetch(served.url, served.out)
    assert served.out.read_bytes() == new


@pytest.mark.parametrize("spoil", ["memo", "no memo", "part"])
def test_a_spoilt_part(served, spoil):
    """Fails when a part of unknown origin, or one that the disk has spoilt, ends in the file."""
    interrupted(served, 2 * BLOCK)
    part, memo = part_of(served.out), served.out.with_name("f.tar.part.json")
    if spoil == "part":
        part.write_bytes(bytes(2 * BLOCK))
    elif spoil == "memo":
        memo.write_text('["not", "ours"')
    else:
        memo.unlink()
    fetch(served.url, served.out, md5=MD5 if spoil == "part" else "")
    assert served.out.read_bytes() == DATA and only(served.out)


REFUSED = {
    "404": (Fault(times=99, status=404), "404"),
    "web page": (Fault(times=99, body=b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}), "web page"),
    "page as bytes": (Fault(times=99, body=b"\n<?xml version='1.0'?><Error>"), "starts with"),
    "empty": (Fault(times=99, body=b""), "empty"),
    "compressed": (Fault(times=99, headers={"Content-Encoding": "gzip"}), "compressed"),
    "no length": (Fault(times=99, headers={"Content-Length": ""}, cut=100), "neither length nor sum"),
    "always busy": (Fault(times=99, status=500), "500 .*6 attempts"),
    "always too long": (Fault(times=99, headers={"Content-Length": str(len(DATA) + 5)}), "6 attempts"),
    "no such place": (Fault(times=99, status=302, headers={"Location": "ftp://127.0.0.1/f"}), "check the address"),
    "round and round": (Fault(times=99, status=302, headers={"Location": "f.tar"}), "redirects"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_one_line(served, name):
    """Fails when something else than the file is kept, the old file is lost, or the message is a page long."""
    served.faults["f.tar"], message = REFUSED[name]
    served.out.parent.mkdir()
    served.out.write_bytes(b"old")
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(served.url, served.out, receipt=None, md5="" if name == "no length" else MD5 if "page" in name else "")
    assert "\n" not in str(caught.value) and served.out.read_bytes() == b"old"
    assert not part_of(served.out).exists() or name == "always too long"


def test_wrong_sum(served):
    """Fails when a changed file takes the place of the right one, or the user is not told both sums and what to do."""
    old = "0" * 32
    with pytest.raises(DownloadError, match=rf"md5 {MD5}, expected {old}.*f\.tar\.bad.*run it again") as caught:
        fetch(served.url, served.out, md5=old, advice="run it again")
    assert "\n" not in str(caught.value) and not served.out.exists()
    assert [p.name for p in served.out.parent.iterdir()] == ["f.tar.bad"] and len(served.asked()) == 1
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA


def test_a_file_already_there(served, tmp_path, capsys):
    """Fails when a whole file is fetched again, or a truncated one is taken for it."""
    receipt = tmp_path / "receipts" / "f.json"
    for sums in ({"md5": MD5}, {"sha256": SHA[:8]}, {}):
        fetch(served.url, served.out, receipt=receipt, **sums)
        served.log.clear()
        fetch(served.url, served.out, receipt=receipt, **sums)
        assert not served.log, "the receipt stands for the check"
        receipt.unlink()
        fetch(served.url, served.out, receipt=receipt, **sums)
        assert not served.asked() and receipt.exists()
        served.out.write_bytes(DATA[:-1])
        fetch(served.url, served.out, receipt=receipt, **sums)
        assert served.out.read_bytes() == DATA
        assert (
            served.out.with_name("f.tar.bad").read_bytes() == DATA[:-1]
            and "kept as f.tar.bad" in capsys.readouterr().err
        )
        served.out.unlink()


def test_a_receipt_that_cannot_be_written(served, tmp_path):
    """Fails when a file that came whole is called a failure because it could not be noted beside others' data."""
    (tmp_path / "no folder").write_text("")
    for _ in range(2):
        fetch(served.url, served.out, receipt=tmp_path / "no folder/f.json", md5=MD5)
        assert served.out.read_bytes() == DATA and len(served.asked()) == 1


def test_a_truncated_file_without_a_connection(served):
    """Fails when a file that cannot be checked is handed out."""
    served.out.parent.mkdir()
    served.out.write_bytes(DATA[:-1])
    for sums in ({"md5": MD5}, {}):
        with pytest.raises(Halt, match="refused"):
            fetch("http://127.0.0.1:9/f.tar", served.out, **sums)
    assert served.out.read_bytes() == DATA[:-1]


def test_https_stays_https(served, monkeypatch):
    """Fails when a broken https is tried as http, or a redirect leads out of it."""
    with pytest.raises(Halt):
        fetch(served.url.replace("http:", "https:"), served.out)
    assert not served.log

    def redirect(self, request, **kwargs):
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 302, request.url, request
        answer.headers["Location"], answer.raw = served.url, None
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirect)
    with pytest.raises(DownloadError, match="not https: refused"):
        fetch("https://127.0.0.1/f.tar", served.out)
    assert not served.log and not served.out.exists()


def test_a_redirect_is_followed_with_its_range(served):
    """Fails when a mirror that redirects loses the place to go on from."""
    interrupted(served, BLOCK)
    (served.folder / "g.tar").write_bytes(DATA)
    served.faults["f.tar"] = Fault(times=1, status=302, headers={"Location": f"{served.root}/g.tar"})
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA and f"bytes={BLOCK}-" in served.asked()


def test_retry_after_is_heeded_within_bounds(served, monkeypatch):
    """Fails when a server's wish is ignored, or may hold the user for a day."""
    pauses = []
    monkeypatch.setattr(Web, "wait", lambda self, seconds: pauses.append(seconds))
    for asked in ("7", "86400"):
        served.faults["f.tar"] = Fault(times=1, status=503, headers={"Retry-After": asked})
        fetch(served.url, served.out, md5=MD5)
        served.out.unlink()
    assert sorted(p for p in pauses if p) == [7.0, web.LONGEST_WAIT]


def test_space_is_checked_first(served, monkeypatch):
    """Fails when a disk is filled before anyone says that the file cannot fit."""
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(Halt, match=r"need 82.0 kB, have 1.0 kB free at .*out"):
        fetch(served.url, served.out)
    assert not list(served.out.parent.iterdir())


def test_a_full_disk_keeps_the_part_and_the_old_file(served):
    """Fails when a disk that fills up costs what was there, or what has been fetched."""
    served.out.parent.mkdir()
    served.out.write_bytes(b"old")
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * BLOCK + 7, limits[1]))
    try:
        with pytest.raises(Halt, match=r"need .* have .* free at .*: make room") as caught:
            fetch(served.url, served.out, md5=MD5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(caught.value) and served.out.read_bytes() == b"old"
    kept = part_of(served.out).stat().st_size
    assert 0 < kept <= 2 * BLOCK + 7
    served.log.clear()
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA and served.asked() == [f"bytes={kept}-"]


def child(work, *args):
    """Another process."""
    process = multiprocessing.get_context("fork").Process(target=work, args=args, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking beside the server's threads
        process.start()
    return process


def test_killed_at_random_moments(served):
    """Fails when what a killed process leaves behind spoils the file, or a stale lock stops the next one."""
    big = random.Random(1).randbytes(64 * BLOCK)
    (served.folder / "f.tar").write_bytes(big)
    served.faults["f.tar"] = Fault(times=99, delay=0.03)
    rng, reached, part = random.Random(2), 0, part_of(served.out)
    for kill in range(6):
        process = child(fetch, served.url, served.out)
        reached += rng.randrange(8 * BLOCK) + 1
        while process.is_alive() and not (part.exists() and part.stat().st_size >= reached):
            time.sleep(0.002)
        process.kill()
        process.join()
        assert not served.out.exists() and part.stat().st_size >= reached, f"kill {kill}"
        reached = part.stat().st_size
    assert len(served.asked()) == 6 and all(served.asked()[1:]), "later processes go on"
    served.faults.clear()
    process = child(fetch, served.url, served.out)
    process.join()
    assert process.exitcode == 0 and served.out.read_bytes() == big and only(served.out)


def test_two_processes_fetch_one_file(served):
    """Fails when two processes write into the same part, or the second one fails or fetches it again."""
    served.faults["f.tar"] = Fault(times=99, delay=0.05)
    pair = [child(fetch, served.url, served.out), child(fetch, served.url, served.out)]
    for process in pair:
        process.join()
        assert process.exitcode == 0
    assert served.out.read_bytes() == DATA and only(served.out) and served.asked() == [""]


def test_threads_fetch_one_file(served):
    """Fails when the lock keeps processes apart and threads not."""
    served.faults["f.tar"] = Fault(times=99, delay=0.02)
    threads = [threading.Thread(target=fetch, args=(served.url, served.out)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.out.read_bytes() == DATA and served.asked() == [""]


def test_what_a_kill_after_the_last_byte_leaves(served):
    """Fails when a lock, a part or a memo stays beside a whole file for ever."""
    fetch(served.url, served.out, md5=MD5)
    for name in (".f.tar.lock", "f.tar.part", "f.tar.part.json"):
        served.out.with_name(name).write_bytes(b"{}")
    served.log.clear()
    fetch(served.url, served.out, md5=MD5)
    assert only(served.out) and not served.log


def test_sizes(served):
    """Fails when an address that allows GET alone has no size, or one that says none is an error."""
    with Web() as client:
        for fault in (Fault(times=0), Fault(method="HEAD", status=403), Fault(method="HEAD", status=503)):
            served.faults["f.tar"] = fault
            assert client.size(served.url) == len(DATA)
        served.faults["f.tar"] = Fault(method="HEAD", headers={"Content-Length": ""})
        assert client.size(served.url) is None
        with pytest.raises(DownloadError, match="too long"):
            client.text(served.url, limit=1000)


def test_stop_is_prompt(served):
    """Fails when Ctrl-C waits for a server that is silent."""
    served.faults["f.tar"] = Fault(times=99, delay=30)
    with Web() as client:
        threading.Timer(0.3, client.stop).start()
        begin = time.monotonic()
        with pytest.raises(Stopped):
            fetch(served.url, served.out, web=client)
        assert time.monotonic() - begin < 10


@pytest.fixture
def mirror(tmp_path, world):
    """A miniature of the public server's layout, served."""
    from landmark.mirror import make_mirror

    folder = make_mirror(world, tmp_path / "mirror", tars=3)
    (folder / "metadata" / "train_label_to_hierarchical.csv").unlink()  # an optional file that a server lacks
    one = SimpleNamespace(folder=folder, faults={}, log=[])
    with serve(folder, one.faults, one.log) as one.url:
        yield one


def fetch_all(mirror, data, shards="0-2", **options):
    download(sources.gldv2(data, shards=shards, mirror=mirror.url), yes=True, progress=False, **options)


def tree(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".landmark" not in p.parts
    }


def test_gldv2_from_a_mirror(mirror, tmp_path, capsys):
    """Fails when a file goes elsewhere than where the project reads it, or a second run fetches anything."""
    data = tmp_path / "data"
    mirror.faults["train/images_001.tar"] = Fault(times=2, cut=BLOCK)
    mirror.faults["metadata/train.csv"] = Fault(times=1, status=503)
    fetch_all(mirror, data)
    names = {"train.csv", "test.csv", "recognition_solution_v2.1.csv", "train_label_to_category.csv", "train_clean.csv"}
    names |= {f"train/images_00{k}.tar" for k in range(3)} | {"test/images_000.tar"}
    found = tree(data)
    assert {p.as_posix() for p in found} == names
    for path, content in found.items():
        folder = "" if path.suffix == ".tar" else "ground_truth" if "solution" in path.name else "metadata"
        assert content == (mirror.folder / folder / path).read_bytes()
    assert "train_label_to_hierarchical.csv: not on the server: left out" in capsys.readouterr().err
    mirror.log.clear()
    fetch_all(mirror, data)
    assert not [line for line in mirror.log if line[0] == "GET"]
    assert "all here already" in capsys.readouterr().out
    from landmark.archives import open_images
    from landmark.data import GoogleLandmarks

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
    download(items, yes=True, progress=False)
    assert (data / "train/images_001.tar").exists()


@pytest.mark.parametrize("text", ["", "nonsense", "0" * 32 + "  images_009.tar", None])
def test_a_tar_without_a_sum_is_not_taken(mirror, tmp_path, text):
    """Fails when an unchecked TAR passes for a checked one."""
    for split in ("train", "test"):
        sidecar = mirror.folder / f"md5sum/{split}/md5.images_000.txt"
        sidecar.unlink() if text is None else sidecar.write_text(text)
        items = [i for i in sources.gldv2(tmp_path / "d", splits=[split], shards="0", mirror=mirror.url) if i.md5_url]
        with pytest.raises(DownloadError, match="--md5-file"):
            download(items, yes=True, progress=False)
    assert not list(tmp_path.glob("d/*/*.tar"))


def test_missing_train_tar_and_table(mirror, tmp_path):
    """Fails when an incomplete train set passes for a complete one, or anything starts before that is known."""
    with pytest.raises(DownloadError, match=r"images_003\.tar.*404.*and 1 more"):
        fetch_all(mirror, tmp_path / "d", shards="2-4")
    (mirror.folder / "metadata/test.csv").unlink()
    with pytest.raises(DownloadError, match=r"test\.csv.*404"):
        fetch_all(mirror, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_sizes_question_and_refusal(mirror, tmp_path, capsys, monkeypatch):
    """Fails when something large starts without a word, or a dry run leaves a trace."""
    items = sources.gldv2(tmp_path / "d", shards="0", mirror=mirror.url)
    download(items, dry_run=True, progress=False)
    out = capsys.readouterr().out
    assert "train/images_000.tar -> " in out and f"to fetch  {mirror.url}/metadata/train.csv" in out
    assert "in 7 files to fetch, " in out.splitlines()[-1]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(InputError, match=r"kB in 7 files to fetch.*free.*--yes"):
        download(items, progress=False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "")
    with pytest.raises(InputError, match="nothing was fetched"):
        download(items, progress=False)
    assert "Go on? [y/N]" in asked[0] and not (tmp_path / "d").exists()
    monkeypatch.setattr("builtins.input", lambda text: "y")
    download(items, progress=False)
    assert (tmp_path / "d/train/images_000.tar").exists()
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(Halt, match="have 1.0 kB free"):
        fetch_all(mirror, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_ctrl_c_stops_all(mirror, tmp_path):
    """Fails when Ctrl-C waits for servers that are silent, or costs what has come."""
    for number in range(3):
        mirror.faults[f"train/images_00{number}.tar"] = Fault(
            times=9, delay=30 if number else 0, cut=BLOCK if number else -1
        )
    process = child(fetch_all, mirror, tmp_path / "d")
    while sum(line[:2] in {("GET", f"train/images_00{n}.tar") for n in range(3)} for line in mirror.log) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(15)
    assert process.exitcode == 1
    mirror.faults.clear()
    fetch_all(mirror, tmp_path / "d")
    assert not list((tmp_path / "d").rglob("*.part*")) and not list((tmp_path / "d").rglob(".*.lock"))


def test_a_lost_connection_stops_all(mirror, tmp_path):
    """Fails when each of 500 files waits for a server that is gone."""
    items = sources.gldv2(tmp_path / "d", shards="0-2", mirror="http://127.0.0.1:9")
    with pytest.raises(Halt, match="refused"):
        download(items, yes=True, progress=False)


def test_clean_and_index(mirror, tmp_path):
    """Fails when the clean list is not required where it is the point, or images come with it."""
    items = sources.gldv2_clean(tmp_path / "d", mirror=mirror.url)
    download(items, yes=True, progress=False)
    assert (tmp_path / "d/train_clean.csv").exists() and not (tmp_path / "d/train").exists()
    (mirror.folder / "metadata/train_clean.csv").unlink()
    with pytest.raises(DownloadError, match=r"train_clean\.csv.*404"):
        download(sources.gldv2_clean(tmp_path / "e", mirror=mirror.url), yes=True, progress=False)
    assert [i.name for i in sources.gldv2("d", splits=["index"], shards="99")][-2:] == [
        "index.csv",
        "index/images_099.tar",
    ]


@pytest.mark.parametrize("shards", ["9-0", "a", "-1", "500", "1,,2", "1-2-3", "0x1", "99999"])
def test_bad_shards(shards):
    """Fails when a typing error fetches other TARs than those meant."""
    with pytest.raises(InputError, match="shards"):
        sources.gldv2("d", shards=shards)


def test_shards_splits_and_mirrors():
    """Fails when TARs are numbered otherwise than published, or an odd address is tried."""
    names = [i.name for i in sources.gldv2("d", shards="0,18-21,499") if i.md5_url]
    assert names == [f"train/images_{n:03}.tar" for n in (0, 18, 19, 20, 21, 499)] + [
        f"test/images_{n:03}.tar" for n in (0, 18, 19)
    ]
    assert len(sources.gldv2("d", splits=["train", "index", "test"])) == 500 + 100 + 20 + 7
    assert all(i.url.startswith("https://") for i in sources.gldv2("d") + sources.landmarks50("d"))
    for mirror in ("ftp://host", "host/folder", "file:///tmp"):
        with pytest.raises(InputError, match="not an address"):
            sources.gldv2("d", mirror=mirror)
    with pytest.raises(InputError, match="no split val"):
        sources.gldv2("d", splits=["val"])


def test_weights(served, monkeypatch):
    """Fails when weights are taken without their sum, or from another place than the mirror."""
    facts = [{"url": "https://nowhere.invalid/x/f.tar", "sha256": SHA[:8]}]
    folder = served.out.parent
    download(sources.weights(facts, folder, mirror=served.root), yes=True, progress=False)
    assert served.out.read_bytes() == DATA
    with pytest.raises(DownloadError, match=r"sha256 .* expected 00000000"):
        download(
            sources.weights([facts[0] | {"sha256": "0" * 8}], folder, mirror=served.root), yes=True, progress=False
        )
    assert served.out.read_bytes() == DATA


def test_landmarks50(mirror, tmp_path, world, capsys):
    """Fails when the subset does not become a folder that the project reads, with the right labels."""
    data = tmp_path / "d"
    download(sources.landmarks50(data, mirror=mirror.url), yes=True, progress=False)
    assert "5 landmarks, 22 train and 2 test images; landmark_images.zip" in capsys.readouterr().out
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
    download(sources.landmarks50(data, mirror=mirror.url), yes=True, progress=False)
    assert tree(data) == before


def make_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


GOOD = {"landmark_images/train/00.A/aaaa.jpg": b"one", "landmark_images/test/00.A/bbbb.jpg": b"two"}


def test_a_hostile_zip_writes_nothing_outside(tmp_path):
    """Fails when a member's name, kind or claim is obeyed."""
    link = zipfile.ZipInfo("landmark_images/train/00.A/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    odd = ["../out.jpg", "/tmp/out.jpg", "landmark_images/train/00.A/../../../../out.jpg", "landmark_images/train/x.jpg",
           "landmark_images/train/00.A/._aaaa.jpg", "landmark_images/train/00.A/a.pkl", "__MACOSX/a.jpg",
           "landmark_images/train/..\\00.A/cccc.jpg", "landmark_images/train/00.A/C:x.jpg"]  # fmt: skip
    path = make_zip(tmp_path / "a.zip", GOOD | {name: b"x" for name in odd})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("landmark_images/test/00.A/AAAA.jpg", b"again")
        archive.writestr("landmark_images/train/00.A/bomb.jpg", bytes(900_000), zipfile.ZIP_DEFLATED)
    told = landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert "1 train and 1 test images" in told and "9 not named" in told and "1 links or devices" in told
    assert "1 with an id seen before" in told and "1 too large for an image" in told
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")} == {
        "d/train/a/a/a/aaaa.jpg", "d/test/b/b/b/bbbb.jpg"}  # fmt: skip
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_zip_bombs_and_damage(tmp_path):
    """Fails when an archive is believed that claims far more than it holds, or a damaged one passes."""
    bomb = {f"landmark_images/train/00.A/{k:04}.jpg": bytes(1 << 20) for k in range(20)}
    path = make_zip(tmp_path / "bomb.zip", bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="claim to hold"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    path = make_zip(tmp_path / "flipped.zip", GOOD)
    path.write_bytes(path.read_bytes().replace(b"one", b"oNe"))
    with pytest.raises(InputError, match="damaged archive"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged archive"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    for members, message in (({"x.jpg": b"x"}, "another archive"),
                             (GOOD | {"landmark_images/test/00.B/cccc.jpg": b""}, "called A and B")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            landmarks50.unpack(make_zip(tmp_path / "odd.zip", members), tmp_path / "d", progress=False)
    assert not list((tmp_path / "d").rglob("*.csv"))


def test_unpack_killed_at_random_moments(tmp_path):
    """Fails when a killed conversion leaves half an image, or debris, or another result."""
    members = {
        f"landmark_images/train/0{k % 3}.N{k % 3}/{k:04}.jpg": random.Random(k).randbytes(9999) for k in range(300)
    }
    path = make_zip(tmp_path / "a.zip", members)
    landmarks50.unpack(path, tmp_path / "whole", progress=False)
    for count in (1, 60, 200):
        process = child(landmarks50.unpack, path, tmp_path / "d", False)
        while process.is_alive() and len(list(tmp_path.glob("d/train/*/*/*/*.jpg"))) < count:
            time.sleep(0.001)
        process.kill()
        process.join()
    (tmp_path / "d/train/0/0/0/.0000.jpg.x.part").write_bytes(b"half")
    landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert tree(tmp_path / "d") == tree(tmp_path / "whole") and not (tmp_path / ".a.zip.lock").exists()


def test_unpack_goes_on_and_spares_other_data(tmp_path, monkeypatch):
    """Fails when a stopped conversion starts anew or differs, or the tables of another data set are overwritten."""
    members = {f"landmark_images/train/0{k % 3}.N{k % 3}/{k:04}.jpg": bytes([k]) * 50 for k in range(12)}
    path = make_zip(tmp_path / "a.zip", members)
    landmarks50.unpack(path, tmp_path / "whole", progress=False)
    write, left = landmarks50.atomic_path, iter(range(5))
    monkeypatch.setattr(
        landmarks50, "atomic_path", lambda target: write(target) if next(left, None) is not None else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    written = []
    monkeypatch.setattr(landmarks50, "atomic_path", lambda target: written.append(target) or write(target))
    landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert tree(tmp_path / "d") == tree(tmp_path / "whole") and len(written) == 12 - 5 + 4
    (tmp_path / "d/train.csv").write_text("id,url,landmark_id\nzzzz,,7\n")
    with pytest.raises(InputError, match="another data set"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert "zzzz" in (tmp_path / "d/train.csv").read_text()


def test_nothing_unsafe_in_the_sources():
    """Fails when somebody unpacks an archive at one stroke or names a server in the clear."""
    for name in ("web", "transfer", "download", "sources", "landmarks50"):
        text = (Path(web.__file__).parent / f"{name}.py").read_text()
        assert "extractall" not in text and "verify=False" not in text
        assert not [
            line for line in text.splitlines() if "http://" in line and '"http://"' not in line and ">>>" not in line
        ]
