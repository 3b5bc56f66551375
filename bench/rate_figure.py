"""The curve of ``headwire bench rate``: error of the projected mesh against payload, and against the wire for every carrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.rate_curve import FRAME_RATE, measure, scaled
from codec.face_model import FaceModel
from codec.quantiser import Tables
from training.entropy import Sequence35

CURVE = {"normal-clean": 1, "low-fine": 2, "lowest-fine": 4}
"""Rungs whose steps are scaled, and their frames in a packet."""

FACTORS = (0.8, 1.0, 1.4, 2.0, 2.8, 4.0)
Point = dict[str, float]


def points(people: Sequence[Sequence35], tables: Tables, model: FaceModel) -> dict[str, list[Point]]:
    """Payload and errors along the steps, by rung: kbps, rms, p99, and the step's factor."""
    return {
        name: [
            {k: round(v, 4) for k, v in asdict(measure(name, people, scaled(tables, name, factor), model)).items()}
            | {"factor": factor}
            for factor in FACTORS
        ]
        for name in CURVE
    }


def on_the_wire(curve: Mapping[str, Sequence[Point]], overhead: Mapping[str, float]) -> dict[str, list[Point]]:
    """The same for each carrier, ``frames`` in a packet. overhead: kbps of headers and all else at 25 messages a second, payload
    apart; a message has a byte of time, too."""
    return {
        carrier: [
            {
                "frames": CURVE[name],
                "kbps": round(p["kbps"] + (8 * FRAME_RATE / 1000 + kbps) / CURVE[name], 3),
                "rms": p["rms"],
                "p99": p["p99"],
            }
            for name, line in curve.items()
            for p in line
        ]
        for carrier, kbps in overhead.items()
    }


def draw(path: Path, curve: Mapping[str, Sequence[Point]], wire: Mapping[str, Sequence[Point]]) -> None:
    """Two panels: payload by frames in a packet, and the wire by carrier."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for name, line in curve.items():
        delay = 40 * (CURVE[name] - 1)
        label = f"{CURVE[name]} frames a packet, +{delay} ms" if delay else "1 frame a packet"
        axes[0].plot([p["kbps"] for p in line], [p["rms"] for p in line], "o-", ms=4, label=label)
    for i, (carrier, line) in enumerate(wire.items()):
        for frames, style in ((1, "o-"), (4, "s--")):
            some = [p for p in line if p["frames"] == frames]
            shown = carrier if frames == 1 else "_"
            axes[1].plot([p["kbps"] for p in some], [p["rms"] for p in some], style, ms=4, color=f"C{i}", label=shown)
    axes[1].plot([], [], "s--", ms=4, color="grey", label="4 frames a packet, +120 ms")
    for axis, title in zip(axes, ("payload", "wire, forward, every header"), strict=True):
        axis.set_xlabel(f"{title}, kbps at 25 frames a second")
        axis.set_xscale("log")
        axis.set_xticks(ticks := [0.5, 1, 2, 4] if axis is axes[0] else [1, 2, 4, 8, 16, 32], [f"{t:g}" for t in ticks])
        axis.minorticks_off()
        axis.axhline(0.5, color="grey", lw=0.8, ls=":")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    axes[1].legend(fontsize=8, loc="lower left", ncols=2)
    axes[0].set_ylabel("rms error of the projected mesh, px (face 141 px)")
    axes[0].set_ylim(0, None)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
