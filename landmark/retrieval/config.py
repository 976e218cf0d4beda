"""Settings of a search. Nothing here needs torch or NumPy, so that a wrong one is refused at once."""

from __future__ import annotations

from dataclasses import dataclass

from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting

LOCAL = ("xfeat", "lighterglue", "sift", "delf", "none")  # local features by name
GEOMETRIES = ("fundamental", "homography")


@documented
@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search: what it answers, and how sure it must be; see `recognise.Searcher`.

    The defaults were fitted one after the other by `course.retrieving.fitting.fit_search` on two miniature worlds that
    nothing else is reported on (seeds 301 and 302: 20 landmarks, 6 images of each, 800 px, 90 queries a world), as open
    GAP of the two worlds together. Of `side` and `likeness` those are taken that did best with XFeat; all others did
    best with XFeat and with SIFT. With DELF, fitted at 480 pixels, tolerance, likeness and enough came out the same.
    `whiten` was fitted last: it takes open GAP from .722 to .769 with SIFT, from .758 to .812 with XFeat (.002 below
    the best floor) and from .685 to .758 without local features. The others were left then: a second round would have
    gained .004 with XFeat and .003 with SIFT. What the images are looked at with, `embed.search_embedder`, was chosen
    after that and adds to all three.

    {settings}

    Raises:
        InputError: a value that cannot be meant.
    """

    whiten: float = setting(
        0.5, "floor of whitening within landmarks, in mean variances: the higher, the weaker; 0 for none", least=0
    )
    neighbours: int = setting(3, "that vote", least=1, most=1000)
    temperature: float = setting(0.07, "of the vote; the smaller, the more the nearest one decides", least=0.01)
    rerank: int = setting(
        50, "nearest images whose local features are compared; as many as time allows", least=1, most=1000
    )
    side: int = setting(480, "pixels of the longer side of what local features look at", least=32, most=4096)
    likeness: float = setting(0.7, "least cosine of two points that match (xfeat, delf)", least=-1, most=1)
    geometry: str = setting("homography", "of the matches: fundamental (matrix) or homography")
    tolerance: float = setting(2.0, "pixels by which a match may miss the geometry", above=0, most=100)
    enough: int = setting(100, "inliers that count as much as a cosine of 1; more say nothing new", least=1)
    margin: float = setting(0.25, "share of the second landmark's score that the first one's is lowered by", least=0)
    penalty: float = setting(
        0.25, "weight of the likeness to images without a landmark, where there are", least=0, most=2
    )
    precision: float = setting(0.9, "wanted of the answers; below its threshold it is none of these", above=0, most=1)
    threshold: float | None = setting(
        None, "of the score (its scale goes with --local), in place of that for the precision"
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.geometry not in GEOMETRIES:
            raise InputError(f"no geometry {self.geometry!r}: choose one of {', '.join(GEOMETRIES)}")
