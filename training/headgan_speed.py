"""How fast ``headgan`` paints, each way that it can, beside what the arithmetic alone would allow.

``python -m training.headgan_speed --device cuda`` is the command for the figures that need a GPU; ``--device cpu
--width 0.1`` shows that it works. Weights are random: only the speed is looked at, and how far the pictures of the
ways lie apart.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.parameters import SIZE, Camera
from codec.raster import rasterise
from models.headgan import AUDIO, HeadGANConfig, gmac
from models.headgan_networks import HeadGANNet
from models.headgan_runtime import Painter
from training.options import parsed
from training.rates import matrix_rate


@dataclass(frozen=True)
class SpeedSettings:
    """device: cpu or cuda. width, audio: the network's. frames: timed, after as many for warming up at least five.

    compiled: torch.compile, too (minutes). packaged: compiled ahead of time, too (minutes).
    """

    device: str = "cpu"
    width: float = 1.0
    audio: bool = True
    frames: int = 50
    compiled: bool = False
    packaged: bool = False


@dataclass(frozen=True)
class Way:
    """A way to paint. ms: median of a frame, its copies to and from the device included. apart: mean difference of
    its picture from plain float32, of 255. Why it could not be had stands in ``failed``.
    """

    name: str
    half: bool = False
    fused: bool = False
    compiled: bool = False
    packaged: bool = False
    ms: float = float("nan")
    apart: float = float("nan")
    failed: str = ""


def ways(settings: SpeedSettings) -> list[Way]:
    """Plain, half precision, fused kernels, compiled; every one with channels last, and as a CUDA graph on CUDA."""
    found = [Way("float32"), Way("half", half=True)]
    if settings.device == "cuda":
        found.append(Way("half, fused", half=True, fused=True))
    if settings.compiled:
        found.append(Way("half, compiled", half=True, compiled=True))
    if settings.packaged:
        found.append(Way("half, ahead of time", half=True, packaged=True))
    return found


def measure(settings: SpeedSettings) -> dict[str, Any]:
    """``ways``; gmac and floor_ms of a frame at the measured matrix rate; ``raster`` on CUDA. Raises UsageError without the device."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: use --device cpu")
    config = HeadGANConfig(settings.width, AUDIO if settings.audio else 0)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    window = rng.random((SIZE, SIZE, 9), dtype=np.float32)
    audio = rng.standard_normal(config.audio).astype(np.float32)
    first: Any = None
    rows = []
    for way in ways(settings):
        torch.manual_seed(0)
        try:
            painter = _painter(HeadGANNet(config), settings.device, way)
            reference = painter.encode(picture, window[..., :3])
            times = []
            for _ in range(max(5, settings.frames // 5) + settings.frames):
                start = time.perf_counter()
                shown = painter.paint(reference, window, audio)
                times.append(1000 * (time.perf_counter() - start))
        except (HeadwireError, RuntimeError) as error:
            rows.append(replace(way, failed=str(error).splitlines()[0]))
            continue
        first = shown if first is None else first
        apart = float(np.abs(shown.astype(int) - first.astype(int)).mean())
        rows.append(replace(way, ms=float(np.median(times[-settings.frames :])), apart=apart))
    rate = matrix_rate(torch.device(settings.device), settings.device == "cuda")
    figures: dict[str, Any] = {"device": settings.device, "gmac": gmac(config), "matrix_tflops": rate / 1e12}
    figures["floor_ms"] = 2e12 * gmac(config) / rate
    figures["ways"] = [vars(row) for row in rows]
    if settings.device == "cuda":
        figures["raster"] = raster_figures()
    return figures


def _painter(net: HeadGANNet, device: str, way: Way) -> Any:
    if not way.packaged:
        return Painter(net, device, way.half, way.fused, way.compiled)
    from models.headgan_package import PackagePainter
    from training.export_package import export_packages

    with TemporaryDirectory() as folder:
        return PackagePainter(export_packages(net, Path(folder), device, way.half))


def raster_figures(count: int = 20) -> dict[str, float]:
    """nvdiffrast beside the numba rasteriser on a turning head: differing pixels, per cent at worst, and ms of each."""
    from models.raster_nvdiffrast import NvdiffrastRasteriser

    try:
        other = NvdiffrastRasteriser()
    except HeadwireError:
        return {}
    model = FaceModel.load()
    times: dict[str, list[float]] = {"numba_ms": [], "nvdiffrast_ms": []}
    worst = 0.0
    for n in range(count):
        turn = np.array((0.1, -0.7 + 1.4 * n / count, 0.05), np.float32)
        vertices = model.project(model.mean, Camera(73.8, turn, np.array((128, 128, 0), np.float32)))
        shown = []
        for name, how in (("numba_ms", rasterise), ("nvdiffrast_ms", other.rasterise)):
            start = time.perf_counter()
            shown.append(how(vertices, model.triangles).triangle)
            times[name].append(1000 * (time.perf_counter() - start))
        worst = max(worst, 100 * float((shown[0] != shown[1]).mean()))
    return {"differing_percent": worst} | {name: float(np.median(found)) for name, found in times.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.headgan_speed``."""
    (settings,) = parsed("Time headgan's ways to paint.", (SpeedSettings,), arguments)
    try:
        print(json.dumps(measure(settings), indent=1))
    except HeadwireError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
