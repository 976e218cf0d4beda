"""Files of maps: what they say of themselves, and what of them is believed."""

import pytest
import torch

from landmark.training.frozen import pieces
from landmark.training.frozen.pieces import Pieces
from landmark.utils.errors import InputError


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float16, torch.float32])
def test_maps_come_back_to_the_last_bit(tmp_path, dtype):
    """Fails when a kind of number is changed on the way, or a row is another image's."""
    maps = (torch.randn(3, 4, 2, 2) * 50).abs().to(dtype)
    kept = Pieces(tmp_path)
    kept.save(1, [("a", "x"), ("b", "y"), ("c", "z")], maps)
    ((path, entries),) = kept.listed()
    assert [entry[:2] for entry in entries] == [("a", "x"), ("b", "y"), ("c", "z")]
    for row, entry in enumerate(entries):
        assert torch.equal(kept.read(path, row, entry.crc), maps[row])
    assert [*kept.listed(1)] == [*kept.listed()] and not [*kept.listed(0)]
    with pytest.raises(InputError, match="damaged .its checksum differs.: delete it"):
        kept.read(path, 0, entries[1].crc)


def test_what_is_no_file_of_maps_is_swept_up_and_nothing_else(tmp_path):
    """Fails when a half-written file stays for ever, or a note or a file that is whole goes."""
    kept = Pieces(tmp_path)
    kept.save(0, [("a", "x")], torch.zeros(1, 2, 2, 2))
    (tmp_path / "basis.json").write_text("{}")
    (whole,) = tmp_path.glob("*.safetensors")
    for name in (".000-1.safetensors.12.part", "000-2.safetensors"):
        (tmp_path / name).write_bytes(whole.read_bytes()[:-1])
    kept.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, "basis.json"}


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    """Fails when a large cache opens more files than a process may."""
    monkeypatch.setattr(pieces, "_OPEN", 2)
    kept = Pieces(tmp_path)
    for number in range(5):
        kept.save(0, [(str(number), "x")], torch.full((1, 2, 2, 2), float(number)))
    for path, entries in kept.listed():
        assert (kept.read(path, 0) == float(entries[0].image_id)).all()
    assert kept._slices.cache_info().currsize == 2
