"""Seeds, the arithmetic that is chosen, and the line that describes it."""

import pytest
import torch

from landmark.utils import device
from landmark.utils.errors import InputError


def test_seeds_and_description():
    """Fails when torch is left out of the seeds, or the line at the top of a notebook breaks."""
    device.seed_everything(3)
    first = torch.rand(2)
    device.seed_everything(3)
    assert torch.equal(first, torch.rand(2)) and "torch" in device.describe()


def test_precision_is_chosen_by_hand(monkeypatch):
    """Fails when LANDMARK_PRECISION is not heard, not told, or a slip of the pen passes for "auto"."""
    where = torch.device("cpu")
    native = device.fast_dtype(where)
    for name in ("float32", "bfloat16", "float16"):
        monkeypatch.setenv("LANDMARK_PRECISION", name)
        assert device.fast_dtype(where) == getattr(torch, name) and f"{name} (LANDMARK_PRECISION)" in device.describe()
    for name in ("auto", ""):
        monkeypatch.setenv("LANDMARK_PRECISION", name)
        assert device.fast_dtype(where) == native and "LANDMARK_PRECISION" not in device.describe()
    monkeypatch.setenv("LANDMARK_PRECISION", "bf16")
    with pytest.raises(InputError, match="LANDMARK_PRECISION=bf16: choose one of auto, float32"):
        device.fast_dtype(where)


@pytest.mark.parametrize(
    ("limit", "pays"),
    [("", True), ("ALL", True), ("AVX512_CORE_BF16", True), ("AVX512_CORE_AMX", True), ("AVX512_CORE", False),
     ("AVX512_CORE_VNNI", False), ("avx2", False), ("AVX2_VNNI", False), ("AVX2_VNNI_2", True), ("SSE41", False)],
)  # fmt: skip
def test_bfloat16_pays_only_where_onednn_may_use_it(monkeypatch, limit, pays):
    """Fails when bfloat16 is emulated at half the speed of float32 because the chip could do it and oneDNN may not."""
    monkeypatch.setattr(device, "chip_has", lambda *names: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert device.fast_dtype(torch.device("cpu")) == (torch.bfloat16 if pays else torch.float32)
