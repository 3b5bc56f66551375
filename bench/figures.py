"""Plots of a quality report for papers and the README: quality over bits on the wire, PNG or SVG by the file's ending."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.compare import read_report
from codec.errors import HeadwireError

COLOURS = {
    "warp": "#d6336c",
    "raw": "#e8890c",
    "frozen": "#868e96",
    "av1": "#1971c2",
    "vp9": "#0b7285",
    "vp8": "#74b816",
    "h264": "#7048e8",
    "hevc": "#2f9e44",
}
LABELS = {"lpips": "LPIPS (lower is better)", "psnr": "PSNR, dB (higher is better)", "ssim": "SSIM (higher is better)"}
BITS = {"wire_kbps": "of the clip", "wire_kbps_60s": "extrapolated to a call of 60 s"}


def rate_quality(
    report: dict[str, Any],
    target: Path,
    metrics: tuple[str, ...] = ("lpips", "psnr"),
    bits: tuple[str, ...] = ("wire_kbps", "wire_kbps_60s"),
) -> None:
    """One panel for each metric (column) and way of counting bits (row). Raises HeadwireError without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise HeadwireError("plots need matplotlib: pip install 'headwire[bench]'") from error
    size = (5.2 * len(metrics), 3.7 * len(bits))
    figure, panels = pyplot.subplots(len(bits), len(metrics), figsize=size, squeeze=False, layout="constrained")
    for line, which in zip(panels, bits, strict=True):
        for panel, metric in zip(line, metrics, strict=True):
            for codec in dict.fromkeys(row["codec"] for row in report["summary"]):
                rows = [r for r in report["summary"] if r["codec"] == codec and r.get(metric) is not None]
                points = sorted((row[which], row[metric]) for row in rows)
                kbps, quality = zip(*points, strict=True)
                bold = codec == "warp"
                panel.plot(
                    kbps,
                    quality,
                    marker="o",
                    label=f"Headwire ({codec})" if bold else codec,
                    color=COLOURS.get(codec),
                    linewidth=2.4 if bold else 1.4,
                    markersize=7 if bold else 4,
                    zorder=3 if bold else 2,
                )
            panel.set_xscale("log")
            panel.set_xlabel(f"kbps on the wire, {BITS.get(which, which)}")
            panel.set_ylabel(LABELS.get(metric, metric))
            ticks = [t for t in (1, 2, 3, 5, 10, 20, 30, 50, 100) if panel.get_xlim()[0] <= t <= panel.get_xlim()[1]]
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    clips = len(report["clips"])
    figure.suptitle(f"{clips} people nobody trained on, {report['settings']['seconds']:g} s each", fontsize=11)
    figure.savefig(target, dpi=130, metadata={"Software": None} if target.suffix == ".png" else None)
    pyplot.close(figure)


def main() -> None:
    """``python -m bench.figures REPORT.json PLOT.png``."""
    source, target = sys.argv[1:3]
    rate_quality(read_report(Path(source)), Path(target))


if __name__ == "__main__":
    main()
