"""The `landmark` command: a verb is its flags and its function, side by side, in the file of its wing.

bench       The verb that measures this machine.
command     The command itself: its verbs, what it says of bad input, its exit codes.
evaluation  The verb that scores a submission.
flags       Flags of the command, from the settings they set.
models      The verb that lists the models.
prepare     The verbs that download, check and shrink a data set.
retrieval   The verb that searches a folder of landmarks with photographs.
training    The verbs that train and predict, and the one that shows what is kept for them.
world       The verb that makes a miniature world.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.cli.command import main

__all__ = ["main"]

__getattr__, __dir__ = lazy(__name__, __file__)
