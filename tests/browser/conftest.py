"""A Chromium, pages whose errors are kept, and a JupyterLab of the tests' own."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """The machine's own Chromium, headless."""
    api = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[browser]"')
    with api.sync_playwright() as playwright:
        there = [*filter(None, map(shutil.which, NAMES)), str(MAC), playwright.chromium.executable_path]
        path = next((path for path in there if Path(path).exists()), None)
        if path is None:
            pytest.skip("no Chromium: apt-get install chromium, or: playwright install chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """A function that opens an address in a window of its own.

    What the window complains of is in `errors`. The world outside is not there: what it is asked for is in `asked`, and
    answered with nothing.
    """
    contexts = []

    def open_(address, width=1280, **look):
        context = browser.new_context(viewport={"width": width, "height": 1200}, **look)
        contexts.append(context)
        page, errors, asked = context.new_page(), [], []
        context.route(re.compile(r"https?://(?!127\.0\.0\.1[:/])"), lambda route: _refuse(route, asked))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return SimpleNamespace(page=page, errors=errors, asked=asked)

    yield open_
    for context in contexts:
        context.close()


def _refuse(route, asked):
    asked.append(route.request.url)
    route.fulfill(status=200, content_type="image/svg+xml", body='<svg xmlns="http://www.w3.org/2000/svg"/>')


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab with its own port, token and settings and a workspace for each notebook, in a copy of the notebooks without outputs."""
    import nbformat

    home = tmp_path_factory.mktemp("lab")
    (home / "notebooks").mkdir()
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, home / "notebooks" / path.name)
    settings = {"notebook-extension/tracker": {"windowingMode": "none"},
                "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}  # fmt: skip
    for name, values in settings.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, env = secrets.token_hex(16), dict(os.environ)
    for name in ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME"):
        env[f"{name}_DIR"] = str(home / name.lower())
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_TOKEN": token,
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "LANDMARK_QUICK": "1", "LANDMARK_DATA": str(ROOT / "data"), "LANDMARK_RUNS": str(ROOT / "runs"),
            "LANDMARK_FIGURES": str(home / "figures"), "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])}  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={home / 'notebooks'}"]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            _wait_for(f"{address}/api/status?token={token}", server, home / "log")
            yield lambda name: f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?token={token}"
        finally:
            server.terminate()  # it ends its kernels on the way
            server.wait(60)


def _wait_for(address, server, log, seconds=300):
    """Until the server answers; its log when it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
