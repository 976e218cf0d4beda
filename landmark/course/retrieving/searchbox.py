"""A box that takes photographs from a reader's own disk and answers them below."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from landmark.course.explorer import still_and_live
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import search_embedder
from landmark.retrieval.gallery import Photos, open_gallery, open_photos
from landmark.retrieval.local.features import create_local
from landmark.retrieval.recognise import Searcher
from landmark.retrieval.sheet import describe_findings, draw_sheet, summarise_findings
from landmark.utils.errors import ImageError, InputError, file_errors

AT_ONCE = "10 MB"  # in one message: what is more never reaches a kernel, unless its Jupyter server is told to take it


class SearchBox:
    """Answer photographs that a reader uploads as `landmark search` answers files: a line for each, and the sheet.

    In a notebook that runs it is a button with the answers below it. On a rendered page, and where ipywidgets is not
    installed, the answer to an example stands in its place. The vectors of the index are stored as the command stores
    them. Uploads lie in a temporary folder until they are answered, and nothing is stored about them.

    Attributes: `lines` and `sheet`, a JPEG, answer the photographs that were asked about last; `report` is what
    `landmark search --json` says of those that could be read.

    Args:
        index: folder of landmarks, see `open_gallery`.
        example: photograph that is answered before any is uploaded.
        features: network by name, with ImageNet's weights.
        local: local features that are compared: see `create_local`.

    Raises:
        InputError: a folder that is no index, an example that cannot be read, an unknown name.
    """

    def __init__(
        self, index: str | Path, example: str | Path, features: str = "efficientnet_lite0", local: str = "sift"
    ):
        gallery, photos = open_gallery(index), open_photos([example])
        embedder, config = search_embedder(features), SearchConfig()
        compared = create_local(local, embedder, gallery, config.side)
        self.searcher = Searcher(gallery, embedder, compared, config, progress=False)
        self.lines: list[str] = []
        self.report: dict[str, Any] = {}
        self.sheet = b""
        name = Path(example).name
        self._search(replace(photos, names=dict.fromkeys(photos.ids, name)))
        self.box = self._box(f"Choose photographs, at most {AT_ONCE} at a time. The picture answers {name}.")

    def _search(self, photos: Photos) -> None:
        """Answer photographs of which one or more can be read."""
        findings = self.searcher.search(photos)
        self.report = describe_findings(self.searcher, photos, findings)
        self.lines = summarise_findings(self.searcher, photos, findings)
        with tempfile.TemporaryDirectory(prefix="landmark-") as folder:
            self.sheet = draw_sheet(Path(folder, "sheet.jpg"), self.searcher, photos, findings).read_bytes()

    def answer(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Answer photographs that lie in memory; one that cannot be read has a line that says why.

        Args:
            files: name and content of each. A name and content that are given twice count once.
        """
        self.lines, self.report, self.sheet, bad = [], {}, b"", {}
        named = _told_apart(files)
        try:
            with file_errors(), tempfile.TemporaryDirectory(prefix="landmark-") as folder:
                paths = [Path(folder, str(i)) for i in range(len(named))]
                for path, content in zip(paths, named.values(), strict=True):
                    path.write_bytes(content)
                photos = open_photos(paths)
                photos = replace(photos, names=dict(zip(photos.ids, named, strict=True)))
                for image_id in photos.ids:
                    try:
                        photos.picture(image_id)
                    except ImageError as error:
                        bad[image_id] = f"{photos.name(image_id)}: {error.reason}: no answer"
                if readable := [image_id for image_id in photos.ids if image_id not in bad]:
                    self._search(replace(photos, ids=readable))
        except InputError as error:
            self.lines = [str(error)]
        self.lines = [*bad.values(), *self.lines]

    def _box(self, hint: str) -> Any:
        """Make the button above a hint or the answers; None, and a line that says so, without ipywidgets."""
        try:
            import ipywidgets
        except ImportError:
            print("photographs cannot be uploaded without ipywidgets: pip install ipywidgets")
            return None
        button = ipywidgets.FileUpload(
            accept="image/*", multiple=True, description="Upload photographs", layout={"width": "max-content"}
        )
        text = ipywidgets.HTML(_preformatted([hint]))
        look = {"max_width": "100%", "object_fit": "contain"}
        picture = ipywidgets.Image(value=self.sheet, format="jpeg", layout=look)

        def asked(change: Mapping) -> None:
            if files := _uploaded(change["new"]):
                text.value = _preformatted([f"searching with {len(files)} …"])
                self.answer(files)
                text.value = _preformatted(self.lines)
                picture.layout.display = None if self.sheet else "none"
                picture.value = self.sheet
                button.set_trait("value", type(change["new"])())  # else a saved page holds the photographs

        button.observe(asked, names="value")
        return ipywidgets.VBox([button, text, picture])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        """Offer the widget and, for a page without a kernel, the sheet."""
        alt = f"Queries, their nearest images and matches. {'; '.join(self.lines)}"
        return still_and_live("image/jpeg", self.sheet, "\n".join(self.lines), self.box), {"image/jpeg": {"alt": alt}}


def _uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Read names and contents from a FileUpload's value, which in ipywidgets 7, which Colab ships, is a dictionary."""
    pairs = value.items() if isinstance(value, Mapping) else ((file["name"], file) for file in value)
    return [(name, bytes(file["content"])) for name, file in pairs]


def _told_apart(files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Map name → content; another photograph of the same name, out of another folder, gets a number.

    >>> _told_apart([("a.jpg", b"1"), ("a.jpg", b"2"), ("a.jpg", b"1")])
    {'a.jpg': b'1', 'a.jpg (2)': b'2'}
    """
    named: dict[str, bytes] = {}
    for name, content in files:
        unique, count = name, 1
        while named.get(unique, content) != content:
            count += 1
            unique = f"{name} ({count})"
        named[unique] = content
    return named


def _preformatted(lines: list[str]) -> str:
    """Write lines as HTML; a file may have any name."""
    return f'<pre style="white-space: pre-wrap">{html.escape(chr(10).join(lines))}</pre>'
