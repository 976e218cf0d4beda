"""Ours in 8-bit integers beside well-kept libraries, in one run."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from landmark.course.bench.measure import Apart, check, conditions, ratio, short, spread
from landmark.course.bench.recipes import CLASSES, MODEL, STAGE
from landmark.models.folding import CACHE, SAMPLE, Features, Folded, fold_batch_norms
from landmark.models.frozen import stages_of
from landmark.models.int8 import check_int8, measure
from landmark.models.net import LandmarkNet, create_model
from landmark.utils.device import device

USES = ("predict", "frozen")  # images → logits, and images → the map that the learning stages are given
PORTION = 4  # images in a step of calibration
SECONDS = 1.0  # of a timing, at least

Compute = Callable[[Tensor], Tensor]  # images (B, 3, H, W) → map (B, C, H', W') in float32


def bench_integers(size: int = 80, batch_size: int = 16, repeats: int = 5, model: str = MODEL) -> dict:
    """Images a second of a network in 8-bit integers, of this project and of each library that is installed.

    Every way works in a process of its own with as many threads as torch takes. Prediction is the whole network, of
    which pooling and head stay in floating point; frozen are its stages up to `recipes.STAGE` (or `layer3`), from which
    a map in float32 comes out. Large batches are computed in the portions that suit a CPU's cache, in every way.

    Args:
        size: pixels of the network's input.
        batch_size: images in a step.
        repeats: timings of each way, interleaved.
        model: the recipe.

    Returns:
        For each use: `ratio` (our images a second to those of each other way, from pairs of neighbouring timings) and
        for each way `images_per_second`, `images_per_cpu_second` (which other work on the machine disturbs less),
        `seconds_to_prepare` (conversion, calibration and first batch) and `error` (of the result, relative to
        float32). `left_out` names the ways that lack a package, and it.

    Raises:
        InputError: the machine has no 8-bit integers.
    """
    check(size=size, batch_size=batch_size, repeats=repeats)
    check_int8(device())
    left_out = missing()
    names = [name for name in WAYS if name not in left_out]
    threads = torch.get_num_threads()
    result = conditions(size=size, batch_size=batch_size, repeats=repeats, threads=threads, model=model)
    result["left_out"] = left_out
    for use in USES:
        sides = {}
        clocks = "images_per_second", "images_per_cpu_second"
        rates: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in names} for clock in clocks}
        try:
            for name in tqdm(names, desc=f"prepare {use}", leave=False):
                sides[name] = Apart(_Side, name, use, model, size, batch_size)
                sides[name].ask(_prepared)  # one after the other: the time it takes is measured
            for name in tqdm(names * repeats, desc=f"measure {use}", leave=False):
                for clock, rate in zip(rates, sides[name].ask(_rate), strict=True):
                    rates[clock][name].append(rate)
            prepared = {name: sides[name].ask(_prepared) for name in names}
        finally:
            for side in sides.values():
                side.__exit__()
        result[use] = {
            "ratio": {n: {clock: ratio(rate["ours"], rate[n]) for clock, rate in rates.items()} for n in names[1:]}
        } | {name: prepared[name] | {clock: spread(rates[clock][name]) for clock in rates} for name in names}
    return result


def missing() -> dict[str, str]:
    """The ways that cannot be measured here, and the package that each lacks."""
    lacking = {}
    for name, (packages, _) in WAYS.items():
        absent = [package for package in packages if not _installed(package)]
        if absent:
            lacking[name] = f"needs {' and '.join(absent)}: pip install 'landmark[integers]'"
    return lacking


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


class Converted(nn.Module):
    """A network whose backbone is computed in one of the `WAYS`: images (B, 3, H, W) → logits (B, K).

    Args:
        model: left as it is.
        name: of the way.
        images: some images (B, 3, H, W) like those to come, `SAMPLE` are enough.
    """

    def __init__(self, model: LandmarkNet, name: str, images: Tensor):
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        with torch.no_grad():
            self.compute = WAYS[name][1](Features(self.model.backbone).eval(), images)

    def forward(self, x: Tensor) -> Tensor:
        """Images → logits."""
        return self.model.forward_head(in_portions(self.compute, x))


def in_portions(compute: Compute, x: Tensor) -> Tensor:
    """A batch computed so many images at a time that their maps fit in a CPU's cache."""
    return torch.cat([compute(part) for part in x.split(max(1, CACHE // (x.shape[2] * x.shape[3])))])


def of_ours(network: nn.Module, images: Tensor) -> Compute:
    """This project's integers, which are torch's."""
    return Folded(network, measure(fold_batch_norms(network), images)).forward_features


def of_floats(network: nn.Module, images: Tensor) -> Compute:
    """No integers: what this project does without them."""
    return Folded(network, None).forward_features


def of_openvino(network: nn.Module, images: Tensor) -> Compute:
    """OpenVINO, quantised by NNCF after training; like ours, the libraries leave room for sums in 16 bits."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    shape = [-1, *images.shape[1:]]
    floats = openvino.convert_model(network, example_input=images[:PORTION], input=shape)
    integers = nncf.quantize(
        floats, nncf.Dataset(images.split(PORTION), lambda part: part.numpy()),
        subset_size=len(images.split(PORTION)), preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )  # fmt: skip
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(integers, "CPU", settings)
    return lambda x: torch.from_numpy(compiled(x.contiguous().numpy())[0])


def of_onnxruntime(network: nn.Module, images: Tensor) -> Compute:
    """ONNX Runtime: bytes by signed bytes, one scale for each channel of the weights."""
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = iter(images.split(PORTION))

        def get_next(self) -> dict | None:
            part = next(self.parts, None)
            return None if part is None else {"x": part.numpy()}

    with tempfile.TemporaryDirectory() as scratch:
        plain, ready, integers = (Path(scratch) / f"{name}.onnx" for name in ("plain", "ready", "integers"))
        torch.onnx.export(
            network, (images[:PORTION],), plain, dynamo=True, external_data=False, verbose=False,
            input_names=["x"], dynamic_shapes=[{0: torch.export.Dim("batch")}],
        )  # fmt: skip
        quant_pre_process(plain, ready)
        quantization.quantize_static(
            ready, integers, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            reduce_range=True,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(integers, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.contiguous().numpy()})[0])


def of_torchao(network: nn.Module, images: Tensor) -> Compute:
    """torchao's quantisation of an exported graph, compiled by torch."""
    import torch._inductor.config
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    batch = [{0: torch.export.Dim("batch")}]
    exported = torch.export.export(network, (images[:PORTION],), dynamic_shapes=batch).module()
    settings = x86.get_default_x86_inductor_quantization_config(reduce_range=True)
    prepared = prepare_pt2e(exported, x86.X86InductorQuantizer().set_global(settings))
    for part in images.split(PORTION):
        prepared(part)
    converted = move_exported_model_to_eval(convert_pt2e(prepared))
    torch._inductor.config.freezing = True  # folds the weights, once
    compiled = torch.compile(converted)
    return lambda x: compiled(x)  # not a module: it knows no `eval`


# name: (packages it needs, what makes it of a network and calibration images); ours first
WAYS: dict[str, tuple[tuple[str, ...], Callable[[nn.Module, Tensor], Compute]]] = {
    "ours": ((), of_ours),
    "floats": ((), of_floats),
    "openvino": (("openvino", "nncf"), of_openvino),
    "onnxruntime": (("onnx", "onnxruntime", "onnxscript"), of_onnxruntime),
    "torchao": (("torchao",), of_torchao),
}


class _Side:
    """A use of a network in one way, ready to be timed."""

    def __init__(self, name: str, use: str, model: str, size: int, batch_size: int):
        noise = torch.Generator().manual_seed(0)
        images = torch.randn(SAMPLE + batch_size, 3, size, size, generator=noise)
        sample, self.batch = images[:SAMPLE], images[SAMPLE:]
        network = create_model(model, CLASSES)
        # Libraries print their progress, and stdout is the result's
        with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 1.0
            network.train()(sample)  # norms see the images, as in a network that has learnt
            network.eval().requires_grad_(False)
            prefix = stages_of(network.backbone, STAGE if network.backbone_name == "xception" else "layer3")[0].eval()
            exact = (network if use == "predict" else prefix)(self.batch)
            start = time.perf_counter()
            if use == "predict":
                self.run: Compute = Converted(network, name, sample)
            else:
                compute = WAYS[name][1](prefix, sample)
                self.run = lambda x: in_portions(compute, x)
            result = self.run(self.batch)
            self.prepared = {"seconds_to_prepare": short(time.perf_counter() - start),
                             "error": short(((result - exact).norm() / exact.norm()).item())}  # fmt: skip


def _prepared(side: _Side) -> dict[str, float]:
    return side.prepared


def _rate(side: _Side) -> tuple[float, float]:
    """Images a second, and a second of the processors' time, of whole batches for `SECONDS` or longer."""
    with torch.no_grad():
        side.run(side.batch)
        start, busy, done, spent = time.perf_counter(), time.process_time(), 0, 0.0
        while spent < SECONDS or not done:
            side.run(side.batch)
            done, spent = done + len(side.batch), time.perf_counter() - start
        return done / spent, done / (time.process_time() - busy)
