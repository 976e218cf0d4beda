"""The miniature world: photographs of invented landmarks, made from a seed.

civic        Castles, bridges, gates, palaces, monuments. Each takes random numbers.
config       The settings of a miniature world, checked when they are made.
distractors  Photographs that show no landmark.
landmarks    Invented landmarks.
make         Make the miniature world: photographs of invented landmarks in the layout of Google Landmarks v2.
photographs  Photographs of invented landmarks, and the bytes of each planned file.
plan         Plan a miniature world: every file of it before any is made, its faults and its test set.
scenery      What surrounds a subject.
worship      Buildings of worship and their towers. Each takes random numbers.
render       Draw the world: surfaces, shapes, flat pictures, and the camera that sees them.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.world.config import WorldConfig
    from landmark.world.distractors import distractor
    from landmark.world.landmarks import design
    from landmark.world.make import make_world
    from landmark.world.photographs import photograph

__all__ = ["WorldConfig", "design", "distractor", "make_world", "photograph"]

__getattr__, __dir__ = lazy(__name__, __file__)
