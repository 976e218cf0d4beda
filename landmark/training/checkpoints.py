"""Saved states of a stopped run: `state-<step>-<hash>.pt`, the newest two kept, each whole or not there."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from landmark.utils.errors import InputError, WriteError
from landmark.utils.files import atomic_path, sha256

KEPT = 2
_log = logging.getLogger(__name__)


class Checkpoints:
    """The states in a run's folder. They hold tensors, numbers and text only, and no code in them is ever run.

    The name carries the beginning of the file's SHA-256, because the format does not notice a flipped byte.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def paths(self) -> list[Path]:
        """List the states, newest first."""
        return sorted(self.folder.glob("state-*-*.pt"), reverse=True)

    def save(self, step: int, state: dict) -> None:
        """Write a state, then drop all but the newest two.

        Raises:
            WriteError: it cannot be written, as on a full disk; the states before are untouched.
        """
        try:
            with atomic_path(self.folder / "state.pt") as part:
                torch.save(state, part)
                path = self.folder / f"state-{step:09}-{sha256(part)[:16]}.pt"
            (self.folder / "state.pt").replace(path)
        except RuntimeError as error:  # torch's writer makes one of every failure
            raise WriteError(self.folder / "state.pt", error) from None
        for old in [p for p in self.paths() if p != path][KEPT - 1 :]:
            old.unlink(missing_ok=True)

    def load(self) -> dict | None:
        """Load the newest whole state, on the CPU; None when there is none. Damaged ones are named and passed over.

        Raises:
            InputError: there are states, and every one is damaged.
        """
        damaged = []
        for path in self.paths():
            try:
                digest = sha256(path)[:16]
                if digest != path.stem.rsplit("-", 1)[1]:
                    raise ValueError(f"its sha256 begins with {digest}")
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch.load raises a dozen types on bad bytes; each means the same to the user
                reason = str(error).splitlines()[0][:120]
                damaged.append(f"damaged checkpoint {path} ({type(error).__name__}: {reason})")
                continue
            for line in damaged:
                _log.warning("%s: going on from %s", line, path.name)
            return state
        if damaged:
            raise InputError(f"{'; '.join(damaged)}: delete it to start anew")
        return None

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in [*self.folder.glob(".*.part"), *self.folder.glob("state.pt")]:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all states: the run is finished."""
        self.sweep()
        for path in self.paths():
            path.unlink(missing_ok=True)
