"""Every network by device, threads and precision: ms a frame beside the arithmetic's own floor, and the picture beside it.

The floor is what a dense 3x3 convolution at 64x64 reaches in the same run, on the same device, with as many threads, in the same
precision: a network that does nothing but multiply at that speed would take ``gmac`` over it. ``headgan`` has no trained weights
here: it is timed with random ones, which take as long, and shows no picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import metrics
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.parameters import Picture, ReferenceFrame
from models import inference
from models.generator import DrivingFrame

CHANNELS = 128
"""Of the floor's convolution, in and out: 0.6 GMAC at 64x64."""
FLOOR_RUNS, RUNS, SLOW_RUNS = 40, 50, 3
MEASURED_EVERY = 10
PRECISIONS = ("f32", "bf16", "int8")


def run(
    reference: ReferenceFrame,
    driving: Sequence[DrivingFrame],
    truth: Sequence[Picture],
    threads: Sequence[int] = (1, 2),
) -> list[dict[str, Any]]:
    """A row for each network, device, number of threads and precision.

    driving, truth: frames to paint, and what the camera saw of each. ms: median of a frame; floor_gmacs: GMAC/s of the
    convolution; floor_ms: the network's at that speed; lpips, psnr: of what is painted, where there are weights; why: in place of
    figures.
    """
    rows: list[dict[str, Any]] = []
    for device in inference.core().available_devices:
        if device != "CPU":
            rows.append({"network": "light", "device": device, "why": "light is compiled for CPUs only"})
    for count in threads:
        for precision in PRECISIONS:
            rows.append(_light(reference, driving, truth, count, precision))
    for count in threads:
        rows.append(_headgan(reference, driving, count))
    return rows


def floor(precision: str, threads: int) -> float:
    """GMAC/s of the convolution under OpenVINO. Raises HeadwireError where this CPU does not have the precision."""
    import openvino
    from openvino import opset13 as ov

    core = inference.core()
    if precision != "f32" and precision.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise HeadwireError(f"this CPU has no {precision}")
    x = ov.parameter([1, CHANNELS, 64, 64], np.float32)
    weights = np.random.default_rng(0).normal(0, 0.02, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    y: Any = x
    # several in a row, as in a network: the data is where the layer before left it
    for _ in range(4):
        kernel: Any = ov.constant(weights)
        if precision == "int8":
            low, high = (ov.constant(np.float32(v)) for v in (-4.0, 4.0))
            y = ov.fake_quantize(y, low, high, low, high, 256)
            kernel = ov.fake_quantize(kernel, low, high, low, high, 255)
        y = ov.relu(ov.convolution(y, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(openvino.Model([y], [x]), "CPU", settings).create_infer_request()
    data = np.random.default_rng(1).normal(0, 1, (1, CHANNELS, 64, 64)).astype(np.float32)
    ms = _median(lambda: request.infer([data]), FLOOR_RUNS)
    return 4 * weights.size * 64 * 64 / 1e6 / ms


def _light(
    reference: ReferenceFrame, driving: Sequence[DrivingFrame], truth: Sequence[Picture], threads: int, precision: str
) -> dict[str, Any]:
    from models.light import WEIGHTS, Light
    from models.light_graph import gmac, read_weights

    row: dict[str, Any] = {"network": "light", "device": "CPU", "threads": threads, "precision": precision}
    try:
        speed = floor(precision, threads)
        generator = Light(FaceModel.load(), precision=precision, threads=threads)
    except HeadwireError as error:
        return row | {"why": str(error)}
    generator.prepare(reference)
    frames = iter(driving[n % len(driving)] for n in range(RUNS))
    whole = _median(lambda: generator.generate(next(frames)), RUNS)
    network = _network_ms(generator, driving[0])
    work = gmac(read_weights(WEIGHTS)[0])
    shown = np.stack([generator.generate(frame) for frame in driving[::MEASURED_EVERY]])
    seen = np.stack(truth[::MEASURED_EVERY])
    row |= {"ms": round(network, 2), "ms_with_warp": round(whole, 2), "gmac": round(work, 2)}
    row |= _against_floor(work, network, speed)
    row["psnr"] = round(float(metrics.psnr(seen, shown).mean()), 3)
    try:
        row["lpips"] = round(float(metrics.Lpips("alex")(seen, shown).mean()), 5)
    except HeadwireError as error:
        row["why"] = str(error)
    return row


def _network_ms(generator: Any, frame: DrivingFrame) -> float:
    """Of the network alone, on what it last got."""
    request = generator.painter._request
    generator.generate(frame)
    return _median(request.infer, RUNS)


def _headgan(reference: ReferenceFrame, driving: Sequence[DrivingFrame], threads: int) -> dict[str, Any]:
    row: dict[str, Any] = {"network": "headgan", "device": "CPU", "threads": threads, "precision": "bf16"}
    try:
        import torch

        from models.headgan import HeadGAN, HeadGANConfig, gmac
        from models.headgan_networks import HeadGANNet
        from models.headgan_runtime import Painter
    except ImportError:
        return row | {"why": "torch is not installed: pip install 'headwire[bench]'"}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        speed = floor("bf16", threads)
        torch.manual_seed(0)
        config = HeadGANConfig()
        generator = HeadGAN.__new__(HeadGAN)
        generator._begin(FaceModel.load(), Painter(HeadGANNet(config), half=True), config)
        generator.prepare(reference)
        frames = iter(driving[: SLOW_RUNS + 1])
        generator.generate(next(frames))
        ms = _median(lambda: generator.generate(next(frames)), SLOW_RUNS)
    except HeadwireError as error:
        return row | {"why": str(error)}
    finally:
        torch.set_num_threads(before)
    row |= {"ms": round(ms, 1), "gmac": round(gmac(config), 1)}
    return row | _against_floor(gmac(config), ms, speed) | {"why": "random weights: no picture"}


def _against_floor(work: float, ms: float, speed: float) -> dict[str, float]:
    least = 1000 * work / speed
    return {"floor_gmacs": round(speed, 1), "floor_ms": round(least, 2), "times_floor": round(ms / least, 2)}


def _median(work: Callable[[], Any], runs: int) -> float:
    """ms."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
