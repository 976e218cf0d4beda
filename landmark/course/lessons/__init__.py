"""Lessons from 2019: what went wrong, each switched on alone and measured.

fall      The mistakes of 2019 measured: each alone, and all that flatter together.
heads     Heads on the features of a frozen network: trained in seconds, asked about the course's test set.
mistakes  The wrong ways of 2019, one function each, for teaching alone.
steps     The same network from the paper's way of measuring to the organisers', a change at a time.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.lessons.fall import leak_table, mistakes_table
    from landmark.course.lessons.heads import FrozenFeatures, frozen_features, logits_of, train_head
    from landmark.course.lessons.mistakes import (
        attention_on_vector,
        gap_by_rows,
        gap_of_many,
        imagenet_input,
        mean_batch_gap,
        neighbours_instead,
        only_known,
        precision_sum,
        sketch_of_pooled,
        train_on_asked,
        without_relus,
    )
    from landmark.course.lessons.steps import fall_steps

__all__ = [
    "FrozenFeatures",
    "attention_on_vector",
    "fall_steps",
    "frozen_features",
    "gap_by_rows",
    "gap_of_many",
    "imagenet_input",
    "leak_table",
    "logits_of",
    "mean_batch_gap",
    "mistakes_table",
    "neighbours_instead",
    "only_known",
    "precision_sum",
    "sketch_of_pooled",
    "train_head",
    "train_on_asked",
    "without_relus",
]

__getattr__, __dir__ = lazy(__name__, __file__)
