"""Coding a call and measuring it: bytes of payload against the error of the projected mesh.

Bits are those of packets as sent, whole bytes with their headers; errors are distances between the projected meshes (all 478
points) of what those bytes decode to and of the unquantised fit, in pixels of a face 141 px high. p99: over frames and points.
Every figure is the mean over the people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.entropy import CLASSES
from codec.face_model import FaceModel, project
from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import EXPRESSION, Camera, Floats
from codec.quantiser import UNIT, Tables, from_z, to_z
from codec.reconstruction import Reconstruction
from codec.seen_points import SeenPoints, seen_indices
from training.entropy import Sequence35, drive

FACE_HEIGHT = 141.0
FRAME_RATE = 25.0


@dataclass(frozen=True)
class Figures:
    """kbps of payload at 25 fps; bits a frame; errors in pixels: rms and 99th percentile, of all points and of the seen ones."""

    kbps: float
    bits: float
    rms: float
    p99: float
    seen_rms: float
    seen_p99: float


def meshes(model: FaceModel, neutral: Floats, vectors: Floats) -> Floats:
    """(T, 35) -> (T, 478, 2) pixels."""
    return np.stack([
        project(model.express(neutral, v[:EXPRESSION]), Camera.from_vector(v[EXPRESSION:]))[:, :2] for v in vectors
    ])  # fmt: skip


def face_height(mesh: Floats) -> float:
    """Median height of the projected mesh, pixels."""
    return float(np.median(mesh[:, :, 1].max(axis=1) - mesh[:, :, 1].min(axis=1)))


def reference_of(sequence: Sequence35, tables: Tables) -> NDArray[np.int64]:
    """(35,) the first frame's fit as both ends have it before the call: the reference."""
    reference: NDArray[np.int64] = np.rint(to_z(sequence.vectors[0], tables) * UNIT).astype(np.int64)
    return reference


def scaled(tables: Tables, rung: str, factor: float) -> Tables:
    """The tables with one rung's steps made ``factor`` times as large, and its classes moved to match."""
    r = tables.rung(rung)
    step, base = tables.step.copy(), tables.base.copy()
    step[r, :3] = np.rint(step[r, :3] * factor).astype(np.int64)
    base[r, :3, :-1] = np.clip(base[r, :3, :-1] - round(3 * float(np.log2(factor))), 0, CLASSES - 1)
    return replace(tables, step=step, base=base)


def coded(
    sequence: Sequence35, rung: str, tables: Tables, model: FaceModel, **options: Any
) -> tuple[list[bytes], Floats]:
    """Packets of a call and the (T', 35) vectors that a receiver shows; T' is short of T by a bundle's unfilled end."""
    mesh_aware = options.pop("mesh_aware", True)
    points = SeenPoints(model, sequence.neutral, tables) if mesh_aware else None
    encoder = ParameterEncoder(rung, tables, points)
    for name in ("trade", "bound"):
        if name in options:
            setattr(encoder, name, np.full(len(tables.names), float(options[name])))
    packets: list[bytes] = []
    drive(encoder, sequence.vectors, packets.append, options.get("acknowledged", True))
    decoder, reconstruction = ParameterDecoder(tables), Reconstruction(tables)
    reference = reference_of(sequence, tables)
    decoder.keys.set_reference(reference)
    reconstruction.set_reference(reference)
    shown = [from_z(s.z, tables) for data in packets for s in reconstruction.push(decoder.decode(data))]
    return packets, np.array(shown, np.float32)


def errors(model: FaceModel, sequence: Sequence35, shown: Floats) -> NDArray[np.float64]:
    """(T', 478) distances, pixels of a face FACE_HEIGHT high."""
    truth = meshes(model, sequence.neutral, sequence.vectors[: len(shown)])
    distance = np.linalg.norm(meshes(model, sequence.neutral, shown) - truth, axis=2)
    return np.asarray(distance * (FACE_HEIGHT / face_height(truth)), np.float64)


def measure(rung: str, sequences: Sequence[Sequence35], tables: Tables, model: FaceModel, **options: Any) -> Figures:
    """Figures of a rung: for each person over all their frames, then the mean over the people."""
    bits: dict[str, list[float]] = {}
    error: dict[str, list[NDArray[np.float64]]] = {}
    for sequence in sequences:
        packets, shown = coded(sequence, rung, tables, model, **options)
        bits.setdefault(sequence.identity, []).append(8.0 * sum(map(len, packets)) / len(shown))
        error.setdefault(sequence.identity, []).append(errors(model, sequence, shown))
    seen = seen_indices(model)
    rows = []
    for identity, parts in error.items():
        e = np.concatenate(parts)
        lengths = [len(p) for p in parts]
        b = float(np.average(bits[identity], weights=lengths))
        s = e[:, seen]
        rows.append((b * FRAME_RATE / 1000, b, np.sqrt((e**2).mean()), np.percentile(e, 99),
                     np.sqrt((s**2).mean()), np.percentile(s, 99)))  # fmt: skip
    return Figures(*(float(x) for x in np.mean(np.array(rows, np.float64), axis=0)))
