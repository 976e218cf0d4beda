"""Load the public names of a package when one is first asked for."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def lazy(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose `__init__.py` only re-exports.

    Its names stand once, in ordinary imports under `if TYPE_CHECKING:`, where editors and type checkers see them. They
    are read from there, so that importing the package loads none of its files.

    Args:
        package: its `__name__`.
        file: its `__file__`.

    >>> from landmark import evaluation
    >>> "predict" in dir(evaluation), evaluation.auroc.__module__
    (True, 'landmark.evaluation.metrics')
    """
    blocks = [node for node in ast.parse(Path(file).read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    lines = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.name: line.module or "" for line in lines for alias in line.names}

    def load(name: str) -> object:
        """A public name, from its file."""
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return load, lambda: sorted(homes)
