"""Questions to a server: https stays https, pauses are bounded, a stop is prompt."""

import threading
import time

import pytest
import requests

from landmark.utils.errors import DownloadError, HaltError
from landmark.utils.http import web
from landmark.utils.http.fetch import fetch
from landmark.utils.http.web import StoppedError, Web
from tests.server import Fault
from tests.serving import DATA, MD5


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(web, "WAIT", 0.0)


def test_https_stays_https(served, monkeypatch):
    """Fails when a broken https is tried as http, or a redirect leads out of it."""
    with pytest.raises(HaltError):
        fetch(served.url.replace("http:", "https:"), served.out)
    assert not served.log

    def redirect(self, request, **kwargs):
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 302, request.url, request
        answer.headers["Location"], answer.raw = served.url, None
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirect)
    with pytest.raises(DownloadError, match="not https: refused"):
        fetch("https://127.0.0.1/f.tar", served.out)
    assert not served.log and not served.out.exists()


def test_retry_after_is_heeded_within_bounds(served, monkeypatch):
    """Fails when a server's wish is ignored, or may hold the user for a day."""
    pauses = []
    monkeypatch.setattr(Web, "wait", lambda self, seconds: pauses.append(seconds))
    for asked in ("7", "86400"):
        served.faults["f.tar"] = Fault(times=1, status=503, headers={"Retry-After": asked})
        fetch(served.url, served.out, md5=MD5)
        served.out.unlink()
    assert sorted(p for p in pauses if p) == [7.0, web.LONGEST_WAIT]


def test_sizes(served):
    """Fails when an address that allows GET alone has no size, or one that says none is an error."""
    with Web() as client:
        for fault in (Fault(times=0), Fault(method="HEAD", status=403), Fault(method="HEAD", status=503)):
            served.faults["f.tar"] = fault
            assert client.size(served.url) == len(DATA)
        served.faults["f.tar"] = Fault(method="HEAD", headers={"Content-Length": ""})
        assert client.size(served.url) is None
        with pytest.raises(DownloadError, match="too long"):
            client.text(served.url, limit=1000)


def test_stop_is_prompt(served):
    """Fails when Ctrl-C waits for a server that is silent."""
    served.faults["f.tar"] = Fault(times=99, delay=30)
    with Web() as client:
        threading.Timer(0.3, client.stop).start()
        begin = time.monotonic()
        with pytest.raises(StoppedError):
            fetch(served.url, served.out, web=client)
        assert time.monotonic() - begin < 10
