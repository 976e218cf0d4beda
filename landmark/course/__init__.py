"""What the notebooks run and measure.

ablation    One thing at a time is changed against a base, over seeds, on the same images.
answers     What runs answer about a test set, as the metrics want it.
demo        Let the published run answer three pictures: a first result in a minute.
drive       Keep runs on a mounted drive, on a machine that is lent for an hour.
explorer    A picture that a reader redraws with sliders and menus, and that stays a picture where there is no kernel.
pretraining Train a backbone on a disjoint miniature world, and store it as the weights that stand in for ImageNet's.
runs        The course: its data, its runs and its tables, in three sizes (quick, miniature, the real data set).
samples     Pictures, names and batches for a notebook to look at.
tables      The tables of the course: scores of its runs over seeds, with intervals, beside those of the paper.
together    Train several runs, on a CPU as many at a time as it has cores.
lessons     What single notebooks measure.
judging     Judge what was trained: evaluate it, choose a rule of confidence elsewhere, grade a reader's answers.
retrieving  Retrieval in the course: recipes, the ladder of their parts, a query on its way.
bench       How fast this project is, beside a plain way, in the same run.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.ablation.study import ablate
    from landmark.course.answers import answers_table, test_answers, test_predictions, truth_of
    from landmark.course.bench.speed import bench_train
    from landmark.course.demo import demo_answers, demo_photographs, demo_scores, published_run
    from landmark.course.drive import keep_on_drive
    from landmark.course.explorer import Explorer
    from landmark.course.judging.evaluate import evaluate_runs
    from landmark.course.judging.fitted import fit_rules
    from landmark.course.judging.grade import grade_submission
    from landmark.course.judging.queries import dev_worlds, hidden_world
    from landmark.course.judging.rules import rules_table
    from landmark.course.lessons.arithmetic import precision_table
    from landmark.course.lessons.fall import leak_table, mistakes_table
    from landmark.course.lessons.floor import colour_answers
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
        mean_batch_gap,
        only_known,
        precision_sum,
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
    from landmark.course.retrieving.answering import submit_recipe
    from landmark.course.retrieving.ladder import contributions, recipe_ladder
    from landmark.course.retrieving.material import sample_queries
    from landmark.course.retrieving.recipes import PARTS, RECIPES
    from landmark.course.retrieving.searchbox import SearchBox
    from landmark.course.retrieving.systems import systems_table
    from landmark.course.retrieving.walk import Walk
    from landmark.course.runs import (
        FEATURES,
        NETWORKS,
        course_config,
        course_data,
        course_mirror,
        course_run,
        course_runs,
        course_split,
        min_images,
        mode,
        real_config,
        scratch,
        seeds,
        trained,
    )
    from landmark.course.samples import (
        batch_of,
        copy_photographs,
        empty_rows,
        known_rows,
        names_of,
        pictures,
        planted_faults,
        right_rows,
        sample_rows,
        squares,
    )
    from landmark.course.tables import (
        PAPER,
        compare_runs,
        course_evaluation,
        dev_table,
        distractor_curves,
        distractor_table,
        learning_tables,
        paired_differences,
        score_table,
    )
    from landmark.evaluation.label_errors import detector_scores
    from landmark.prepare.sources import gldv2, landmarks50
    from landmark.prepare.subsets.gld23k import fetch_gld23k
    from landmark.utils.device import device, fast_dtype
    from landmark.utils.files import quick, runs_root

__all__ = [
    "Explorer",
    "FEATURES",
    "NETWORKS",
    "PAPER",
    "PARTS",
    "RECIPES",
    "SearchBox",
    "Walk",
    "ablate",
    "answers_table",
    "attention_layer",
    "attention_on_vector",
    "batch_of",
    "batched_gap",
    "bench_train",
    "benchmark_table",
    "colour_answers",
    "compare_runs",
    "contributions",
    "copy_photographs",
    "course_config",
    "course_data",
    "course_evaluation",
    "course_mirror",
    "course_run",
    "course_runs",
    "course_split",
    "demo_answers",
    "demo_photographs",
    "demo_scores",
    "detector_scores",
    "dev_table",
    "dev_worlds",
    "device",
    "distractor_curves",
    "distractor_table",
    "effective_positions",
    "empty_rows",
    "evaluate_runs",
    "fall_steps",
    "fast_dtype",
    "fetch_gld23k",
    "fit_rules",
    "frozen_stages",
    "full_scale_hours",
    "gap_by_rows",
    "gldv2",
    "grade_submission",
    "gradient_norms",
    "hidden_world",
    "keep_on_drive",
    "killed_and_resumed",
    "known_rows",
    "landmarks50",
    "leak_table",
    "learning_tables",
    "mean_batch_gap",
    "min_images",
    "mistakes_table",
    "mode",
    "names_of",
    "only_known",
    "paired_differences",
    "pictures",
    "planted_faults",
    "precision_sum",
    "precision_table",
    "published_run",
    "quick",
    "real_config",
    "recipe_ladder",
    "right_rows",
    "rules_table",
    "runs_root",
    "sample_queries",
    "sample_rows",
    "score_table",
    "scratch",
    "seeds",
    "self_attention_from",
    "sketch_by_hand",
    "sketch_errors",
    "spatial_weights",
    "squares",
    "stage_sizes",
    "submit_recipe",
    "systems_table",
    "test_answers",
    "test_predictions",
    "throughput",
    "trained",
    "training_rate",
    "truth_of",
    "window_mixing",
]

__getattr__, __dir__ = lazy(__name__, __file__)
