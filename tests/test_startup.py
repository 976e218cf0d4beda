"""What the command loads before it answers, and what it says when nobody reads on: in processes of its own."""

import json
import os
import subprocess
import sys

import pytest

from landmark.prepare.mirror import make_mirror, serve
from landmark.training.config import TrainConfig

CHILD = """
import json, sys
for name in {absent!r}:
    sys.modules[name] = None  # as if it were not installed
from landmark.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print("\\n" + json.dumps([code, [name for name in ("torch", "numpy", "pandas") if sys.modules.get(name)]]))
"""


def answer(*args, absent=()):
    """Exit code, what of torch, numpy and pandas was loaded, and stderr."""
    command = [sys.executable, "-c", CHILD.format(absent=absent), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return (*json.loads(done.stdout.splitlines()[-1]), done.stderr)


@pytest.fixture(scope="module")
def submission(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("submission") / "s.csv"
    ids = [line.split(",")[0] for line in (world / "test.csv").read_text().splitlines()[1:]]
    path.write_text("id,landmarks\n" + "".join(f"{image_id},1 0.5\n" for image_id in ids))
    return path


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--help"], 0, ""),
        (["train", "--help"], 0, ""),
        (["bogus"], 2, "invalid choice"),
        (["score", "one.csv"], 2, "required"),
        (["train", "data", "--out", "run", "--model", "vgg"], 2, "no model 'vgg'"),
        (["train", "data", "--out", "run"], 2, "--model is missing"),
        (["train", "data", "--out", "run", "--model", "resnet50", "--lr", "-1"], 2, "lr=-1.0"),
        (["synth", "world", "--landmarks", "0"], 2, "landmarks=0"),
        (["search", "index", "photo.jpg", "--neighbours", "0"], 2, "neighbours=0"),
        (["search", "index", "photo.jpg", "--features", "vgg"], 2, "neither a model"),
        (["download", "gldv2"], 2, "download gldv2 DATA"),
    ],
)  # fmt: skip
def test_help_and_bad_arguments_load_nothing(tmp_path, monkeypatch, args, code, words):
    """Fails when an answer that needs no data waits for seconds until torch, numpy or pandas is there."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in (os.getcwd(), os.environ.get("PYTHONPATH")) if p))
    monkeypatch.chdir(tmp_path)
    found, loaded, err = answer(*args)
    assert found == code and words in err and loaded == [] and not list(tmp_path.iterdir())


def test_importing_the_package_loads_nothing():
    """Fails when `import landmark`, or asking it for settings, loads torch, numpy or pandas."""
    code = (
        "import sys, landmark; landmark.TrainConfig, landmark.WorldConfig, landmark.list_models, landmark.InputError; "
    )
    code += "sys.exit(not {'torch', 'numpy', 'pandas'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("absent", [(), ("fcntl",)], ids=["all there", "without fcntl"])
def test_verbs_without_networks_load_no_torch(world, submission, tmp_path, absent):
    """Fails when a verb that computes no network loads torch, or needs file locks that it does not take."""
    solution = world / "recognition_solution_v2.1.csv"
    assert answer("score", submission, solution, absent=absent)[:2] == (0, ["numpy", "pandas"])
    assert answer("check", world, absent=absent)[:2] == (1, ["numpy", "pandas"])
    small = ("--landmarks", 2, "--images", 2, "--test", 0, "--size", 32)
    code, loaded, _ = answer("synth", tmp_path / "world", *small, absent=absent)
    assert code == 0 and "torch" not in loaded and (tmp_path / "world/world.json").exists()


def test_download_and_shrink_load_no_torch(world, tmp_path):
    """Fails when fetching or reducing images loads torch in the command's process."""
    mirror = make_mirror(world, tmp_path / "mirror", tars=1)
    with serve(mirror) as url:
        code, loaded, err = answer("download", "weights", tmp_path / "data", "--mirror", url, "--dry-run")
        assert code == 2 and "torch" not in loaded and "resnet50-0676ba61.pth" in err, "this mirror has no weights"
        code, loaded, _ = answer("download", "gldv2", tmp_path / "data", "--mirror", url, "--shards", 0, "--yes")
        code, subset, _ = answer("download", "gld23k", tmp_path / "s", "--mirror", url, "--shards", 0, "--yes")
        assert code == 0 and "torch" not in subset and list((tmp_path / "s").glob("test/*/*/*/*.jpg"))
        (tmp_path / "s/train_attribution.csv").unlink()
        code, subset, _ = answer("download", "attribution", tmp_path / "s", "--mirror", url, "--yes")
        assert code == 0 and "torch" not in subset and (tmp_path / "s/train_attribution.csv").exists()
    assert "torch" not in loaded and (tmp_path / "data/train/images_000.tar").exists()
    code, loaded, _ = answer("shrink", tmp_path / "data", "--size", 32, "--out", tmp_path / "small", "--workers", 2)
    assert code == 0 and "torch" not in loaded and (tmp_path / "small/train/images_000.tar").exists()


@pytest.mark.parametrize("buffered", [False, True], ids=["at once", "buffered"])
@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stdout and stderr"])
@pytest.mark.parametrize("args", [["--help"], ["bogus"], ["check", "{world}"], ["check", "{world}", "--json"],
                                  ["score", "{submission}", "{solution}"], ["score", "no.csv", "no.csv"]],
                         ids=" ".join)  # fmt: skip
def test_a_reader_that_goes_away(world, submission, args, both, buffered):
    """Fails when `landmark … | head -1` ends in "Broken pipe", a traceback, "Exception ignored" or exit code 120."""
    names = {"world": world, "submission": submission, "solution": world / "recognition_solution_v2.1.csv"}
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "landmark", *(a.format(**names) for a in args)], stdout=pipe,
            stderr=subprocess.STDOUT if both else subprocess.PIPE, timeout=100,
            env=os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"},
        )  # fmt: skip
    told = (done.stderr or b"").decode()
    assert "roken pipe" not in told and "Traceback" not in told and "Exception ignored" not in told
    also = {"--help": 0, "bogus": 2, "score no.csv no.csv": 2}  # argparse may not mind; nothing is said on stdout
    assert done.returncode in (141, also.get(" ".join(args), 141)), told


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_output_that_cannot_be_written(world, submission):
    """Fails when a report that a full disk has swallowed counts as told, or ends in "Exception ignored"."""
    command = [sys.executable, "-m", "landmark", "score", submission, world / "recognition_solution_v2.1.csv"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("landmark score: [Errno 28] No space left on device")


def test_settings_are_checked_where_they_stand():
    """Fails when a model's name is only refused once torch is there: the same settings come from config.json."""
    with pytest.raises(ValueError, match="no model 'vgg'"):
        TrainConfig.of({"model": "vgg"})
