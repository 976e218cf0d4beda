"""A small web server on this machine that serves a folder as the public servers do."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with Range, ETag and Last-Modified, in silence."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send headers and body."""
        self.send_body(self._head())

    def do_HEAD(self) -> None:
        """Send the headers alone."""
        self._head()

    def _head(self) -> bytes:
        """Send status and headers; returns the body that belongs to them."""
        code, headers, body = self.answer()
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for the path and the range that are asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return 404, {"Content-Type": "text/plain"}, b"no\n"
        data, status = path.read_bytes(), path.stat()
        headers = {
            "Content-Type": self.guess_type(str(path)), "Accept-Ranges": "bytes",
            "ETag": f'"{status.st_size:x}-{status.st_mtime_ns:x}"',
            "Last-Modified": self.date_time_string(int(status.st_mtime)),
        }  # fmt: skip
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or self.headers.get("If-Range", "") not in {"", headers["ETag"], headers["Last-Modified"]}:
            return 200, headers, data
        start, total = int(asked[1]), len(data)
        if start >= total:
            return 416, headers | {"Content-Range": f"bytes */{total}"}, b""
        return 206, headers | {"Content-Range": f"bytes {start}-{total - 1}/{total}"}, data[start:]

    def send_body(self, data: bytes) -> None:
        """Send what follows the headers."""
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is no error here."""


@contextlib.contextmanager
def serve(folder: str | Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """Serve a folder while the block runs; yields the server's address.

    >>> import tempfile, requests
    >>> with tempfile.TemporaryDirectory() as folder, serve(folder) as url:
    ...     requests.get(f"{url}/a.csv", proxies={"http": ""}).status_code
    404
    """
    with _Server(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
