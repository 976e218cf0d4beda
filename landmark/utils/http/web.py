"""Questions to a web server: retried within bounds, never in the clear where https was asked for, stopped at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from landmark.utils.errors import DownloadError, HaltError

ATTEMPTS = 6  # in a row without a new byte
WAIT = 0.5  # seconds before the second attempt; doubled each time
LONGEST_WAIT = 60.0  # seconds, whatever Retry-After asks for
TIMEOUT = (10, 20)  # seconds to connect, and between two bytes
BUSY = {408, 425, 429, 500, 502, 503, 504}

_T = TypeVar("_T")


class StoppedError(Exception):
    """`Web.stop` was called."""


class BusyError(Exception):
    """An answer that may be better next time."""

    def __init__(self, reason: str, after: float = 0.0):
        super().__init__(reason)
        self.after = after


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https://"):
            target = urljoin(resp.url, target)
            if urlsplit(target).scheme != "https":
                raise DownloadError(f"{resp.url} leads to {target}, which is not https: refused")
        return target

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if is_loopback(url):  # no proxy can reach this machine
            settings["proxies"] = {}
        return settings


def is_loopback(url: str) -> bool:
    """Does an address name this machine?

    >>> is_loopback("http://127.0.0.1:8000/train.csv"), is_loopback("https://example.org")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


class Web:
    """Asks servers for files; any number of threads may share one.

    5xx answers, timeouts and lost connections are tried again with growing pauses, as long as Retry-After asks but not
    for ever. A redirect from https to anything else is refused, and no failure of https is tried as http.
    """

    def __init__(self, connections: int = 4):
        self._session = _Session()
        self._session.headers.update({"Accept-Encoding": "identity", "User-Agent": "landmark"})
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        self._stop = threading.Event()
        self._live: set[requests.Response] = set()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def stop(self) -> None:
        """End all that runs in other threads, also what waits for bytes; it raises `StoppedError` there."""
        self._stop.set()
        for answer in list(self._live):
            with contextlib.suppress(Exception):  # an answer that ended in the meantime has no socket any more
                answer.raw.shutdown()

    def wait(self, seconds: float) -> None:
        """Pause.

        Raises:
            StoppedError: as soon as `stop` is called.
        """
        if self._stop.wait(seconds):
            raise StoppedError

    @contextlib.contextmanager
    def answer(
        self, url: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Iterator[requests.Response]:
        """One answer, its body not read yet: 2xx, or 416 for the caller to judge.

        Raises:
            BusyError: the server is busy.
            DownloadError: it refuses, or sends a web page.
        """
        self.wait(0)
        with self._session.request(method, url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            self._live.add(answer)
            try:
                self.wait(0)  # a stop while the answer was on its way has not seen it
                _judge(url, answer)
                yield answer
            finally:
                self._live.discard(answer)

    def retried(self, url: str, attempt: Callable[[], _T], reached: Callable[[], int] = lambda: 0) -> _T:
        """The result of `attempt()`, called again after failures that may pass.

        Args:
            url: for messages.
            attempt: asks the server.
            reached: bytes at hand; attempts are counted anew when there are more than ever.

        Raises:
            HaltError: too many failures without progress.
        """
        best, failures = reached(), 0
        while True:
            self.wait(0)
            try:
                return attempt()
            except BusyError as error:
                why, after = str(error), error.after
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                if isinstance(error, ValueError | requests.TooManyRedirects):
                    raise DownloadError(f"{url}: {_why(error)}: check the address") from None
                why, after = _why(error), 0.0
            self.wait(0)
            now = reached()
            failures = 0 if now > best else failures + 1
            best = max(best, now)
            if failures == ATTEMPTS:
                raise HaltError(f"{url}: {why} ({ATTEMPTS} attempts): the same command goes on from here later")
            self.wait(min(LONGEST_WAIT, max(after, WAIT * 2**failures)))

    def size(self, url: str) -> int | None:
        """Length of a file in bytes, without fetching it; None when the server does not say."""

        def ask(method: str) -> int | None:
            with self.answer(url, method=method) as answer:
                length = answer.headers.get("Content-Length", "")
                return int(length) if length.isdigit() else None

        try:
            return self.retried(url, lambda: ask("HEAD"))
        except DownloadError as error:
            if error.status not in {403, 405, 501}:
                raise
            return self.retried(url, lambda: ask("GET"))  # signed addresses may allow nothing else

    def text(self, url: str, limit: int = 1 << 16) -> str:
        """A small text file."""

        def ask() -> str:
            with self.answer(url) as answer:
                body = answer.raw.read(limit + 1)
            if len(body) > limit:
                raise DownloadError(f"{url}: more than {limit} bytes, too long for what it should be")
            return body.decode("utf-8", "replace")

        return self.retried(url, ask)


def _judge(url: str, answer: requests.Response) -> None:
    code = answer.status_code
    if code in BUSY:
        after = urllib3.Retry().get_retry_after(answer.raw) or 0.0
        raise BusyError(f"the server answers {code} {answer.reason}", after)
    if code >= 400 and code != 416:
        raise DownloadError(f"{url}: the server answers {code} {answer.reason}: check the address", code)
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{url}: the server sends a web page, not the file: is a login needed?")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{url}: the server sends it compressed, unasked: use another mirror")


def _why(error: BaseException) -> str:
    """The innermost reason of a chain of errors, on one line."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:120]
