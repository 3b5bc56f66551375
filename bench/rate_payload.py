"""The payload's half of ``headwire bench rate``: what the face costs in bytes, and what coding and loss do to the mesh.

People and rules of ``rate_curve``: the validation people (``training/held_out.tsv``), whom no table was learned from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bench.rate_curve import Figures, errors, measure
from bench.rate_loss import after_burst, received, under_loss
from codec.face_model import FaceModel
from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.quantiser import Tables
from codec.reconstruction import Reconstruction
from codec.redundancy import HEAVY, rung_for
from codec.seen_points import SeenPoints
from training.entropy import Sequence35

LOSS = 0.25
UNPROTECTED = ("normal", "robust", "low", "lowest")
BURSTS = ("normal", "robust", "low", "lowest-mid", "lowest")


def payload(
    people: Sequence[Sequence35], raw: Sequence[Sequence35], tables: Tables, model: FaceModel, thorough: bool = False
) -> dict[str, Any]:
    """Figures of every rung, of loss and of times. raw: the same people unsmoothed. thorough: also what single ideas are worth."""
    result: dict[str, Any] = {
        "rungs": {name: _rounded(measure(name, people, tables, model)) for name in tables.names},
        "times_ms": times(people, tables, model),
        "loss": protected(people, tables, model),
        "burst_of_10_px": {n: after_burst(n, people, tables, model) for n in BURSTS},
    }
    if thorough:
        names = ("normal", "low", "lowest", "lowest-mid", "lowest-fine")
        result["rungs_without_smoothing"] = {n: _rounded(measure(n, raw, tables, model)) for n in names}
        result["loss_unprotected"] = {n: _short(under_loss(n, people, tables, model, LOSS)) for n in UNPROTECTED}
        result["ideas"] = ideas(people, tables, model)
    return result


def protected(people: Sequence[Sequence35], tables: Tables, model: FaceModel) -> dict[str, dict[str, Any]]:
    """What a call sends at 25 % loss where rate control wants a rung: errors with and without loss, and the longest freeze.

    The receiver waits as long as its jitter buffer does then: for packets that ride along with later ones.
    """
    found = {}
    for wanted in ("normal", "low", "lowest"):
        rung, again, echo = rung_for(max(LOSS, HEAVY), wanted)
        wait = echo * (int(tables.frames[tables.rung(rung)]) - again)
        figures = under_loss(rung, people, tables, model, LOSS, wait, again=again, echo=echo)
        found[wanted] = {"rung": rung, "again": again, "echo": echo, "wait_ms": 40 * wait} | _short(figures)
    return found


def ideas(people: Sequence[Sequence35], tables: Tables, model: FaceModel) -> dict[str, dict[str, dict[str, float]]]:
    """What single ideas are worth: a rung as it is, and without each of them."""
    flat = replace(tables, shift=np.zeros_like(tables.shift))
    return {
        rung: {
            "as it is": _rounded(measure(rung, people, tables, model)),
            "choice by z alone, not by the mesh": _rounded(measure(rung, people, tables, model, mesh_aware=False)),
            "no key but the photo": _rounded(measure(rung, people, tables, model, acknowledged=False)),
            "no contexts": _rounded(measure(rung, people, flat, model)),
            "with silence": _silent(rung, people, tables, model),
        }
        for rung in ("normal", "lowest-fine", "lowest")
    }


def _silent(rung: str, people: Sequence[Sequence35], tables: Tables, model: FaceModel) -> dict[str, float]:
    rows: dict[str, list[tuple[float, float, int]]] = {}
    for s in people:
        shown, _, size = received(s, rung, tables, model, lambda _: False, silence=True)
        e = errors(model, s, shown)
        rows.setdefault(s.identity, []).append((8.0 * size / len(s.vectors), float((e**2).mean()), len(s.vectors)))
    means = [np.average(np.array(r)[:, :2], axis=0, weights=[x[2] for x in r]) for r in rows.values()]
    bits = float(np.mean([m[0] for m in means]))
    return {
        "kbps": round(bits / 40, 3),
        "bits": round(bits, 3),
        "rms": round(float(np.mean([m[1] ** 0.5 for m in means])), 3),
    }


def _rounded(figures: Figures) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(figures).items()}


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def times(people: Sequence[Sequence35], tables: Tables, model: FaceModel, rung: str = "normal") -> dict[str, float]:
    """Median processor time of one frame, ms, one thread: to encode, and to decode and reconstruct."""
    sequence = max(people, key=lambda s: len(s.vectors))
    encoder = ParameterEncoder(rung, tables, SeenPoints(model, sequence.neutral, tables))
    decoder, reconstruction = ParameterDecoder(tables), Reconstruction(tables)
    spent: tuple[list[float], list[float]] = ([], [])
    for vector in sequence.vectors:
        start = time.process_time()
        data = encoder.encode(vector)
        spent[0].append(time.process_time() - start)
        if data is not None:
            start = time.process_time()
            reconstruction.push(decoder.decode(data))
            spent[1].append(time.process_time() - start)
    return {
        "encode": round(1000 * float(np.median(spent[0])), 3),
        "decode": round(1000 * float(np.median(spent[1])), 3),
    }
