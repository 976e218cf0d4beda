"""Public names that load when they are first asked for, in a package of its own."""

import sys

import pytest

FACE = '''"""A face."""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:
    from {name}.heavy import Zebra, apple
    from {name}.light import Moss

__all__ = ["Moss", "Zebra", "apple"]

__getattr__, __dir__ = lazy(__name__, __file__)
'''


@pytest.fixture
def face(tmp_path, monkeypatch):
    name = f"face_of_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(FACE.format(name=name))
    (tmp_path / name / "heavy.py").write_text("Zebra, apple = 1, 2\n")
    (tmp_path / name / "light.py").write_text("import no_such_library\nMoss = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[module]


def test_a_name_loads_its_own_file_and_no_other(face):
    """Fails when importing a package loads its files, or asking for one name loads the file of another."""
    loaded = {m for m in sys.modules if m.startswith(face.__name__)}
    assert loaded == {face.__name__}
    assert (face.Zebra, face.apple) == (1, 2)
    assert f"{face.__name__}.light" not in sys.modules


def test_tab_shows_the_public_names_alone(face):
    """Fails when completion shows what the face itself imports, or not what it has not loaded yet."""
    assert dir(face) == ["Moss", "Zebra", "apple"] == face.__all__


def test_what_is_not_there(face):
    """Fails when a wrong name is None, an error without the name, or hides that a library of its file is missing."""
    with pytest.raises(AttributeError, match=f"module '{face.__name__}' has no attribute 'nothing'"):
        _ = face.nothing
    assert not hasattr(face, "lazy_load") and getattr(face, "other", 7) == 7
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        _ = face.Moss
