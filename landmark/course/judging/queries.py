"""Other test sets of the course's world: to choose on, and to be graded on.

They show the landmarks that the course's runs know in other photographs, among unknown landmarks and distractors of
their own, see `world.plan.plan_queries`. Draws 1 to 999 are dev worlds, those from `HIDDEN` on are hidden ones.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from landmark.course import runs
from landmark.data.folder import GoogleLandmarks
from landmark.utils.errors import InputError
from landmark.utils.files import data_root, quick
from landmark.world.config import WorldConfig
from landmark.world.make import make_world
from landmark.world.plan import DRAWS, plan_queries

HIDDEN = 1000  # the draw of hidden world 0


def _course_world() -> WorldConfig:
    """Settings of the course's world, less what other test sets of it do not need."""
    if runs.mode() == "gldv2":
        raise InputError(
            "Google Landmarks v2 has one test set, and no other can be made: give folders of your own photographs"
        )
    return replace(runs.QUICK_WORLD if quick() else runs.FULL_WORLD, images=2, nonlandmarks=0)


def dev_worlds(count: int = 3) -> list[GoogleLandmarks]:
    """Make test sets to choose rules, temperatures and thresholds on: half the size of the course's own, its shares.

    Args:
        count: of them, below `HIDDEN`.

    Raises:
        InputError: a count out of range, or the course runs on the real data set.
    """
    config = _course_world()
    config = replace(config, test=config.test // 2)
    if not 1 <= count < HIDDEN:
        raise InputError(f"{count} dev worlds: give a number from 1 to {HIDDEN - 1}")
    folders = [make_world(data_root() / f"{runs.mode()}-dev-{draw}", config, queries=draw)
               for draw in range(1, count + 1)]  # fmt: skip
    return [GoogleLandmarks(folder) for folder in folders]


def hidden_world(seed: int = 0, folder: str | Path | None = None) -> Path:
    """Make the photographs of a hidden world, or find them made: test.csv and the images, no solution.

    Args:
        seed: of the hidden world, from 0.
        folder: for it; one beside the course's data when left out.

    Raises:
        InputError: a seed out of range, a folder that holds something else, or the course runs on the real data set.
    """
    config, draw = _course_world(), _hidden_draw(seed)
    return make_world(folder or hidden_folder(seed), config, queries=draw, solution=False)


def hidden_folder(seed: int) -> Path:
    """Name the folder of a hidden world where no other is given."""
    return data_root() / f"{runs.mode()}-hidden-{seed}"


def hidden_truth(seed: int = 0) -> tuple[dict[str, tuple[int, ...]], list[int]]:
    """Work out the solution of a hidden world anew: image_id → landmark ids, and the landmark ids of the label set.

    Raises:
        InputError: as of `hidden_world`.
    """
    shots, landmarks = plan_queries(_course_world(), _hidden_draw(seed))
    truth: dict[str, tuple[int, ...]] = {s.image_id: () if s.truth is None else (s.truth,) for s in shots}
    return truth, list(landmarks["landmark_id"][landmarks["role"] == "known"])


def _hidden_draw(seed: int) -> int:
    if not 0 <= seed <= DRAWS - HIDDEN:
        raise InputError(f"hidden world {seed}: give a number from 0 to {DRAWS - HIDDEN}")
    return HIDDEN + seed
