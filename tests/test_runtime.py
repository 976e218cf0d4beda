"""Files that appear whole or not at all, modes and folders; and the fixture that keeps tests off the network."""

import socket

import pytest
import torch

from landmark import runtime


def test_atomic_path_keeps_the_old_file(tmp_path):
    """Fails when a write that breaks off leaves half a file, or its own debris."""
    target = tmp_path / "sub" / "x.csv"
    with runtime.atomic_path(target) as part:
        part.write_text("old")
    with pytest.raises(RuntimeError), runtime.atomic_path(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and [p.name for p in target.parent.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quick_mode(monkeypatch, value, expected):
    """Fails when LANDMARK_QUICK=0 means yes."""
    monkeypatch.setenv("LANDMARK_QUICK", value)
    assert runtime.quick() is expected


def test_folders_follow_the_environment(monkeypatch, tmp_path):
    """Fails when data or runs land in the work tree although they were sent elsewhere."""
    monkeypatch.setenv("LANDMARK_RUNS", str(tmp_path))
    assert runtime.runs_root() == tmp_path
    monkeypatch.delenv("LANDMARK_RUNS")
    assert runtime.runs_root().name == "runs"


def test_seeds_and_description():
    """Fails when torch is left out of the seeds, or the line at the top of a notebook breaks."""
    runtime.seed_everything(3)
    first = torch.rand(2)
    runtime.seed_everything(3)
    assert torch.equal(first, torch.rand(2)) and "torch" in runtime.describe()


def test_precision_is_chosen_by_hand(monkeypatch):
    """Fails when LANDMARK_PRECISION is not heard, not told, or a slip of the pen passes for "auto"."""
    where = torch.device("cpu")
    native = runtime.fast_dtype(where)
    for name in ("float32", "bfloat16", "float16"):
        monkeypatch.setenv("LANDMARK_PRECISION", name)
        assert (
            runtime.fast_dtype(where) == getattr(torch, name) and f"{name} (LANDMARK_PRECISION)" in runtime.describe()
        )
    for name in ("auto", ""):
        monkeypatch.setenv("LANDMARK_PRECISION", name)
        assert runtime.fast_dtype(where) == native and "LANDMARK_PRECISION" not in runtime.describe()
    monkeypatch.setenv("LANDMARK_PRECISION", "bf16")
    with pytest.raises(runtime.InputError, match="LANDMARK_PRECISION=bf16: choose one of auto, float32"):
        runtime.fast_dtype(where)


@pytest.mark.parametrize(
    ("limit", "pays"),
    [("", True), ("ALL", True), ("AVX512_CORE_BF16", True), ("AVX512_CORE_AMX", True), ("AVX512_CORE", False),
     ("AVX512_CORE_VNNI", False), ("avx2", False), ("AVX2_VNNI", False), ("AVX2_VNNI_2", True), ("SSE41", False)],
)  # fmt: skip
def test_bfloat16_pays_only_where_onednn_may_use_it(monkeypatch, limit, pays):
    """Fails when bfloat16 is emulated at half the speed of float32 because the chip could do it and oneDNN may not."""
    monkeypatch.setattr(runtime, "chip_has", lambda *names: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert runtime.fast_dtype(torch.device("cpu")) == (torch.bfloat16 if pays else torch.float32)


def test_tests_have_no_network():
    """Fails when the fixture lets a connection out."""
    with pytest.raises(OSError, match="no network"), socket.socket() as s:
        s.connect(("192.0.2.1", 443))
