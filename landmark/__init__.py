"""Landmark recognition: models, honest scores and a miniature world to learn them on.

The names below are loaded from their modules when first asked for, so that `import landmark` stays light.
"""

from importlib import import_module

from landmark.process import settle_threads

_HOME = {
    "config": "TrainConfig WorldConfig",
    "data": "GoogleLandmarks",
    "experiments": "batch_of course_config course_data course_mirror course_run course_split dev_table learning_tables "
    "min_images miniature_weights more_queries names_of paired_differences pictures planted_faults real_config "
    "sample_rows score_table scratch squares test_answers test_predictions test_scores truth_of",
    "distributed": "launch",
    "figures": "save_figure",
    "metrics": "auroc gap_steps global_average_precision",
    "models": "create_model",
    "precision": "precision_table training_table",
    "recipes": "list_models",
    "runs": "Run open_run",
    "runtime": "InputError describe seed_everything",
    "studies": "benchmark_table full_scale_hours killed_and_resumed training_rate window_mixing",
    "synthetic": "make_world",
    "training": "fit",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(_MODULE)

settle_threads()  # torch, which is not loaded yet, asks once


def __getattr__(name: str) -> object:
    """A public name, from its module."""
    if name not in _MODULE:
        raise AttributeError(f"module 'landmark' has no attribute {name!r}")
    return getattr(import_module(f"landmark.{_MODULE[name]}"), name)
