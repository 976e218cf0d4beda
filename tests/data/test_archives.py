"""Images from folders and TARs: the same ids and bytes either way, and nothing a TAR says is followed outside of it."""

import copy
import io
import multiprocessing
import os
import pickle
import shutil
import struct
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark.data import archives, tar_index
from landmark.data.archives import ImageStore
from landmark.data.images import image_path
from landmark.utils.errors import ArchiveError, ImageError
from landmark.utils.files import cache_path
from tests.tars import header, member, pictures, raw_tar, write_tar

ID = "0123456789abcdef"


IDS = st.text("0123456789ABCDEFabcdefXYZxyz_-", min_size=3, max_size=64)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.dictionaries(IDS, st.binary(max_size=1500), max_size=8),
    format=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    dot=st.booleans(),
    absent=IDS,
)
def test_same_as_tarfile(tmp_path_factory, held, format, dot, absent):
    """Fails when an offset, a size or an id differs from what the standard library reads from the same TAR."""
    root = tmp_path_factory.mktemp("t")
    path = write_tar(
        root / "train/images_000.tar", {("./" if dot else "") + member(n): d for n, d in held.items()}, format
    )
    store = ImageStore(root, "train", progress=False)
    with tarfile.open(path) as tar:
        oracle = {info.name.split("/")[-1][:-4]: tar.extractfile(info).read() for info in tar}
    assert store.ids() == sorted(oracle) and {n: store.read(n) for n in store.ids()} == oracle
    again = ImageStore(root, "train", progress=False)
    assert {n: again.read(n) for n in again.ids()} == oracle, "from the stored index"
    assert (absent in store) == (absent in held)
    if absent not in held:
        with pytest.raises(ImageError, match="no such file"):
            store.read(absent)


def test_folders_tars_or_both(data, tmp_path):
    """Fails when the ids or bytes depend on how the images lie, or a loose file does not win over its TAR member."""
    root, held = data
    names = sorted(held)
    loose = tmp_path / "loose"
    for name in names:
        path = image_path(loose, "train", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held[name])
    both = tmp_path / "both"
    shutil.copytree(root, both)
    for name in names[::4]:
        path = image_path(both, "train", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    (both / "train/._x.jpg").write_bytes(b"junk")
    (both / "train/Thumbs.db").write_bytes(b"junk")
    (both / "train/images_003.tar.part").write_bytes(b"half a download")
    for place in (root, loose, both):
        store = ImageStore(place, "train", progress=False)
        assert store.ids() == names
        assert all(name in store for name in names) and "f" * 16 not in store and "../../etc" not in store
        for name in names:
            assert store.read(name) == (b"mine" if place == both and name in names[::4] else held[name])
        assert sorted(n.decode() for n in store.reading_order()) == names
    assert store.junk == 3
    expected = [0 if n in names[::4] else 1 + i % 3 for i, n in enumerate(names)]
    assert store.shards([*names, "f" * 16, "f" * 64]).tolist() == [*expected, -1, -1]
    assert ImageStore(loose, "train").shards([*names, "fff"]).tolist() == [0] * 30 + [-1]
    assert ImageStore(root, "train").shards([]).tolist() == []
    assert ImageStore(root, "test").ids() == [] and ImageStore(root, "test").shards(names[:2]).tolist() == [-1, -1]


def test_reading_order_follows_the_disk(data):
    """Fails when a pass over the images in this order would seek to and fro."""
    root, _ = data
    order = [name.decode() for name in ImageStore(root, "train").reading_order()]
    oracle = []
    for path in sorted(root.glob("train/*.tar")):
        with tarfile.open(path) as tar:
            oracle += [info.name.split("/")[-1][:-4] for info in tar]
    assert order == oracle


def test_no_file_system_call_for_each_id(data, monkeypatch):
    """Fails when a split without folders asks the disk for each of four million loose files."""
    root, held = data
    store = ImageStore(root, "train")
    monkeypatch.setattr(archives.Path, "open", lambda *a: pytest.fail("looked for a loose file"))
    monkeypatch.setattr(archives.Path, "is_file", lambda *a: pytest.fail("looked for a loose file"))
    assert all(store.read(name) == held[name] and name in store for name in held)


@pytest.mark.parametrize("where", ["one", "two"])
def test_id_in_two_places(tmp_path, where):
    """Fails when one of two images of the same id is picked in silence."""
    contents = {member(ID): b"a", member("f" * 16): b"b"}
    write_tar(tmp_path / "train/a.tar", contents)
    if where == "two":
        write_tar(tmp_path / "train/b.tar", {member(ID): b"c"})
    else:
        (tmp_path / "train/a.tar").write_bytes(
            raw_tar(header(member(ID), 1), b"a", header(member("f" * 16), 1), b"b", header(member(ID), 1), b"a")
        )
    places = r"in \S*a\.tar and in \S*b\.tar" if where == "two" else r"twice in \S*a\.tar"
    with pytest.raises(ArchiveError, match=f"{ID} is {places}") as error:
        ImageStore(tmp_path, "train")
    assert "\n" not in str(error.value)


def chain():
    """A long chain of links whose resolved path would outgrow the limit, then a file through it (CVE-2025-4517)."""
    steps, path = [], ""
    for letter in "abcdefghijklmnop":
        steps += [header(f"{path}{letter * 200}", kind=tarfile.DIRTYPE)]
        steps += [header(f"{path}{letter}", kind=tarfile.SYMTYPE, link=letter * 200)]
        path += f"{letter}/"
    steps += [header(f"{path}{'l' * 254}", kind=tarfile.SYMTYPE, link="../" * 16)]
    steps += [header("escape", kind=tarfile.SYMTYPE, link=f"{path}{'l' * 254}/../../outside")]
    return [*steps, header("escape/0/1/2/" + "evil.jpg", 4), b"evil"]


EVIL = {
    "parent": ([header(f"../{member(ID)}", 4), b"evil"], "unsafe path"),
    "hidden parent": ([header(f"0/1/../../../{ID}.jpg", 4), b"evil"], "unsafe path"),
    "absolute": ([header(f"/tmp/{member(ID)}", 4), b"evil"], "unsafe path"),
    "symlink": ([header(member(ID), kind=tarfile.SYMTYPE, link="/etc/passwd")], "link"),
    "through a symlink": (
        [header("0", kind=tarfile.SYMTYPE, link="../outside"), header("0/0/0/000.jpg.pth", 4), b"evil"],
        "link",
    ),
    "hardlink": ([header(member(ID), kind=tarfile.LNKTYPE, link="../../secret.jpg")], "link"),
    "character device": ([header(member(ID), kind=tarfile.CHRTYPE)], "device"),
    "block device": ([header(member(ID), kind=tarfile.BLKTYPE)], "device"),
    "pipe": ([header(member(ID), kind=tarfile.FIFOTYPE)], "device"),
    "sparse": ([header(member(ID), kind=tarfile.GNUTYPE_SPARSE)], "sparse file"),
    "chain": (chain(), "link"),
    "pickle": ([header("0/1/2/model.pkl", 4), b"evil"], "not an image"),
    "module": ([header("0/1/2/x.pyd", 4), b"evil"], "not an image"),
    "weights": ([header("x.pth", 4), b"evil"], "not an image"),
    "array": ([header(f"0/1/2/{ID}.npy", 4), b"evil"], "not an image"),
    "macOS": ([header(f"0/1/2/._{ID}.jpg", 4), b"evil"], "not an image"),
    "store": ([header("0/1/2/.DS_Store", 4), b"evil"], "not an image"),
    "misplaced": ([header(f"9/9/9/{ID}.jpg", 4), b"evil"], "misplaced image"),
    "flat": ([header(f"{ID}.jpg", 4), b"evil"], "misplaced image"),
}


@pytest.mark.parametrize("case", EVIL)
def test_evil_members_are_passed_over(tmp_path, case):
    """Fails when such a member is followed, unpacked or taken for an image, is not counted, or hides the good one."""
    blocks, reason = EVIL[case]
    root, secret = tmp_path / "d", tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (root / "train").mkdir(parents=True)
    (root / "train/images_000.tar").write_bytes(raw_tar(*blocks, header(member("f" * 16), 4), b"good"))
    store = ImageStore(root, "train")
    assert store.ids() == ["f" * 16] and store.read("f" * 16) == b"good"
    assert store.skipped[reason] >= 1 and store.junk == store.skipped.total()
    with pytest.raises(ImageError, match="no such file"):
        store.read(ID)
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if not p.is_dir()}
    assert made == {"secret.jpg", "d/train/images_000.tar", "d/.landmark/train/images_000.tar.npz"}
    assert secret.read_bytes() == b"secret"


def test_bad_ids_never_reach_the_disk(data):
    """Fails when an id is used as a path."""
    root, _ = data
    (root / "train/0").mkdir()
    (root.parent / "x.jpg").write_bytes(b"outside")
    store = ImageStore(root, "train")
    for image_id in ("../../../x", "/x", "..", "", "x" * 65, "a.b", "é" * 16, ID + "\n"):
        assert image_id not in store
        with pytest.raises(ImageError, match="not an image id"):
            store.read(image_id)


def test_damaged_tars(tmp_path):
    """Fails when a TAR that lost members opens as a shorter one, or the error does not name it."""
    held = pictures(6)
    whole = write_tar(tmp_path / "whole.tar", {member(n): d for n, d in held.items()}).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        boundary = [info.offset for info in tar][4]
    late = bytearray(whole)
    late[boundary + 150] ^= 0x55  # in the checksum of the fifth header
    huge, negative = bytearray(header(member(ID), 0)), bytearray(header(member(ID), 0))
    huge[124:136] = struct.pack(">I", 0x80000000) + (1 << 40).to_bytes(8, "big")
    negative[124:136] = b"\xff" * 4 + (-1024).to_bytes(8, "big", signed=True)
    for claim in (huge, negative):
        claim[148:156] = b"%06o\0 " % (256 + sum(claim[:148]) + sum(claim[156:512]))
    good = header(member("f" * 16), 4) + b"good" + b"\0" * 508
    cases = {
        "cut at a member": (whole[:boundary], "truncated"),
        "cut in a header": (whole[: boundary + 100], "truncated"),
        "cut in a member": (whole[: boundary + 600], "truncated"),
        "cut in the end mark": (whole[: boundary - 512].rstrip(b"\0") + b"\0", "truncated"),
        "damaged header": (bytes(late), f"damaged after byte {boundary}"),
        "two TARs in one": (whole + whole, "damaged"),
        "claims 1 TB": (bytes(huge) + b"\0" * 1024, "truncated or damaged|not a TAR"),
        "claims 1 TB later": (good + bytes(huge) + b"\0" * 1024, "truncated or damaged"),
        "negative size": (good + bytes(negative) + b"\0" * 1024, "truncated or damaged"),
        "zero bytes": (b"", "empty file"),
        "error page": (b"<!DOCTYPE html><html>404" * 99, "not a TAR .starts with `<!DOCTYPE`"),
        "noise": (np.random.default_rng(0).bytes(9000), "not a TAR"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / "d/train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d/train/images_000.tar").write_bytes(content)
        with pytest.raises(ArchiveError, match=rf"images_000\.tar.*({reason}).*fetch it again") as error:
            ImageStore(tmp_path / "d", "train")
            pytest.fail(name)
        assert "\n" not in str(error.value), name
    assert not list((tmp_path / "d").glob(".landmark/**/*.npz")), "no index of a damaged TAR is kept"


def numbered(count, size=3000):
    """Members of random bytes, in the order of their ids."""
    random = np.random.default_rng(4)
    return {member(f"{i:016x}"): random.bytes(size) for i in range(count)}


@pytest.mark.parametrize("place", ["between members", "in a member", "before all members"])
def test_zeros_where_members_were(tmp_path, place):
    """Fails when the TAR of a download that stopped, its space laid out beforehand, is taken for a shorter one."""
    path = write_tar(tmp_path / "train/images_000.tar", numbered(48))
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        start = tar.getmembers()[40].offset
    keep = {"between members": start, "in a member": start - 1000, "before all members": 0}[place]
    path.write_bytes(whole[:keep] + bytes(len(whole) - keep))
    with pytest.raises(ArchiveError, match=r"images_000\.tar: (incomplete|not a TAR).*: fetch it again") as error:
        ImageStore(tmp_path, "train")
    assert "\n" not in str(error.value) and not (tmp_path / ".landmark").exists()
    store = ImageStore(tmp_path, "train", salvage=True)
    assert len(store.ids()) == (40 if keep else 0) and "images_000.tar" in store.faults[0] and len(store.faults) == 1


def test_padding_is_no_damage(tmp_path):
    """Fails when a TAR that is padded to the records of another writer is refused, or more zeros than that are not."""
    path = write_tar(tmp_path / "train/images_000.tar", numbered(48))
    with tarfile.open(path) as tar:
        end = [*tar][-1].offset + 512 + 3072
    content = path.read_bytes()[:end]
    legal = {1024: 0, 512: 0, tarfile.RECORDSIZE: 0, 2 * tarfile.RECORDSIZE: 1}  # zeros: notes
    for record in (1 << 15, 1 << 18, 1 << 20):
        zeros = -(end + 1024) % record + 1024
        legal[zeros] = int(zeros > tar_index.LONG_END)
    for zeros, notes in legal.items():
        path.write_bytes(content + bytes(zeros))
        for _ in range(2):  # the second time from the stored index
            store = ImageStore(tmp_path, "train")
            assert len(store.ids()) == 48 and len(store.notes) == notes, zeros
        assert all(f"images_000.tar: {zeros} zeros" in note for note in store.notes)
    for zeros in (30_000, 100_001, (1 << 20) + 40_000):
        path.write_bytes(content + bytes(zeros))
        with pytest.raises(ArchiveError, match=f"incomplete: nothing but {zeros} zeros after byte {end}"):
            ImageStore(tmp_path, "train")


def test_salvage(tmp_path):
    """Fails when one damaged TAR hides what the others hold, or what can be read of itself, or is not named."""
    held, names = numbered(40), [f"{i:016x}" for i in range(40)]
    raws = []
    for i in range(8):
        part = dict(list(held.items())[5 * i : 5 * i + 5])
        raws.append(bytearray(write_tar(tmp_path / f"train/images_{i:03d}.tar", part).read_bytes()))
    header = 3584  # from one to the next
    raws[1][2 * header + 150] ^= 0x55
    raws[2][150] ^= 0x55
    del raws[3][2 * header + 1000 :]
    raws[4][2 * header : 2 * header + 512] = bytes(512)
    raws[5] = b"<html>" * 999
    raws[6] += raws[0]  # two TARs in one, of images that the first TAR has as well
    for i, raw in enumerate(raws):
        (tmp_path / f"train/images_{i:03d}.tar").write_bytes(raw)
    (tmp_path / "train/images_008.tar").symlink_to(tmp_path)
    store = ImageStore(tmp_path, "train", salvage=True)
    lost = {*names[7:8], *names[10:11], *names[18:20], *names[22:23], *names[25:30]}
    assert store.ids() == [name for name in names if name not in lost]
    for name in store.ids():
        expected = held[member(name)]
        assert store.read(name) == (expected[: 1000 - 512] if name == names[17] else expected), name
    told = [fault.split(": ")[0].split("/")[-1] for fault in store.faults[:-1]]
    assert told == [f"images_{i:03d}.tar" for i in range(1, 7)]
    assert store.faults[-1].startswith(f"image {names[0]} is in ") and "(5 such ids)" in store.faults[-1]
    assert all("\n" not in fault and "again" in fault for fault in store.faults)
    assert {p.name for p in (tmp_path / ".landmark/train").iterdir()} == {"images_000.tar.npz", "images_007.tar.npz"}
    assert copy.copy(store).ids() == store.ids(), "as another process opens it"
    with pytest.raises(ArchiveError, match=r"images_001\.tar"):
        ImageStore(tmp_path, "train")


def test_a_tar_that_cannot_be_opened(data, monkeypatch):
    """Fails when a TAR without the right to read it, or gone since the folder was listed, shows a traceback."""
    root, _ = data
    whole = archives.Path.open

    def refuse(path, *args, **more):
        if path.name == "images_001.tar":
            raise PermissionError(13, "Permission denied")
        return whole(path, *args, **more)

    monkeypatch.setattr(archives.Path, "open", refuse)
    with pytest.raises(ArchiveError, match=r"images_001\.tar: cannot be read .Permission denied"):
        ImageStore(root, "train")
    store = ImageStore(root, "train", salvage=True)
    assert len(store.ids()) == 20 and len(store.faults) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 5 * 1024 - 1), value=st.integers(0, 255), length=st.integers(1, 600))
def test_any_damage_is_an_error_or_harmless(tmp_path_factory, place, value, length):
    """Fails when damaged bytes raise anything but one clear error, or an image comes out longer or under another id."""
    root = tmp_path_factory.mktemp("t")
    held = {name: data[:400] for name, data in pictures(3).items()}
    path = write_tar(root / "train/images_000.tar", {member(n): d for n, d in held.items()})
    content = bytearray(path.read_bytes())
    content[place : place + length] = bytes([value]) * len(content[place : place + length])
    path.write_bytes(content)
    rest = ImageStore(root, "train", progress=False, salvage=True)
    assert all(len(rest.read(name)) <= len(content) for name in rest.ids())
    try:
        store = ImageStore(root, "train", progress=False)
    except ArchiveError as error:
        assert str(error) == rest.faults[0]
        return
    assert not rest.faults and store.ids() == rest.ids()
    assert all(store.read(name) == rest.read(name) for name in store.ids())


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tar(tmp_path, mode):
    """Fails when a compressed TAR is read as a plain one or decompressed in memory."""
    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train/images_000.tar", mode) as tar:
        tar.addfile(tarfile.TarInfo(member(ID)))
    with pytest.raises(ArchiveError, match=r"images_000\.tar: compressed"):
        ImageStore(tmp_path, "train")


def test_size_limit(data, monkeypatch):
    """Fails when a file of any size is read into memory."""
    root, held = data
    monkeypatch.setattr(archives, "MAX_BYTES", 100)
    store = ImageStore(root, "train")
    large = max(held, key=lambda name: len(held[name]))
    with pytest.raises(ImageError, match="bytes, limit 100"):
        store.read(large)
    path = image_path(root, "train", large)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 101)
    with pytest.raises(ImageError, match="101 bytes, limit 100"):
        ImageStore(root, "train").read(large)


def test_changed_tar(data):
    """Fails when offsets of the old TAR are used on the new one, in this process or in the next."""
    root, held = data
    store = ImageStore(root, "train")
    new = pictures(4, seed=9)
    write_tar(root / "train/images_000.tar", {member(n): d for n, d in new.items()})
    name = sorted(held)[0]
    with pytest.raises(ArchiveError, match=r"images_000\.tar: changed"):
        store.read(name)
    store = ImageStore(root, "train")
    assert all(store.read(n) == d for n, d in new.items()) and name not in store
    (root / "train/images_001.tar").unlink()
    with pytest.raises(ArchiveError, match=r"images_001\.tar: changed or gone"):
        store.read(sorted(held)[1])


def test_read_only_folder(data):
    """Fails when the index is written into a folder that is marked read-only, or is not kept at all."""
    root, held = data
    root.chmod(0o555)
    try:
        assert ImageStore(root, "train").ids() == sorted(held)
        assert not (root / ".landmark").exists() and cache_path(root, "train/images_000.tar.npz").is_file()
    finally:
        root.chmod(0o755)


def read_all(store):
    return [store.read(name) for name in store.ids()]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_the_same(data, method):
    """Fails when workers share a file position, or a descriptor or the whole table travels to them."""
    root, held = data
    store = ImageStore(root, "train")
    expected = read_all(store)  # the descriptors are open before the fork
    assert expected == [held[name] for name in sorted(held)]
    assert len(pickle.dumps(store)) < 1000
    workers = 4 if method == "fork" else 1
    with multiprocessing.get_context(method).Pool(workers) as pool:
        for found in pool.map(read_all, [store] * 2 * workers, chunksize=1):
            assert found == expected


def forked_reads(store, names, queue):
    queue.put([store.read(name) for name in names])


def test_forked_children_use_the_open_descriptors(data):
    """Fails when children that inherit the store itself disturb each other's reads."""
    root, held = data
    store, names = ImageStore(root, "train"), sorted(held) * 20
    store.read(names[0])
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    children = [fork.Process(target=forked_reads, args=(store, names[i:] + names[:i], queue)) for i in range(4)]
    for child in children:
        child.start()
    found = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert sorted(map(tuple, found)) == sorted(tuple(held[n] for n in names[i:] + names[:i]) for i in range(4))


def test_threads_and_few_descriptors(data, monkeypatch):
    """Fails when a descriptor is closed under a thread that reads from it, or all the TARs stay open."""
    monkeypatch.setattr(archives, "_OPEN", 1)
    root, held = data
    before = len(os.listdir("/proc/self/fd"))
    store, names = ImageStore(root, "train"), sorted(held) * 30
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.read, names)) == [held[name] for name in names]
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    del store
    assert len(os.listdir("/proc/self/fd")) <= before


def test_opened_once_while_it_is_the_same(data):
    """Fails when every pass reads the tables again, or a folder that has changed is answered from an old table."""
    root, held = data
    store = archives.open_images(root, "train")
    assert archives.open_images(root, "train") is store
    (root / "train/broken.tar").symlink_to("nowhere")
    new = pictures(2, seed=8)
    write_tar(root / "train/images_000.tar", {member(n): d for n, d in new.items()})
    assert set(new) < set(archives.open_images(root, "train").ids())
    image_path(root, "train", sorted(held)[0]).parent.mkdir(parents=True)
    image_path(root, "train", sorted(held)[0]).write_bytes(b"loose")
    assert archives.open_images(root, "train").read(sorted(held)[0]) == b"loose"


def test_sizes(tmp_path):
    """Fails when a file's size is another one's, or a loose file that wins over a TAR member has the member's size."""
    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train" / "images_000.tar", "w") as tar:
        for image_id, size in (("aaa0", 5), ("bbb0", 700)):
            info = tarfile.TarInfo(f"{'/'.join(image_id[:3])}/{image_id}.jpg")
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
    ids = np.array([b"bbb0", b"ccc00", b"ddd0", b"aaa0"])
    assert ImageStore(tmp_path, "train").sizes(ids).tolist() == [700, -1, -1, 5]
    for image_id, size in (("bbb0", 3), ("ccc00", 2)):
        path = image_path(tmp_path, "train", image_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
    assert ImageStore(tmp_path, "train").sizes(ids).tolist() == [3, 2, -1, 5]
    assert ImageStore(tmp_path, "test").sizes(ids).tolist() == [-1] * 4
