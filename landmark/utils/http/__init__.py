"""Files from web servers, whole and right or not at all.

fetch  One file over HTTP: resumed where it was cut, checked, and under its name only when whole and right.
web    Questions to a web server: retried within bounds, never in the clear where https was asked for.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.utils.http.web import Web

__all__ = ["Web"]

__getattr__, __dir__ = lazy(__name__, __file__)
