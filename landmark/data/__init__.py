"""A folder in the GLDv2 layout becomes batches.

archives    Images of one split of a GLDv2 folder, from a folder tree, from TARs that are never unpacked.
csv         CSV files of the layout, strictly or fast.
dataset     Images of a table, decoded, transformed and stacked; a bad one stands beside the batch, never in it.
folder      A folder in the Google Landmarks v2 layout: its tables, and the classes of its labels.
images      Image files: where they lie, what they are made of, and the one decoder that every path uses.
loader      Batches in an order that follows from (seed, epoch), a few TARs at a time; bad images set apart.
tables      Read the Google Landmarks v2 tables: an id is a string, always.
tar_index   Where the images of a TAR lie: read from its headers once, then kept beside the data.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.data.archives import ImageStore, open_images
    from landmark.data.csv.attribution import credit_lines, read_attribution
    from landmark.data.dataset import Bad, Batch, LandmarkDataset, Sample, eval_transform, train_transform
    from landmark.data.folder import GoogleLandmarks, LabelMap
    from landmark.data.images import image_path, read_image
    from landmark.data.loader import WINDOW, EpochSampler, Quarantine, make_loader, mixing, shuffled
    from landmark.data.tables import (
        filter_min_images,
        label_names,
        read_categories,
        read_clean,
        read_hierarchy,
        read_solution,
        read_test,
        read_train,
    )

__all__ = [
    "Bad",
    "Batch",
    "EpochSampler",
    "GoogleLandmarks",
    "ImageStore",
    "LabelMap",
    "LandmarkDataset",
    "Quarantine",
    "Sample",
    "WINDOW",
    "credit_lines",
    "eval_transform",
    "filter_min_images",
    "image_path",
    "label_names",
    "make_loader",
    "mixing",
    "open_images",
    "read_attribution",
    "read_categories",
    "read_clean",
    "read_hierarchy",
    "read_image",
    "read_solution",
    "read_test",
    "read_train",
    "shuffled",
    "train_transform",
]

__getattr__, __dir__ = lazy(__name__, __file__)
