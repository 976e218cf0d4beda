"""Keep runs on a mounted drive, on a machine that is lent for an hour."""

from __future__ import annotations

import os
from pathlib import Path

from landmark.utils.errors import InputError
from landmark.utils.files import runs_root

MOUNT = Path("/content/drive")


def keep_on_drive(wanted: bool = True, folder: str = "landmark") -> Path:
    """Mount the reader's drive on Colab and keep all runs of this session there: a disconnect then loses none.

    Data and the maps of frozen stages stay on the machine: they are large, and are made again.

    Args:
        wanted: False leaves everything as it is, for a parameter of a notebook.
        folder: of the drive, made when it is missing.

    Returns:
        The folder of the runs, which `LANDMARK_RUNS` names from now on.

    Raises:
        InputError: this is no Colab, or the drive was not mounted.

    >>> keep_on_drive(False) == runs_root()
    True
    """
    if not wanted:
        return runs_root()
    try:
        from google.colab import drive
    except ImportError:
        raise InputError("there is no drive to mount outside Colab: set LANDMARK_RUNS to a folder that stays") from None
    try:
        drive.mount(str(MOUNT))
        runs = MOUNT / "MyDrive" / folder / "runs"
        runs.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        raise InputError(f"the drive was not mounted ({error}): run the cell again and allow the access") from None
    os.environ["LANDMARK_RUNS"] = str(runs)
    return runs
