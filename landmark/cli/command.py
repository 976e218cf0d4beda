"""The `landmark` command: its verbs, what it says of bad input, its exit codes.

What only a verb's work needs is imported when it starts to work: `--help` and bad arguments get their answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from landmark.cli import bench, evaluation, models, prepare, retrieval, training, world
from landmark.utils.errors import InputError, is_full
from landmark.utils.log import show_log

# verb: what it says of itself, its flags, its function
VERBS = world.VERBS | prepare.VERBS | models.VERBS | training.VERBS | evaluation.VERBS | retrieval.VERBS | bench.VERBS


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line, with the flags of every verb."""
    traces: dict[str, Any] = {"action": "store_true", "help": "show of bad input where it was found out, too"}
    parser = argparse.ArgumentParser(prog="landmark", description="Landmark recognition: models and honest scores.")
    parser.add_argument("--traceback", **traces)
    verbs = parser.add_subparsers(dest="command", required=True)
    for name, (text, add_flags, function) in VERBS.items():
        verb = verbs.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        add_flags(verb)
        verb.add_argument("--traceback", **traces, default=argparse.SUPPRESS)  # else it would undo the one before
        verb.set_defaults(function=function)
    return parser


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Write out what is printed inside, or raise why not: at the interpreter's end nobody could say it well.

    Raises:
        BrokenPipeError: the reader is gone, as in `landmark models | head -1`.
        InputError: a full disk, say.
    """
    try:
        yield
    except OSError as error:
        if is_full(error) and not isinstance(error, InputError):  # of a stream without a buffer
            raise InputError(error) from error
        raise
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except OSError as error:
                with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), stream.fileno())  # the rest, or Python would try it again at its end
                if isinstance(error, BrokenPipeError):
                    raise
                raise InputError(OSError(error.errno, error.strerror, stream.name)) from None


def _complain(text: str) -> None:
    """Print a line on stderr, if anybody reads that."""
    with contextlib.suppress(OSError, InputError), _written():
        print(text, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 2 bad input (one line on stderr), 130 interrupted, 141 unread.

    Of errors it catches `InputError` alone, and those of a machine that it can give advice about (exit code 1): any
    other is a fault of this program and shows its traceback.

    >>> main(["score", "missing.csv", "solution.csv"])
    2
    """
    name, traces = "landmark", False
    try:
        with _written():
            args = build_parser().parse_args(argv)
            name, traces = f"landmark {args.command}", args.traceback
            show_log()
            return args.function(args)
    except BrokenPipeError:  # whoever read what is printed has seen enough
        return 141  # as of a process that SIGPIPE ends
    except InputError as error:
        if traces:
            _complain(traceback.format_exc().rstrip())
        _complain(f"{name}: {_one_line(error)}")
        return 2
    except RuntimeError as error:
        advice = _advice(error)
        if not advice or traces:
            raise
        _complain(f"{name}: {advice} ({_one_line(error)[:300]})")
        return 1
    except KeyboardInterrupt:
        _complain(f"\n{name}: stopped; the same command goes on from here")
        return 130


def _one_line(error: BaseException) -> str:
    """What an error says; of one that comes out of a worker, without the worker's traceback."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


def _advice(error: RuntimeError) -> str:
    """What to do about an error of the machine; nothing when it is none."""
    text, torch = str(error), sys.modules.get("torch")
    if torch and isinstance(error, torch.OutOfMemoryError):
        return "out of memory on the device: lower --batch-size or --size"
    if "DataLoader" in text:
        return "a process that decodes images was killed or hangs: is memory or /dev/shm full? try --workers 0"
    if "WORLD_SIZE" in os.environ:
        return "another process of this group has ended, so this one does"
    return ""
