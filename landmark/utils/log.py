"""What the library says while it works: to the logger `landmark`, which shows it to those who ask."""

from __future__ import annotations

import logging
import sys


class _Plain(logging.Handler):
    """Writes messages alone, as the command shows them: news to stdout, warnings to stderr.

    The streams are those of the moment, and their errors are the caller's: nobody may read any more.
    """

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout)


_PLAIN = _Plain()


def show_log() -> None:
    """Show what the library says, as the command and the notebooks do; asked again, it is still shown once."""
    log = logging.getLogger("landmark")
    log.addHandler(_PLAIN)
    log.setLevel(logging.INFO)
    log.propagate = False  # a notebook's own handler would write it a second time
