"""The cellar: errors, files, devices, ranks, HTTP.

device       Seeds, the best device at hand, the arithmetic that pays on it, and one line that describes them.
distributed  Several processes that act as one, on the engines of torch.
errors       The errors that a user can mend: one line that names the file, line or id and says what to do.
faces        Load the public names of a package when one is first asked for.
files        Folders of data, runs and figures, and files that appear whole or not at all.
http         Files from web servers, whole and right or not at all.
locks        Locks that keep processes out of each other's way; the system frees them however their holder ends.
log          What the library says while it works, and how it is shown.
process      What concerns a whole process: the signals that stop it, its threads, its CPUs.
settings     Settings of a frozen dataclass, each written in one place.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.utils.device import autocast, describe, fast_dtype, seed_everything
    from landmark.utils.distributed import launch
    from landmark.utils.errors import ArchiveError, CheckpointError, DownloadError, ImageError, InputError, TableError
    from landmark.utils.files import atomic_path, cache_path, data_root, figures_root, quick, runs_root, sha256
    from landmark.utils.process import asked_to_stop

__all__ = [
    "ArchiveError",
    "CheckpointError",
    "DownloadError",
    "ImageError",
    "InputError",
    "TableError",
    "asked_to_stop",
    "atomic_path",
    "autocast",
    "cache_path",
    "data_root",
    "describe",
    "fast_dtype",
    "figures_root",
    "launch",
    "quick",
    "runs_root",
    "seed_everything",
    "sha256",
]

__getattr__, __dir__ = lazy(__name__, __file__)
