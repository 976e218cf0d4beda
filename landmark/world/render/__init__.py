"""Draw the world: surfaces, shapes, flat pictures, and the camera that sees them.

camera     See the world from a place: a pinhole camera.
materials  Procedural surfaces: periodic noise and the textures of walls, windows, roofs, columns and floors.
renderer   Draw a scene in software: light, cast shadows, textured polygons in a depth buffer.
shapes     Building blocks in metres, standing on z = 0 around the origin.
sprites    Flat pictures that stand upright in a scene.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.world.render.camera import Camera
    from landmark.world.render.materials import Material
    from landmark.world.render.renderer import Frame, Light, Mesh, Textures

__all__ = ["Camera", "Frame", "Light", "Material", "Mesh", "Textures"]

__getattr__, __dir__ = lazy(__name__, __file__)
