"""The public face as a type checker sees it: lazy names have the types of what they load."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SNIPPET = """import landmark
landmark.TrainConfig(model="xception", epochs="six")
reveal_type(landmark.top1_accuracy)
landmark.no_such_name()
"""


def test_a_checker_sees_through_the_lazy_face(tmp_path):
    """Fails when a name of the face is `Any` or `object` to editors and checkers, as behind a plain `__getattr__`."""
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), str(tmp_path / "snippet.py")]  # shared with `make lint`
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    wrong, shown, absent = (line for line in lines if "snippet.py" in line)
    assert ":2: error:" in wrong and 'incompatible type "str"; expected "int' in wrong
    assert ":3: note:" in shown and "def (predictions:" in shown and shown.endswith('-> float"')
    assert ":4: error:" in absent and "not callable" in absent
