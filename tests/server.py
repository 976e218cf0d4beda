"""A local server that misbehaves on demand."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from landmark.prepare import mirror

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


class _Faulty(mirror.Handler):
    """Answers as `faults` say, and writes each request into `log`."""

    faults: dict[str, Fault]
    log: list
    turn = threading.Lock()

    def _next_fault(self):
        name = self.path.lstrip("/")
        with self.turn:
            self.log.append((self.command, name, self.headers.get("Range", "")))
            fault = self.faults.get(name)
            if fault is None or fault.times <= 0 or fault.method != self.command:
                return Fault()
            fault.times -= 1
            return fault

    def answer(self):
        self.fault = fault = self._next_fault()
        if fault.ignore_range or fault.body is not None:
            del self.headers["Range"]
        code, headers, data = super().answer()
        if fault.body is not None:
            data = fault.body
        if fault.status:
            code = fault.status
        if fault.status >= 400:
            headers, data = {"Content-Type": "text/plain"}, b"no\n"
        return code, headers | dict(fault.headers), data

    def send_header(self, keyword, value):
        if value:
            super().send_header(keyword, value)

    def send_body(self, data):
        fault = self.fault
        data = data if fault.cut < 0 else data[: fault.cut]
        for start in range(0, len(data), BLOCK):
            time.sleep(fault.delay)
            super().send_body(data[start : start + BLOCK])
        self.close_connection |= fault.cut >= 0 or "Content-Length" in fault.headers


def serve(folder, faults, log):
    """Serve a folder; `faults` by path may be changed meanwhile, `log` gets (method, path, Range header or "")."""
    return mirror.serve(folder, type("Handler", (_Faulty,), {"faults": faults, "log": log}))
