"""A small web server on this machine that serves a folder and misbehaves on demand."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = 1 << 14  # bytes


@dataclass
class Fault:
    """How a path is answered; each field left at its default is answered well.

    `times` counts down with each answer; at 0 the path is answered well again.
    """

    times: int = 1
    method: str = "GET"
    status: int = 0  # instead of the file, such as 404, 416 or 503
    cut: int = -1  # close the connection after so many bytes of the body
    ignore_range: bool = False  # send all of the file with 200
    headers: Mapping[str, str] = field(default_factory=dict)  # take the place of the right ones; empty: left out
    body: bytes | None = None  # instead of the file
    delay: float = 0.0  # seconds before each block


@contextlib.contextmanager
def serve(folder: str | Path, faults: dict[str, Fault] | None = None, log: list | None = None) -> Iterator[str]:
    """Serve a folder with Range, ETag and Last-Modified; yields the server's address.

    Args:
        folder: what to serve.
        faults: by path such as "train/images_000.tar"; may be changed while the server runs.
        log: gets (method, path, Range header or "") of each request.

    >>> import tempfile, requests
    >>> with tempfile.TemporaryDirectory() as folder, serve(folder, {"a.csv": Fault(status=503)}) as url:
    ...     requests.get(f"{url}/a.csv", proxies={"http": ""}).status_code
    503
    """
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        server.faults = {} if faults is None else faults
        server.log = [] if log is None else log
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    turn = threading.Lock()

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is no error here."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `log` has it."""

    def _fault(self, name: str) -> Fault:
        with self.server.turn:
            self.server.log.append((self.command, name, self.headers.get("Range", "")))
            fault = self.server.faults.get(name)
            if fault is None or fault.times <= 0 or fault.method != self.command:
                return Fault()
            fault.times -= 1
            return fault

    def _answer(self) -> None:
        fault = self._fault(self.path.lstrip("/"))
        path = Path(self.translate_path(self.path))
        found = fault.body is not None or path.is_file()
        data = path.read_bytes() if path.is_file() and fault.body is None else fault.body or b""
        headers = {"Content-Type": self.guess_type(str(path)), "Accept-Ranges": "bytes"}
        if path.is_file():
            status = path.stat()
            headers["ETag"] = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
            headers["Last-Modified"] = self.date_time_string(int(status.st_mtime))
        code, total = fault.status or (200 if found else 404), len(data)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", "") in {"", headers.get("ETag"), headers.get("Last-Modified")}
        if code >= 400:
            data, headers = b"no\n", {"Content-Type": "text/plain"}
        elif asked and same and not fault.ignore_range and fault.body is None:
            start = int(asked[1])
            code, data = (206, data[start:]) if start < total else (416, b"")
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}" if code == 206 else f"bytes */{total}"
        self.send_response(code)
        for name, value in ({**headers, "Content-Length": str(len(data))} | dict(fault.headers)).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send(data if fault.cut < 0 else data[: fault.cut], fault)

    def _send(self, data: bytes, fault: Fault) -> None:
        for start in range(0, len(data), BLOCK):
            time.sleep(fault.delay)
            self.wfile.write(data[start : start + BLOCK])
        self.close_connection |= fault.cut >= 0 or "Content-Length" in fault.headers
