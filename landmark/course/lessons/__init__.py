"""What single notebooks measure.

arithmetic  Measure what cheaper arithmetic does to a network's answers.
fall        The mistakes of 2019 measured: each alone, and all that flatter together.
floor       A floor under all networks: what colours alone answer.
heads       Heads on the features of a frozen network: trained in seconds, asked about the course's test set.
layers      Measure layers at work: sizes and gradients of stages, sketch errors, attention maps.
mistakes    The wrong ways of 2019, one function each, for teaching alone.
resuming    Kill a run on the way, go on with it, and compare it with one that ran through.
speed       Measure and predict speed: images a second, hours at full scale, how well an order mixes.
steps       The same network from the paper's way of measuring to the organisers', a change at a time.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.lessons.arithmetic import precision_table
    from landmark.course.lessons.fall import leak_table, mistakes_table
    from landmark.course.lessons.floor import colour_answers, colour_vectors
    from landmark.course.lessons.heads import FrozenFeatures, frozen_features, logits_of, train_head
    from landmark.course.lessons.layers import (
        attention_layer,
        effective_positions,
        frozen_stages,
        gradient_norms,
        self_attention_from,
        sketch_by_hand,
        sketch_errors,
        spatial_weights,
        stage_sizes,
    )
    from landmark.course.lessons.mistakes import (
        attention_on_vector,
        batched_gap,
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
    from landmark.course.lessons.resuming import killed_and_resumed
    from landmark.course.lessons.speed import (
        benchmark_table,
        full_scale_hours,
        throughput,
        training_rate,
        window_mixing,
    )
    from landmark.course.lessons.steps import fall_steps

__all__ = [
    "FrozenFeatures",
    "attention_layer",
    "attention_on_vector",
    "batched_gap",
    "benchmark_table",
    "colour_answers",
    "colour_vectors",
    "effective_positions",
    "fall_steps",
    "frozen_features",
    "frozen_stages",
    "full_scale_hours",
    "gap_by_rows",
    "gap_of_many",
    "gradient_norms",
    "imagenet_input",
    "killed_and_resumed",
    "leak_table",
    "logits_of",
    "mean_batch_gap",
    "mistakes_table",
    "neighbours_instead",
    "only_known",
    "precision_sum",
    "precision_table",
    "self_attention_from",
    "sketch_by_hand",
    "sketch_errors",
    "sketch_of_pooled",
    "spatial_weights",
    "stage_sizes",
    "throughput",
    "train_head",
    "train_on_asked",
    "training_rate",
    "window_mixing",
    "without_relus",
]

__getattr__, __dir__ = lazy(__name__, __file__)
