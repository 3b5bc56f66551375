"""Plots of a quality report for papers and the README, PNG or SVG by the file's ending.

``rate_quality``: quality over bits on the wire; ``call_time``: quality by second since the start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.compare import read_report
from codec.errors import HeadwireError

COLOURS = {
    "warp": "#f08c00",
    "warp, one photo": "#f0b25c",
    "light": "#d6336c",
    "light, one photo": "#f06595",
    "headgan, one photo": "#5c3d2e",
    "raw": "#a07855",
    "frozen": "#868e96",
    "av1": "#1971c2",
    "av1-aom": "#4dabf7",
    "vp9": "#0b7285",
    "vp8": "#74b816",
    "h264": "#7048e8",
    "hevc": "#2f9e44",
}
"""As ``report.html`` has them."""
OWN = ("warp", "light", "headgan")
LABELS = {"lpips": "LPIPS (lower is better)", "psnr": "PSNR, dB (higher is better)", "ssim": "SSIM (higher is better)"}
BITS = {"wire_kbps": "of the clip as it is", "wire_kbps_60s": "extrapolated to a call of 60 s"}
_TICKS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
METRICS = ("lpips", "psnr")
FLOOR = "frozen"
"""Drawn as a level, not as a point: what moves must be better than a picture that stands still."""


def write_all(report: dict[str, Any], folder: Path, name: str = "quality") -> None:
    """``NAME-rate`` and ``NAME-time``, each as SVG and PNG. Raises HeadwireError where they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending in (".svg", ".png"):
            rate_quality(report, folder / f"{name}-rate{ending}")
            call_time(report, folder / f"{name}-time{ending}")
    except OSError as error:
        raise HeadwireError(f"cannot write plots to {folder} ({error.strerror}): choose another folder") from error


def rate_quality(
    report: dict[str, Any], target: Path, metrics: tuple[str, ...] = METRICS, bits: tuple[str, ...] = tuple(BITS)
) -> None:
    """One panel for each metric (column) and way of counting bits (row). Raises HeadwireError without matplotlib."""
    pyplot = _pyplot()
    size = (5.2 * len(metrics), 3.7 * len(bits))
    figure, panels = pyplot.subplots(len(bits), len(metrics), figsize=size, squeeze=False, layout="constrained")
    for line, which in zip(panels, bits, strict=True):
        for panel, metric in zip(line, metrics, strict=True):
            for name in dict.fromkeys(_series(row) for row in report["summary"]):
                rows = [r for r in report["summary"] if _series(r) == name and r.get(metric) is not None]
                points = sorted((row[which], row[metric]) for row in rows)
                if points and name == FLOOR:
                    panel.axhline(points[0][1], label=_label(name), color=COLOURS[name], linestyle=":")
                elif points:
                    panel.plot(*zip(*points, strict=True), marker="o", label=_label(name), **_look(name))
            panel.set_xscale("log")
            panel.set_xlabel(f"kbps on the wire, {BITS.get(which, which)}")
            panel.set_ylabel(LABELS.get(metric, metric))
            ticks = [t for t in _TICKS if panel.get_xlim()[0] <= t <= panel.get_xlim()[1]]
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=5)
    _save(pyplot, figure, report, target)


def call_time(report: dict[str, Any], target: Path, metrics: tuple[str, ...] = METRICS) -> None:
    """Quality by second since the start: each series at the rate nearest to 12 kbps on the wire in a minute's call.

    A series is named with what it takes on the wire after the first second, in which the photo or the key frame is sent.
    """
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(
        1, len(metrics), figsize=(5.2 * len(metrics), 3.9), squeeze=False, layout="constrained"
    )
    chosen: dict[str, dict[str, Any]] = {}
    for row in report["summary"]:
        best = chosen.setdefault(_series(row), row)
        if abs(row["wire_kbps_60s"] - 12) < abs(best["wire_kbps_60s"] - 12):
            chosen[_series(row)] = row
    for panel, metric in zip(panels[0], metrics, strict=True):
        for name, row in chosen.items():
            of = [r for r in report["by_second"] if (r["codec"], r["rate"]) == (row["codec"], row["rate"])]
            # a second that few clips reach says more of those clips than of the call
            points = [
                (r["second"], r[metric]) for r in of if r[metric] is not None and 2 * r["clips"] >= of[0]["clips"]
            ]
            if points:
                later = [r["kbps"] for r in of if r["second"] > 0] or [of[0]["kbps"]]
                label = f"{_label(name)} {row['rate'].partition('@')[0]}: {sum(later) / len(later):.1f} kbps"
                panel.plot(*zip(*points, strict=True), label=label, **(_look(name) | {"markersize": 0}))
        panel.set_xlabel("second since the start (kbps on the wire: after the first second)")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_ylabel(LABELS.get(metric, metric))
        panel.grid(alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    _save(pyplot, figure, report, target)


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        # the same plot has the same bytes
        matplotlib.rcParams["svg.hashsalt"] = "headwire"
        from matplotlib import pyplot
    except ImportError as error:
        raise HeadwireError("plots need matplotlib: pip install 'headwire[bench]'") from error
    return pyplot


def _series(row: dict[str, Any]) -> str:
    return str(row.get("series", row["codec"]))


def _label(name: str) -> str:
    return f"Headwire ({name})" if name.partition(",")[0] in OWN else name


def _look(name: str) -> dict[str, Any]:
    bold = name in OWN
    return {
        "color": COLOURS.get(name),
        "linewidth": 2.4 if bold else 1.4,
        "markersize": 7 if bold else 4,
        "zorder": 3 if bold else 2,
        "linestyle": "--" if name.endswith("one photo") else "-",
        "markerfacecolor": "white" if name.endswith("one photo") else COLOURS.get(name),
    }


def _save(pyplot: Any, figure: Any, report: dict[str, Any], target: Path) -> None:
    longest = max((clip["frames"] / clip["fps"] for clip in report["clips"]), default=0.0)
    count = len(report["clips"])
    figure.suptitle(f"{count} clip{'s' * (count != 1)} of up to {longest:.3g} s", fontsize=11)
    plain = {".png": {"Software": None}, ".svg": {"Date": None}}
    figure.savefig(target, dpi=130, metadata=plain.get(target.suffix))
    pyplot.close(figure)


def main() -> None:
    """``python -m bench.figures REPORT.json FOLDER [NAME]``."""
    source, target, *name = sys.argv[1:4]
    write_all(read_report(Path(source)), Path(target), *name)


if __name__ == "__main__":
    main()
