"""Recipes: named lists of parts, each a step of how a test set is answered, and the weights of the parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landmark.retrieval.config import LOCAL
from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting

PARTS = {
    "softmax": "the classifier: alone its own answers, beside `nearest` what it thinks of them",
    "crops": "the classifier votes over views of an image",
    "nearest": "the landmark of the nearest train image of all of train.csv, by cosine",
    "whiten": "embeddings whitened within landmarks: how photographs of one of them differ counts less",
    "expand": "queries moved towards their nearest train images",
    "vote": "a soft vote of several neighbours in place of the nearest one",
    "margin": "the second landmark's score counts against the first one's",
    "penalty": "likeness to images without a landmark counts against query and train image",
    "local": "inliers of local features, of XFeat or SIFT",
    "delf": "inliers of local features of the first network's own, where it attends",
    "centres": "the cosine to the centre of the answered landmark",
    "company": "the scores of the nearest other queries, test to test",
    "overuse": "answers that are given too often count less",
}
"""Parts by name, in the order in which they are applied; the order in a recipe does not matter."""

RECIPES: dict[str, tuple[str, ...]] = {
    "paper": ("softmax",),
    "xception_gem": ("softmax", "crops"),
    "nearest": ("nearest",),
    "gem_knn": ("nearest", "vote"),
    "delf": ("nearest", "vote", "delf"),
    "sirius": ("nearest", "vote", "penalty", "delf"),
    "light": ("nearest", "whiten", "vote", "penalty"),
    "best": ("nearest", "whiten", "vote", "penalty", "local"),
}
"""Recipes by name. `xception_gem` is the vote of the 2018 entry, for runs of the model of that name. `sirius` is
a reconstruction of that year's second place from the one paragraph of the paper on it, for two runs together:
`resnet50_cbp_spatial_map` and `vgg16_cbp_spatial_map`, attentive bilinear networks; their joined embeddings vote, with
pruning by images without a landmark, and are re-ranked by local features of the first. Its attention has no
parameters, where theirs learnt from marked images. `light` is what `fit_recipe` took at 90 % distractors, of parts that
add .005 or more, on two whole worlds of other landmarks that nothing is reported on (seeds 501 and 502, 1,600 test
images each); `best` adds local features, which gain .012 there with five neighbours compared, see docs/systems.md."""


@documented
@dataclass(frozen=True)
class PartWeights:
    """How much each part of a recipe does; those of the search itself are in `SearchConfig`.

    whiten and penalty did best on the dev worlds of the recipes, see `RECIPES`; softmax, centres, company and overuse
    on earlier ones, each added to a vote with a margin; expand and alpha are to start from.

    {settings}

    Raises:
        InputError: a value that cannot be meant.
    """

    whiten: float = setting(0.05, "floor of the whitening, as a share of the mean eigenvalue", above=0)
    penalty: float = setting(0.5, "weight of the likeness to images without a landmark", least=0, most=2)
    expand: int = setting(3, "train images that a query moves towards", least=1, most=100)
    alpha: float = setting(3.0, "power of the cosine by which they count", least=0, most=100)
    softmax: float = setting(0.25, "weight of the classifier's probability, where it agrees", least=0)
    centres: float = setting(1.0, "weight of the cosine to the centre of the answer", least=0)
    company: float = setting(0.5, "share of the company's score", least=0, most=1)
    overuse: float = setting(0.1, "taken off for each e-fold that an answer is given too often", least=0)
    local: str = setting("sift", "local features of the part `local`, by name")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.local not in LOCAL[:-1]:
            raise InputError(f"no local features {self.local!r}: choose one of {', '.join(LOCAL[:-1])}")


def parts_of(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """List the parts of a recipe, in the order in which they are applied.

    Args:
        recipe: a name, or parts.

    Raises:
        InputError: no such recipe or part, or parts that need `nearest` without it.

    >>> parts_of("gem_knn"), parts_of(["margin", "nearest"])
    (('nearest', 'vote'), ('nearest', 'margin'))
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise InputError(f"no recipe {recipe!r}: choose one of {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    unknown = [part for part in recipe if part not in PARTS]
    if unknown or not recipe:
        raise InputError(f"parts {', '.join(map(str, unknown)) or 'none'}: choose of {', '.join(PARTS)}")
    if {"local", "delf"} <= set(recipe):
        raise InputError("parts local, delf: either is a count of inliers: name one")
    if "crops" in recipe and "softmax" not in recipe:
        raise InputError(f"parts {', '.join(recipe)}: crops are the classifier's: add softmax")
    if "nearest" not in recipe and not set(recipe) <= {"softmax", "crops"}:
        raise InputError(f"parts {', '.join(recipe)}: they rest on neighbours: add nearest")
    return tuple(part for part in PARTS if part in recipe)
