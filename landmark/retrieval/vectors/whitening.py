"""Vectors brought to a form in which cosines tell more: whitened as a whole, or within the landmarks."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark.evaluation.neighbours import unit
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

_BLOCK = 8192  # vectors that are whitened at a time
_LEARNT = 20_000  # images that whitening within landmarks is learnt from: more change it little, and take memory


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


@dataclass(frozen=True)
class WithinWhitening:
    """Whiten vectors by how photographs of one landmark differ: directions of such differences count less.

    x' = unit((S + μ I)^(-1/2) (x - m)) with S = Σ_i (x_i - m_c(i)) (x_i - m_c(i))ᵀ / n over the n images of landmarks
    that have two or more, m_c the mean of a landmark, and μ a share of the mean eigenvalue of S that is not 0. m is the
    mean of all images, C / (C + κ) of it for C landmarks: of few it is a landmark itself. Where there are very many
    images, S is that of some landmarks, evenly spread.

    Source: Hatch, Kajarekar & Stolcke, "Within-class covariance normalization for SVM-based speaker recognition", 2006;
    for image retrieval: Radenović, Tolias & Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018,
    section 3.5, with pairs in place of classes.
    """

    mean: np.ndarray  # m (D,) float32
    directions: np.ndarray  # (r, D) float32: eigenvectors of S
    gain: np.ndarray  # (r,) float32: by how much they are lowered, from -1 to 0

    @classmethod
    def fit(
        cls, vectors: np.ndarray, label: np.ndarray, share: float = 0.05, *, shrink: float = 0.0
    ) -> WithinWhitening:
        """Learn from vectors of labelled images; where no label has two images, only the mean is taken off.

        Args:
            vectors: (N, D).
            label: (N,) whole numbers.
            share: of the mean eigenvalue, above 0; the larger, the less is whitened.
            shrink: κ, the landmarks at 0 that the mean is drawn to.

        Raises:
            InputError: numbers that are not finite, labels that do not fit, or no share.

        >>> within = WithinWhitening.fit(np.array([[0.0, 2], [0, -2], [1, 2], [1, -2]]), np.array([7, 7, 8, 8]))
        >>> print(within(np.array([[0.0, 1], [1, 1]])).round(2))  # the second number tells nothing of 7 and 8
        [[-0.92  0.4 ]
         [ 0.92  0.4 ]]
        """
        vectors, label = np.asarray(vectors, np.float32), np.asarray(label)
        if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
            raise InputError(f"vectors {vectors.shape}: expected finite ones (N, D), and one at least")
        if label.shape != vectors.shape[:1]:
            raise InputError(f"{len(label)} labels of {len(vectors)} vectors: give one for each")
        if not share > 0:
            raise InputError(f"share={share}: give a number above 0")
        classes, inverse, count = np.unique(label, return_inverse=True, return_counts=True)
        means = np.zeros((len(classes), vectors.shape[1]))
        np.add.at(means, inverse, vectors)
        means = (means / count[:, None]).astype(np.float32)
        several = np.flatnonzero(count > 1)
        learnt = several[:: -(-int(count[several].sum()) // _LEARNT) or 1]
        rest = np.flatnonzero(np.isin(inverse, learnt))
        apart = vectors[rest] - means[inverse[rest]]  # (n, D)
        mean = vectors.mean(0, dtype=np.float64) * len(classes) / (len(classes) + shrink)
        directions, gain = np.zeros((0, vectors.shape[1])), np.zeros(0)
        if apart.any():
            from sklearn.decomposition import PCA  # half a second to import

            solver = "full" if len(apart) < apart.shape[1] else "covariance_eigh"  # both exact, and draw no numbers
            pca = PCA(svd_solver=solver).fit(apart.astype(np.float64))
            value = pca.explained_variance_  # of S but for n / (n - 1), which a share does not see
            kept = value > 1e-6 * value[0]
            directions, value = pca.components_[kept], value[kept]
            floor = share * value.mean()
            gain = np.sqrt(floor / (value + floor)) - 1
        return cls(*(part.astype(np.float32) for part in (mean, directions, gain)))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Whiten vectors (N, D): vectors (N, D) of length 1."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise InputError(f"vectors {vectors.shape}: whitening was learnt on (N, {len(self.mean)})")
        white = np.empty_like(vectors)
        for start in range(0, len(vectors), _BLOCK):  # a large index has no room for what lies between
            centred = vectors[start : start + _BLOCK] - self.mean
            white[start : start + _BLOCK] = unit(
                centred + ((centred @ self.directions.T) * self.gain) @ self.directions
            )
        return white
