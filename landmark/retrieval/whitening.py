"""Vectors whose numbers are uncorrelated and of one size, by principal components."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark.evaluation.neighbours import unit
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path


@dataclass(frozen=True)
class Whitening:
    """Whiten vectors: unit(P (x - m)), P the first principal components, each divided by its standard deviation.

    Source: Jégou & Chum, "Negative evidences and co-occurences in image retrieval", 2012, section 3.
    """

    mean: np.ndarray  # (D,) float32
    matrix: np.ndarray  # (dim, D) float32

    @classmethod
    def fit(cls, vectors: np.ndarray, dim: int) -> Whitening:
        """Learn from vectors, of other images than those that are to be told apart.

        Args:
            vectors: (N, D).
            dim: components of the result, at most D and N - 1.

        Raises:
            InputError: more components than the vectors spread in, or numbers that are not finite.

        >>> Whitening.fit(np.random.default_rng(0).normal(size=(20, 5)), 3)(np.ones((2, 5))).shape
        (2, 3)
        """
        vectors = np.asarray(vectors, np.float64)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise InputError(f"vectors {vectors.shape}: expected finite ones (N, D)")
        most = min(len(vectors) - 1, vectors.shape[1])
        if not 1 <= dim <= most:
            raise InputError(
                f"dim={dim} of {len(vectors)} vectors of {vectors.shape[1]}: give a number from 1 to {most}"
            )
        from sklearn.decomposition import PCA  # half a second to import

        pca = PCA(dim, whiten=True, svd_solver="covariance_eigh").fit(vectors)  # exact, and draws no numbers
        spread = np.sqrt(pca.explained_variance_)
        rank = int((spread > 1e-6 * spread[0]).sum())
        if rank < dim:
            raise InputError(f"dim={dim}: the vectors spread in {rank} directions only: give {rank} or fewer")
        matrix = pca.components_ / spread[:, None]
        return cls(pca.mean_.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Whiten vectors (N, D): vectors (N, dim) of length 1."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise InputError(f"vectors {vectors.shape}: whitening was learnt on (N, {len(self.mean)})")
        return unit((vectors - self.mean) @ self.matrix.T)

    def save(self, path: str | Path) -> None:
        """Write it to an `.npz` file, whole or not at all."""
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, mean=self.mean, matrix=self.matrix)

    @classmethod
    def load(cls, path: str | Path) -> Whitening:
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(stored["mean"], stored["matrix"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0][:120]
            raise InputError(f"{path}: no whitening that can be read ({reason}): fit it again") from None
