"""What single notebooks measure.

arithmetic  Measure what cheaper arithmetic does to a network's answers.
layers      Measure layers at work: sizes and gradients of stages, sketch errors, attention maps.
resuming    Kill a run on the way, go on with it, and compare it with one that ran through.
speed       Measure and predict speed: images a second, hours at full scale, how well an order mixes.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.lessons.arithmetic import precision_table
    from landmark.course.lessons.layers import (
        attention_layer,
        frozen_stages,
        gradient_norms,
        self_attention_from,
        sketch_by_hand,
        sketch_errors,
        spatial_weights,
        stage_sizes,
    )
    from landmark.course.lessons.resuming import killed_and_resumed
    from landmark.course.lessons.speed import (
        benchmark_table,
        full_scale_hours,
        throughput,
        training_rate,
        window_mixing,
    )

__all__ = [
    "attention_layer",
    "benchmark_table",
    "frozen_stages",
    "full_scale_hours",
    "gradient_norms",
    "killed_and_resumed",
    "precision_table",
    "self_attention_from",
    "sketch_by_hand",
    "sketch_errors",
    "spatial_weights",
    "stage_sizes",
    "throughput",
    "training_rate",
    "window_mixing",
]

__getattr__, __dir__ = lazy(__name__, __file__)
