"""``headwire bench rate``: what the face costs on the wire's payload, and what coding and loss do to the mesh.

People and rules of ``rate_curve``: the validation people (``training/held_out.tsv``), whom no table was learned from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.rate_curve import Figures, errors, measure, scaled
from bench.rate_loss import after_burst, received, under_loss
from codec.face_model import FaceModel
from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.quantiser import Tables
from codec.reconstruction import Reconstruction
from codec.seen_points import SeenPoints
from training.entropy import Sequence35, fitted, steadied

TARGETS = (
    ("payload, p99 error < 0.5 px", "lowest-fine", "p99", 0.5, 1.6),
    ("payload, rms error < 0.5 px", "lowest-mid", "rms", 0.5, 1.1),
    ("payload, `lowest` (rms < 1 px)", "lowest", "rms", 1.0, 0.6),
)
CURVE = ("normal", "low-fine", "lowest-fine")
FACTORS = (0.6, 0.8, 1.0, 1.4, 2.0, 2.8, 4.0)
LOSS_RUNGS = ("normal", "robust", "low", "lowest")
PROTECTED = (("low", 1), ("lowest-mid", 2), ("lowest-mid", 3), ("lowest", 3))
"""Rungs of which so many frames of each packet ride along again."""


def run(curve: Path | None = None, loss: bool = True) -> dict[str, Any]:
    """All figures. curve: where to draw error against payload (.png), if anywhere."""
    model, tables = FaceModel.load(), Tables.load()
    raw = fitted("validation", model)
    people = steadied(raw)
    rungs = {name: measure(name, people, tables, model) for name in tables.names}
    unsteadied = {
        name: measure(name, raw, tables, model) for name in ("normal", "low", "lowest", "lowest-mid", "lowest-fine")
    }
    result: dict[str, Any] = {
        "people": len({s.identity for s in people}),
        "frames": sum(len(s.vectors) for s in people),
        "tables_match_model": tables.model_digest == model.digest.hex(),
        "table": [
            {"figure": what, "rung": rung, "error_px": round(asdict(rungs[rung])[kind], 3), "below_px": bound,
             "kbps": round(rungs[rung].kbps, 3), "reach_kbps": reach}
            for what, rung, kind, bound, reach in TARGETS
        ],
        "rungs": {name: _rounded(f) for name, f in rungs.items()},
        "rungs_without_smoothing": {name: _rounded(f) for name, f in unsteadied.items()},
        "times_ms": times(people, tables, model),
    }  # fmt: skip
    result["ideas"] = ideas(people, tables, model)
    if loss:
        result["loss_25_percent"] = {n: _short(under_loss(n, people, tables, model)) for n in LOSS_RUNGS}
        result["loss_25_percent_one_frame_later"] = {
            n: _short(under_loss(n, people, tables, model, wait=1)) for n in ("normal", "robust")
        }
        result["loss_25_percent_riding_along"] = {
            f"{n}, {again} again": _short(under_loss(n, people, tables, model, again=again)) for n, again in PROTECTED
        }
        result["burst_of_10_px"] = {n: after_burst(n, people, tables, model) for n in LOSS_RUNGS}
    if curve is not None:
        result["curve"] = draw(curve, people, tables, model)
    return result


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


def draw(
    path: Path, people: Sequence[Sequence35], tables: Tables, model: FaceModel
) -> dict[str, list[dict[str, float]]]:
    """Error against payload for bundles of 1, 2 and 4 frames, as a picture; returns its points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    points = {
        name: [measure(name, people, scaled(tables, name, factor), model) for factor in FACTORS] for name in CURVE
    }
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, kind, title in zip(axes, ("p99", "rms"), ("99th percentile", "rms"), strict=True):
        for name, frames in zip(CURVE, (1, 2, 4), strict=True):
            axis.plot(
                [getattr(f, kind) for f in points[name]], [f.kbps for f in points[name]], "o-",
                label=f"{frames} a packet, +{40 * (frames - 1)} ms",
            )  # fmt: skip
        axis.axvline(0.5, color="grey", lw=0.8, ls=":")
        axis.set_xlabel(f"error of the projected mesh, {title}, px")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("payload, kbps at 25 frames a second")
    axes[0].set_ylim(0, None)
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return {name: [_rounded(f) for f in figures] for name, figures in points.items()}


def text(result: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = ["figure                             rung          error px   kbps   reach"]
    lines += [
        f"{r['figure']:34} {r['rung']:13} {r['error_px']:.3f} < {r['below_px']:<4} {r['kbps']:.2f}  <= {r['reach_kbps']}"
        for r in result["table"]
    ]
    lines += ["", "rung            kbps   bits    rms    p99  seen rms  seen p99"]
    lines += [
        f"{n:14} {f['kbps']:5.2f} {f['bits']:6.1f}  {f['rms']:.3f}  {f['p99']:.3f}    {f['seen_rms']:.3f}     {f['seen_p99']:.3f}"
        for n, f in result["rungs"].items()
    ]
    rest = (
        "rungs_without_smoothing",
        "times_ms",
        "ideas",
        "loss_25_percent",
        "loss_25_percent_one_frame_later",
        "loss_25_percent_riding_along",
        "burst_of_10_px",
    )
    for name in rest:
        if name in result:
            lines += ["", name.replace("_", " "), *(f"  {k}: {v}" for k, v in result[name].items())]
    return "\n".join(lines)


if __name__ == "__main__":
    print(text(run(Path("docs") / "rate-curve.png")))
