"""CSV files of the layout, strictly or fast.

attribution  Who took the photographs: the table of authors and licences, and the lines that credit them.
strict       Read a CSV strictly: nothing is guessed, shifted or dropped, and a fault is reported with its line.
train        A large train.csv: checked and parsed in blocks, and kept as Parquet for the next time.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.data.csv.attribution import credit_lines, read_attribution
    from landmark.data.csv.strict import is_image_id, read_strict

__all__ = ["credit_lines", "is_image_id", "read_attribution", "read_strict"]

__getattr__, __dir__ = lazy(__name__, __file__)
