"""What the library says: silent by itself, shown plainly to those who ask."""

import subprocess
import sys

CODE = """
import logging, sys
import landmark
from landmark.utils.log import show_log
log = logging.getLogger("landmark.prepare.download")
log.warning("silence")
logging.basicConfig(format="root %(message)s")  # as some notebooks have it
for _ in range(2):
    show_log()
log.info("news of %s", 3)
log.warning("careful")
log.debug("detail")
"""


def test_messages_alone_each_in_its_stream_and_once():
    """Fails when a script that did not ask reads warnings, or what is shown has a prefix, comes twice or in the other stream."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("news of 3\n", "careful\n")
