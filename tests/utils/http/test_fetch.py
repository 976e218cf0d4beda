"""One file from a server on this machine that misbehaves: the right bytes in the end, or one clear line."""

import os
import random
import resource
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from landmark.utils.errors import DownloadError, HaltError
from landmark.utils.http import web
from landmark.utils.http.fetch import fetch, part_path
from tests.server import BLOCK, Fault
from tests.serving import DATA, MD5, SHA, child, interrupted, only


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(web, "WAIT", 0.0)


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
    part_path(served.out).write_bytes(DATA)
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
    part, memo = part_path(served.out), served.out.with_name("f.tar.part.json")
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
    assert not part_path(served.out).exists() or name == "always too long"


def test_wrong_sum(served):
    """Fails when a changed file takes the place of the right one, or the user is not told both sums and what to do."""
    old = "0" * 32
    with pytest.raises(DownloadError, match=rf"md5 {MD5}, expected {old}.*f\.tar\.bad.*run it again") as caught:
        fetch(served.url, served.out, md5=old, advice="run it again")
    assert "\n" not in str(caught.value) and not served.out.exists()
    assert [p.name for p in served.out.parent.iterdir()] == ["f.tar.bad"] and len(served.asked()) == 1
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA


def test_a_file_already_there(served, tmp_path, log_lines):
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
        assert served.out.with_name("f.tar.bad").read_bytes() == DATA[:-1] and "kept as f.tar.bad" in log_lines[-1]
        served.out.unlink()


def test_a_truncated_file_without_a_connection(served):
    """Fails when a file that cannot be checked is handed out."""
    served.out.parent.mkdir()
    served.out.write_bytes(DATA[:-1])
    for sums in ({"md5": MD5}, {}):
        with pytest.raises(HaltError, match="refused"):
            fetch("http://127.0.0.1:9/f.tar", served.out, **sums)
    assert served.out.read_bytes() == DATA[:-1]


def test_a_redirect_is_followed_with_its_range(served):
    """Fails when a mirror that redirects loses the place to go on from."""
    interrupted(served, BLOCK)
    (served.folder / "g.tar").write_bytes(DATA)
    served.faults["f.tar"] = Fault(times=1, status=302, headers={"Location": f"{served.root}/g.tar"})
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA and f"bytes={BLOCK}-" in served.asked()


def test_space_is_checked_first(served, monkeypatch):
    """Fails when a disk is filled before anyone says that the file cannot fit."""
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(HaltError, match=r"need 82.0 kB, have 1.0 kB free"):
        fetch(served.url, served.out)
    assert not list(served.out.parent.iterdir())


def test_a_full_disk_keeps_the_part_and_the_old_file(served):
    """Fails when a disk that fills up costs what was there, or what has been fetched."""
    served.out.parent.mkdir()
    served.out.write_bytes(b"old")
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * BLOCK + 7, limits[1]))
    try:
        with pytest.raises(HaltError, match=r"need .* have .* free: make room") as caught:
            fetch(served.url, served.out, md5=MD5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(caught.value) and served.out.read_bytes() == b"old"
    kept = part_path(served.out).stat().st_size
    assert 0 < kept <= 2 * BLOCK + 7
    served.log.clear()
    fetch(served.url, served.out, md5=MD5)
    assert served.out.read_bytes() == DATA and served.asked() == [f"bytes={kept}-"]


def test_killed_at_random_moments(served):
    """Fails when what a killed process leaves behind spoils the file, or a stale lock stops the next one."""
    big = random.Random(1).randbytes(64 * BLOCK)
    (served.folder / "f.tar").write_bytes(big)
    served.faults["f.tar"] = Fault(times=99, delay=0.03)
    rng, reached, part = random.Random(2), 0, part_path(served.out)
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


@pytest.mark.parametrize("damage", ["page", "zeros"])
def test_a_file_without_a_sum_needs_more_than_its_length(served, damage):
    """Fails when what another program has left there, as long as the right file, is taken for it."""
    start, end = {"page": (b"<!DOCTYPE", b""), "zeros": (b"", bytes(600))}[damage]
    other = start + DATA[len(start) : len(DATA) - len(end)] + end
    path = served.out.with_name("f.csv")
    (served.folder / "f.csv").write_bytes(DATA)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(other)
    fetch(f"{served.root}/f.csv", path)
    assert path.read_bytes() == DATA and path.with_name("f.csv.bad").read_bytes() == other
    served.log.clear()
    fetch(f"{served.root}/f.csv", path)
    assert not [line for line in served.log if line[0] == "GET"]
