"""Fetch what is missing of a plan: sizes first, then a question, then several files at a time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Lock

from tqdm import tqdm

from landmark.prepare.sources import ABSENT, Item, fetch_md5
from landmark.utils.errors import ArchiveError, DownloadError, HaltError, InputError, file_errors, free_bytes, readable
from landmark.utils.files import check_space
from landmark.utils.http.fetch import fetch, part_path
from landmark.utils.http.web import StoppedError, Web

_log = logging.getLogger(__name__)


@file_errors()
def fetch_data(
    items: Sequence[Item], *, yes: bool = False, dry_run: bool = False, workers: int = 4, progress: bool = True,
    take: Callable[[Item], object] | None = None, share: float = 0.0,
) -> None:  # fmt: skip
    """Fetch what is missing of a plan, several files at a time; what was cut goes on where it stopped.

    Args:
        items: from `gldv2`, `gldv2_clean`, `gld23k`, `attribution`, `landmarks50` or `weights`.
        yes: do not ask before fetching.
        dry_run: log each file with its size, and fetch nothing.
        workers: files at a time.
        progress: show a bar.
        take: what is done with each file as soon as it is here and checked; then it is deleted.
        share: of the bytes, an estimate of what `take` leaves on the disk.

    Raises:
        DownloadError: a file is missing or wrong; the others are fetched all the same.
        HaltError: no space or no connection.
        InputError: not confirmed.
    """
    if workers < 1:
        raise InputError(f"{workers} workers: give 1 or more")
    with Web(4 * workers) as web:
        plan = _Plan(items, web, workers, take, share)
        plan.survey(progress)
        if dry_run:
            _log.info("\n".join(plan.lines()))
            return
        if plan.missing:
            plan.check_space()
            _confirm(plan.summary(), yes)
            plan.fetch(progress)
    if take:
        return
    count, size = len(plan.items), sum(item.path.stat().st_size for item in plan.items)
    summary = f"{count} file{'s' * (count > 1)}, {readable(size)}"
    for item in plan.items:
        if item.then:
            _log.info(item.then(item.path, progress=progress))
    _log.info("%s: all here and checked" if plan.missing else "%s: all here already", summary)


class _Plan:
    """Items with their sizes on the server: those that are missing, those that the server lacks."""

    def __init__(
        self, items: Sequence[Item], web: Web, workers: int, take: Callable[[Item], object] | None, share: float
    ):
        self.items, self.web, self.workers, self.take, self.share = list(items), web, workers, take, share
        self.sizes: dict[Item, int | None] = {}
        self.missing: list[Item] = []
        self.failures: dict[Item, InputError] = {}
        self.lock = Lock()

    def survey(self, progress: bool) -> None:
        """Ask for all sizes."""
        self.missing = [item for item in self.items if self.take or not item.there()]
        with tqdm(total=len(self.missing), desc="sizes", unit="file", delay=1, disable=not progress) as bar:

            def size(item: Item) -> None:
                self.sizes[item] = self.web.size(item.url)
                bar.update()

            self._each(size, 4 * self.workers)
        self._complain()

    def fetch(self, progress: bool) -> None:
        """Fetch all that is missing."""
        for root in {item.root for item in self.missing}:
            root.mkdir(parents=True, exist_ok=True)
        total = sum(self.sizes[item] or 0 for item in self.missing)
        with tqdm(total=total, desc="download", unit="B", unit_scale=True, disable=not progress) as bar:

            def advance(count: int) -> None:
                with self.lock:
                    bar.update(count)

            def one(item: Item) -> None:
                md5 = item.md5 or (fetch_md5(self.web, item) if item.md5_url else "")
                fetch(item.url, item.path, md5=md5, sha256=item.sha256, receipt=item.receipt, web=self.web,
                      advance=advance, advice=item.advice)  # fmt: skip
                if self.take:
                    self.take(item)
                    item.path.unlink()
                    item.receipt.unlink(missing_ok=True)

            self._each(one, self.workers)
        self._complain()

    def _each(self, work: Callable[[Item], None], workers: int) -> None:
        """Do `work` for each missing item; a failure that others would meet too, and Ctrl-C, end all at once."""
        pool = ThreadPoolExecutor(workers)
        try:
            jobs = {pool.submit(work, item): item for item in self.missing}
            pending = set(jobs)
            while pending:
                done, pending = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
                for job in done:
                    self._judge(jobs[job], job)
        except BaseException:
            self.web.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _judge(self, item: Item, job: Future) -> None:
        try:
            job.result()
        except (HaltError, StoppedError):
            raise
        except (DownloadError, ArchiveError) as error:  # of a TAR that cannot be read as well: the others are sound
            if item.optional and isinstance(error, DownloadError) and error.status in ABSENT:
                _log.warning("%s: not on the server: left out", item.url)
                self.items.remove(item)
                self.missing.remove(item)
            else:
                self.failures[item] = error

    def _complain(self) -> None:
        if self.failures:
            first = next(self.failures[item] for item in self.missing if item in self.failures)
            others = len(self.failures) - 1
            raise DownloadError(f"{first} (and {others} more of {len(self.missing)} files)" if others else str(first))

    def lines(self) -> list[str]:
        """List each file with its size, then the sum."""
        lines = []
        for item in self.items:
            size = self.sizes[item] if item in self.sizes else item.path.stat().st_size
            state = "to fetch" if item in self.sizes else "here"
            lines.append(f"{'?' if size is None else readable(size):>9}  {state:8}  {item.url} -> {item.path}")
        return [*lines, self.summary()]

    def summary(self) -> str:
        """Say how much there is to fetch, and how much room is free."""
        unknown = sum(self.sizes[item] is None for item in self.missing)
        more = f" and {unknown} files of unknown size" if unknown else ""
        free = f", {readable(free_bytes(self.items[0].path.parent))} free" if self.items else ""
        take = f", {self.workers} at a time, each deleted once it is read: about {readable(self._stays())} stay"
        return f"{readable(self.need())} in {len(self.missing)} files{more} to fetch{take if self.take else ''}{free}"

    def need(self) -> int:
        """Count the bytes still to come."""
        places = [(part_path(item.path), item.path if self.take else None) for item in self.missing]
        here = [sum(path.stat().st_size for path in both if path and path.exists()) for both in places]
        return sum(max(0, (self.sizes[item] or 0) - have) for item, have in zip(self.missing, here, strict=True))

    def _stays(self) -> int:
        return int(self.share * sum(self.sizes[item] or 0 for item in self.missing))

    def check_space(self) -> None:
        """Refuse what cannot fit; a file that is unpacked afterwards needs its room twice."""
        need = self.need() + sum(self.sizes[item] or 0 for item in self.missing if item.then)
        if self.take:  # as many files at a time as there are workers, the largest ones
            need = self._stays() + sum(sorted(self.sizes[item] or 0 for item in self.missing)[-self.workers :])
        check_space(self.missing[0].path.parent, need, "make room, or fetch fewer shards", HaltError)


def _confirm(summary: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{summary}: nothing was fetched, there is no terminal to ask at: say --yes")
    try:
        answer = input(f"{summary}. Go on? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise InputError("not confirmed: nothing was fetched")
