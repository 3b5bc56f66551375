"""The zoo: name -> architecture, weights, provenance, licence; and the choice that ``auto`` makes."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec import raster
from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters, ReferenceFrame
from models.generator import DrivingFrame, Generator

logger = logging.getLogger(__name__)

WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class Network:
    """One network of the zoo. weights: file in ``models/weights``, or None. parameters: learned numbers.

    gmac: per frame, without what is computed once per reference.
    """

    name: str
    weights: str | None
    parameters: int
    gmac: float
    provenance: str
    licence: str


@dataclass(frozen=True)
class Entry(Network):
    """A generator. make: takes the face model."""

    make: Callable[[FaceModel], Generator]


def _warp(face_model: FaceModel) -> Generator:
    from models.warp import Warp

    return Warp(face_model)


def _light(face_model: FaceModel) -> Generator:
    from models.light import Light

    return Light(face_model)


_ENTRIES = (
    Entry(
        "warp",
        None,
        0,
        0.0,
        "no network; the table of how far hair, neck and body follow the head is least squares over dense optical flow"
        " in 30 research-only, non-commercial clips",
        "MIT; the table not for commercial use",
        _warp,
    ),
    Entry(
        "light",
        "light.safetensors",
        3_628_514,
        3.07,
        "corrects what warp paints; learned from crops of research-only, non-commercial clips of 159 people (steps and figures in"
        " the file's metadata, docs/light.md)",
        "MIT; the weights not for commercial use",
        _light,
    ),
)
ZOO: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Best picture last: ``auto`` tries them from the end."""


def _full(face_model: FaceModel) -> Generator:
    from models.full import Full

    return Full(face_model)


def _headgan(face_model: FaceModel) -> Generator:
    from models.headgan import HeadGAN

    return HeadGAN(face_model, WEIGHTS / "headgan.safetensors")


def _headgan_small(face_model: FaceModel) -> Generator:
    from models.headgan import HeadGANSmall

    return HeadGANSmall(face_model, WEIGHTS / "headgan-small.safetensors")


_OWN = (
    Entry("full", "full.safetensors", 17_778_514, 35.57, "trained by its user: `headwire train full`", "MIT", _full),
    Entry(
        "headgan",
        "headgan.safetensors",
        39_195_653,
        212.07,
        "trained by its user: `headwire train headgan`",
        "MIT",
        _headgan,
    ),
    Entry(
        "headgan-small",
        "headgan-small.safetensors",
        2_110_613,
        12.13,
        "trained by its user: `headwire train headgan-small`",
        "MIT",
        _headgan_small,
    ),
)
OWN: dict[str, Entry] = {entry.name: entry for entry in _OWN}
"""Generators whose weights a user trains and puts into ``models/weights``; ``auto`` leaves them alone."""

NETS = (
    Network(
        "characters",
        "characters.safetensors",
        837_659,
        0.00084,
        "letters from sound, for headgan's audio features; learned from synthesised speech (espeak-ng, flite) and 700"
        " sentences of GRID (steps and error rates in the file's metadata, docs/training.md)",
        "MIT; learned in part from GRID, CC BY 4.0",
    ),
)
"""Networks that paint nothing."""

AUTO = "auto"


def models() -> list[dict[str, Any]]:
    """What ``headwire models --json`` prints: one dict a generator, in the order of the zoo.

    name, parameters, gmac, weights (file or None), bytes and sha256 of that file, licence, provenance.
    """
    return [_describe(entry) for entry in (*ZOO.values(), *OWN.values(), *NETS)]


def _describe(entry: Network) -> dict[str, Any]:
    there = entry.weights is not None and (WEIGHTS / entry.weights).is_file()
    data = (WEIGHTS / str(entry.weights)).read_bytes() if there else None
    return {
        "name": entry.name,
        "parameters": entry.parameters,
        "gmac": entry.gmac,
        "weights": entry.weights if there else None,
        "bytes": 0 if data is None else len(data),
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "licence": entry.licence,
        "provenance": entry.provenance,
    }


def create(name: str, face_model: FaceModel, frame_rate: float = 25.0, live: bool = False) -> Generator:
    """A generator by name (``ZOO``'s or ``OWN``'s); ``auto`` is ``choose``'s. live: for a call, where ``light``
    leaves its network out while the machine is too slow. Raises UsageError for a name that is not in the zoo, and for
    one whose weights are not there.
    """
    entries = ZOO | OWN
    if name != AUTO and name not in entries:
        known = ", ".join((AUTO, *entries))
        raise UsageError(f"There is no model {name!r}: choose one of {known}.")
    generator = choose(face_model, frame_rate) if name == AUTO else entries[name].make(face_model)
    keep_up = getattr(generator, "keep_up", None)
    if live and keep_up is not None:
        keep_up(1000 / frame_rate)
    return generator


def choose(face_model: FaceModel, frame_rate: float = 25.0, share: float = 0.65) -> Generator:
    """The best generator that paints a frame in ``share`` of the frame's time on this machine, or ``warp``."""
    entries = list(ZOO.values())
    for entry in reversed(entries[1:]):
        try:
            generator = entry.make(face_model)
        except HeadwireError as error:
            logger.warning("%s is left out: %s", entry.name, error)
            continue
        if probe(generator, face_model) <= share * 1000 / frame_rate:
            return entry.make(face_model)
    return entries[0].make(face_model)


def probe(generator: Generator, face_model: FaceModel | None = None, seconds: float = 1.0) -> float:
    """Milliseconds a frame: median over about ``seconds`` of painting a turning, talking head, after a warm-up.

    The generator's memory holds a grey photo afterwards: make a fresh one for the call.
    """
    model = face_model or FaceModel.load()
    identity = np.zeros(model.identities, np.float32)
    neutral = model.neutral(identity)
    generator.prepare(ReferenceFrame(0, np.full((SIZE, SIZE, 3), 128, np.uint8), _pose(0), identity))
    times: list[float] = []
    begin = time.perf_counter()
    n = 0
    while time.perf_counter() - begin < seconds or n < 4:
        parameters = _pose(n)
        vertices = model.project(model.express(neutral, parameters.expression), parameters.camera)
        frame = DrivingFrame(parameters, vertices, raster.rasterise(vertices, model.triangles))
        start = time.perf_counter()
        generator.generate(frame)
        times.append(1000 * (time.perf_counter() - start))
        n += 1
    return float(np.median(times[2:]))


def _pose(n: int) -> FrameParameters:
    expression = np.sin(np.arange(EXPRESSION) + 0.3 * n).astype(np.float32) if n else np.zeros(EXPRESSION, np.float32)
    rotation = np.array((0.1 * np.sin(0.2 * n), 0.3 * np.sin(0.1 * n), 0.05 * np.sin(0.15 * n)), np.float32)
    return FrameParameters(expression, Camera(90.0, rotation, np.array((128.0, 140.0, 0.0), np.float32)))
