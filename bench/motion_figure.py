"""What the motion field is worth, as one picture: LPIPS and PSNR over payload, with and without it, beside SVT-AV1.

``python -m bench.motion_figure FOLDER [REPORT.json]``: without a report of ``headwire bench quality`` that holds these cells the 12
validation people are measured first (cells that were kept are taken from there). One photo a clip, 35 numbers a frame; ``off`` is
the paper's mode. The payload is that of a call of 60 s: photo or key frame once, the rest as in the clip.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench import figures, quality
from bench.codecs import OPENING
from bench.compare import read_report
from bench.quality_summary import Cell, mean
from codec.errors import UsageError

CALL_S = 60.0
RUNGS = ("lowest", "low", "normal")
CURVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "35 numbers alone (the paper's mode)": ("warp", tuple(f"{rung}@0:off" for rung in RUNGS)),
    "35 numbers and the motion field": ("warp", tuple(f"{rung}@0:auto" for rung in RUNGS)),
    "SVT-AV1, real time": ("av1", ("8", "12", "20", "40")),
}
"""Name -> codec and rates of ``bench quality``."""
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#f06595", "linestyle": "--"},
    {"color": "#d6336c", "linewidth": 2.4},
    {"color": "#1971c2"},
)
NAME = "motion-curve"


def points(cells: list[Cell]) -> dict[str, list[dict[str, Any]]]:
    """Curve -> points {"rate", "kbps", "lpips", "psnr"}, means over the clips that all points have. Raises UsageError for none."""
    wanted = [(codec, rate) for codec, rates in CURVES.values() for rate in rates]
    by_point = {which: {c["clip"]: c for c in cells if (c["codec"], c["rate"]) == which} for which in wanted}
    shared = set.intersection(*(set(of) for of in by_point.values()))
    if not shared:
        raise UsageError("the report holds no clip with all of the curve's points: leave it out, and they are measured")
    out: dict[str, list[dict[str, Any]]] = {}
    for name, (codec, rates) in CURVES.items():
        out[name] = []
        for rate in rates:
            of = [by_point[codec, rate][clip] for clip in sorted(shared)]
            row: dict[str, Any] = {"rate": rate, "clips": len(of), "kbps": mean([payload_kbps(cell) for cell in of])}
            out[name].append(
                row | {metric: mean([cell["figures"][metric] for cell in of]) for metric in figures.METRICS}
            )
    return out


def payload_kbps(cell: Cell) -> float:
    """Of a call of ``CALL_S``: all bytes but headers of the wire."""
    opening = sum(size for kind, size in cell["bytes"].items() if kind in OPENING)
    whole = sum(cell["bytes"].values())
    seconds = whole * 0.008 / cell["payload_kbps"]
    return (opening / CALL_S + (whole - opening) / seconds) * 0.008


def draw(curves: dict[str, list[dict[str, Any]]], target: Path) -> None:
    """Raises HeadwireError without matplotlib."""
    pyplot = figures._pyplot()
    figure, panels = pyplot.subplots(1, 2, figsize=(10.4, 4.2), layout="constrained")
    for panel, metric in zip(panels, figures.METRICS, strict=True):
        for (name, rows), look in zip(curves.items(), LOOKS, strict=True):
            panel.plot([r["kbps"] for r in rows], [r[metric] for r in rows], marker="o", label=name, **look)
        panel.set_xscale("log")
        panel.set_xticks([2, 3, 5, 7, 10, 15, 20, 30], ["2", "3", "5", "7", "10", "15", "20", "30"])
        panel.minorticks_off()
        panel.set_xlabel("payload, kbps (photo or key frame over 60 s)")
        panel.set_ylabel(figures.LABELS[metric])
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3)
    count = next(iter(curves.values()))[0]["clips"]
    figure.suptitle(f"One photo, {count:g} people nobody trained on, 5 s each", fontsize=11)
    figure.savefig(target, dpi=130, metadata={".png": {"Software": None}, ".svg": {"Date": None}}.get(target.suffix))
    pyplot.close(figure)


def run(folder: Path, report: Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """The points; the picture is written to ``folder``."""
    if report is None:
        codecs = list(dict.fromkeys(codec for codec, _ in CURVES.values()))
        rates = [rate for _, rates in CURVES.values() for rate in rates]
        cells = quality.run(None, codecs, rates, options=quality.Options(workers=2))["cells"]
    else:
        cells = read_report(report)["cells"]
    curves = points(cells)
    folder.mkdir(parents=True, exist_ok=True)
    draw(curves, folder / f"{NAME}.png")
    return curves


def main() -> None:
    """Draw, and print the points as a table."""
    folder, *report = (Path(argument) for argument in sys.argv[1:3])
    print("| | payload, kbps | LPIPS | PSNR |\n|---|---|---|---|")
    for name, rows in run(folder, *report).items():
        for row in rows:
            print(f"| {name}, `{row['rate']}` | {row['kbps']:.1f} | {row['lpips']:.3f} | {row['psnr']:.1f} |")


if __name__ == "__main__":
    main()
