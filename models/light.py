"""``light``: what ``warp`` paints, corrected by a small network: a residual flow and residual colours.

Everything that ``warp`` knows (photos, motion fields) it knows too. OpenVINO runs the network, in 8 bits where the CPU can.
In a call a frame must not wait: ``keep_up`` lets it leave the network out for a while when it has become too slow.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np

from codec.motion_grid import UNIT
from codec.parameters import SIZE, Floats, Picture
from models import inference
from models.generator import DrivingFrame
from models.light_graph import build, read_weights
from models.light_inputs import CELL, Geometry, in_cells
from models.warp import FARTHEST, FaceMesh, Warp

WEIGHTS = Path(__file__).with_name("weights") / "light.safetensors"

SHARE = 0.75
"""Part of a frame's time that painting may take in a call before the network is left out."""

LATELY = 12
"""Frames whose median time counts."""

FIRST_PAUSE, LONGEST_PAUSE = 50, 1600
"""Frames without the network after it was too slow; twice as many each time it was again, and as few again once it kept up."""


class LightPainter:
    """The network: a warped picture and its geometry -> the corrected picture.

    precision: ``auto`` (int8 where the CPU and the weights have it), ``f32``, ``bf16`` or ``int8``. Raises HeadwireError where weights
    or OpenVINO are missing.
    """

    def __init__(self, weights: Path = WEIGHTS, precision: str = "auto", threads: int = 1) -> None:
        core = inference.core()
        has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            precision = "int8" if "INT8" in has else "bf16" if "BF16" in has else "f32"
        self.precision = precision
        kind = precision if precision != "int8" else "bf16" if "BF16" in has else "f32"
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": kind,
            "PERFORMANCE_HINT": "LATENCY",
        }
        graph = build(read_weights(weights)[0], int8=precision == "int8")
        self._request = core.compile_model(graph, "CPU", settings).create_infer_request()

    def paint(self, warped: Picture, geometry: Floats) -> Picture:
        """(256, 256, 3) uint8 and (12, 64, 64) float32 -> (256, 256, 3) uint8."""
        import cv2

        self._request.infer([in_cells(warped)[None], geometry[None]])
        colours, flow = (self._request.get_output_tensor(n).data[0] for n in (0, 1))
        place: Any = cv2.resize(
            np.ascontiguousarray(flow.transpose(1, 2, 0)), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR
        )
        _absolute(place)
        moved: Any = cv2.remap(warped, place, np.empty(0), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        _add(moved, colours)
        return np.asarray(moved, np.uint8)


class Light(Warp):
    """``warp`` and the network on top. weights: the shipped ones, or a file of ``training.light_export``."""

    name = "light"

    def __init__(
        self, face_model: FaceMesh, weights: Path = WEIGHTS, precision: str = "auto", threads: int = 1
    ) -> None:
        super().__init__(face_model)
        self.painter = LightPainter(weights, precision, threads)
        self._geometry = Geometry(face_model)  # type: ignore[arg-type]
        self._pace = Pace(None)

    def keep_up(self, period_ms: float | None) -> None:
        """A frame must be painted every ``period_ms``, else without the network; None, as at first: each one with it (files)."""
        self._pace = Pace(None if period_ms is None else SHARE * period_ms)

    @property
    def resting(self) -> bool:
        """Whether the network is left out at the moment."""
        return self._pace.resting

    def generate(self, frame: DrivingFrame) -> Picture:
        start = time.perf_counter()
        picture = super().generate(frame)
        if self._pace.skip():
            return picture
        vertices = np.ascontiguousarray(frame.vertices, np.float32)
        if not bool((np.abs(vertices) < FARTHEST).all()):
            return picture
        field = frame.motion
        control = None if field is None else (field.control * (field.weight / UNIT)).astype(np.float32)
        geometry = self._geometry(frame.visibility, vertices, self.source(frame).vertices, control)
        painted = self.painter.paint(picture, geometry)
        self._pace.took(1000 * (time.perf_counter() - start))
        return painted


class Pace:
    """Decides when the network is left out. budget_ms: that a frame may take, None: any."""

    def __init__(self, budget_ms: float | None) -> None:
        self._budget_ms = budget_ms
        self._times: deque[float] = deque(maxlen=LATELY)
        self._pause = FIRST_PAUSE
        self._left = 0

    @property
    def resting(self) -> bool:
        """Whether the next frame goes without."""
        return self._left > 0

    def skip(self) -> bool:
        """Whether this frame goes without."""
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def took(self, ms: float) -> None:
        """A frame with the network took so long."""
        self._times.append(ms)
        if self._budget_ms is None or len(self._times) < LATELY:
            return
        if median(self._times) > self._budget_ms:
            self._left, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            self._times.clear()
        else:
            self._pause = FIRST_PAUSE


@numba.njit(cache=True, nogil=True)
def _absolute(place):  # type: ignore[no-untyped-def]
    """Displacement -> where in the picture, in cv2's coordinates, in place."""
    for j in range(place.shape[0]):
        for i in range(place.shape[1]):
            place[j, i, 0] += i
            place[j, i, 1] += j


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add(picture, colours):  # type: ignore[no-untyped-def]
    """Add (48, 64, 64) residual colours of cells to a picture, in place."""
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            first = ((j % CELL) * CELL + i % CELL) * 3
            for k in range(3):
                value = picture[j, i, k] + colours[first + k, j // CELL, i // CELL]
                picture[j, i, k] = np.uint8(min(max(value + np.float32(0.5), np.float32(0)), np.float32(255)))
