"""Saved states: two kept, whole or not there, damage noticed, nothing in them run."""

import os
import pickle

import pytest
import torch

from landmark.training.checkpoints import Checkpoints
from landmark.utils.errors import InputError


def state(step):
    return {"kept": f"{step}", "x": torch.arange(1000.0) + step}


def test_the_newest_two_are_kept(tmp_path):
    """Fails when a disk fills up with states, or the newest is not the one loaded."""
    states = Checkpoints(tmp_path)
    assert states.load() is None
    for step in (1, 5, 12):
        states.save(step, state(step))
    assert [p.name.split("-")[1] for p in states.paths()] == ["000000012", "000000005"]
    assert states.load()["kept"] == "12"
    states.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "html"])
def test_a_damaged_state_is_passed_over(tmp_path, log_lines, damage):
    """Fails when one flipped byte is loaded, or the older state is lost with the newer one."""
    states = Checkpoints(tmp_path)
    states.save(1, state(1))
    states.save(2, state(2))
    for count, path in enumerate(states.paths(), 1):
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"flip": flipped, "cut": data[:middle], "empty": b"", "html": b"<!DOCTYPE html>"}[damage])
        if count == 1:
            assert states.load()["kept"] == "1" and path.name in "".join(log_lines)
    with pytest.raises(InputError, match=r"damaged checkpoint.*state-000000002.*delete it"):
        states.load()


def test_code_in_a_state_is_not_run(tmp_path, monkeypatch):
    """Fails when a planted pickle is obeyed, also under the environment variable that asks for it."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    states = Checkpoints(tmp_path)
    torch.save({"kept": Payload()}, tmp_path / "state.pt", pickle_module=pickle)
    from landmark.utils.files import sha256

    (tmp_path / "state.pt").rename(tmp_path / f"state-000000001-{sha256(tmp_path / 'state.pt')[:16]}.pt")
    with pytest.raises(InputError, match="damaged checkpoint"):
        states.load()
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_leaves_the_state_before(tmp_path, full_disk):
    """Fails when a state that does not fit destroys the one before, leaves debris, or does not mention space."""
    states = Checkpoints(tmp_path)
    states.save(1, state(1))
    with full_disk(2000), pytest.raises(InputError, match="B free.*before is whole: make room, then") as error:
        states.save(2, state(2))
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert states.load()["kept"] == "1" and len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_a_kill_are_swept(tmp_path):
    """Fails when every killed save leaves a file of the size of the network behind."""
    (tmp_path / ".state.pt.abc.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    Checkpoints(tmp_path).sweep()
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
