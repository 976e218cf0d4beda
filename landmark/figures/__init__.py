"""Arrays become figures.

dataset     Draw a data set: sizes of its classes, what a filter keeps, how well an order mixes.
evaluation  Draw evaluations: values with intervals, GAP against distractors, risk, reliability, OSCR.
mechanisms  Draw how the layers work: separable convolution, residual block, count sketch, attention of both kinds.
networks    Draw networks and their evaluation: the pen and the boxes, rows of tensors, closed against open.
pictures    Draw pictures: contact sheets, saliency and attention laid over them, nearest neighbours.
save        Save figures: one name pattern, small files, the same bytes from the same figure.
scores      Draw scores: GAP step by step, over batches and in falling steps, curves of deletion, errors of a sketch.
style       Share one style among all figures: colours, fonts, canvas, labels in any script.
training    Draw networks that learn: curves, parameters and gradients of each stage, images a second.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.figures.dataset import class_sizes, filter_curve, window_mixing
    from landmark.figures.evaluation import (
        gap_by_share,
        gap_table,
        interval_bars,
        oscr_curves,
        reliability_diagram,
        risk_curves,
    )
    from landmark.figures.mechanisms import (
        count_sketch_steps,
        depthwise_separable,
        residual_block,
        self_attention_flow,
        spatial_attention_flow,
    )
    from landmark.figures.networks import architecture, evaluation_flow
    from landmark.figures.pictures import attention_maps, image_grid, nearest_neighbours, saliency_panels
    from landmark.figures.save import save_figure
    from landmark.figures.scores import (
        answered_bars,
        batch_gap_noise,
        deletion_curves,
        gap_walk,
        open_world,
        sketch_error,
        waterfall,
    )
    from landmark.figures.training import gradient_flow, learning_curves, number_curves, parameter_bars, throughput_bars

__all__ = [
    "answered_bars",
    "architecture",
    "attention_maps",
    "batch_gap_noise",
    "class_sizes",
    "count_sketch_steps",
    "deletion_curves",
    "depthwise_separable",
    "evaluation_flow",
    "filter_curve",
    "gap_by_share",
    "gap_table",
    "gap_walk",
    "gradient_flow",
    "image_grid",
    "interval_bars",
    "learning_curves",
    "nearest_neighbours",
    "number_curves",
    "open_world",
    "oscr_curves",
    "parameter_bars",
    "reliability_diagram",
    "residual_block",
    "risk_curves",
    "saliency_panels",
    "save_figure",
    "self_attention_flow",
    "sketch_error",
    "spatial_attention_flow",
    "throughput_bars",
    "waterfall",
    "window_mixing",
]

__getattr__, __dir__ = lazy(__name__, __file__)
