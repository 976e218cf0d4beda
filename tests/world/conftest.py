"""What the tests of invented buildings share."""

import numpy as np
import pytest


@pytest.fixture
def stands():
    """A check of one kind of building: on the ground, finite, of a size one can believe, its hall inside its plan."""

    def check(kind):
        meshes = []
        for seed in range(6):
            mesh, hall = kind(np.random.default_rng(seed))
            meshes.append(mesh)
            assert np.isfinite(mesh.points).all() and np.isfinite(mesh.repeats).all() and (mesh.repeats > 0).all()
            assert -0.5 < mesh.points[..., 2].min() < 0.6 and 5 < mesh.points[..., 2].max() < 150
            width, depth, height = np.ptp(mesh.points.reshape(-1, 3), axis=0)
            assert max(width, depth) < 120 and min(width, depth) > 2
            if hall is not None:
                assert min(hall) > 0 and hall[2] <= height, "a hall higher than its house"
            again, _ = kind(np.random.default_rng(seed))
            assert again.points.tobytes() == mesh.points.tobytes()
        assert len({mesh.points.tobytes() for mesh in meshes}) == 6, "siblings must differ"
        return meshes

    return check
