"""Cells -> means over clips by codec and rate, and Bjontegaard rates where the curves overlap."""

from __future__ import annotations

from typing import Any

ANCHOR = "av1"
OVERLAP = 0.25
"""Of the shorter curve's range of quality; less is no ground for a mean."""
BD_METRICS = {"lpips": -1, "psnr": 1, "ssim": 1}
"""Metric -> 1 where more is better."""
BD_BITS = ("wire_kbps", "wire_kbps_60s")
"""Of the clip, and of a minute that opens like it."""

Cell = dict[str, Any]


def series(codec: str, rate: str) -> str:
    """The curve to which a point belongs: the codec, and apart from it its paper's mode (one photo, 35 numbers)."""
    return f"{codec}, one photo" if rate.endswith("@0:off") else codec


def summaries(cells: list[Cell]) -> list[dict[str, Any]]:
    """One row for each codec and rate, in the cells' order: means over its clips, each clip with equal weight."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["codec"], cell["rate"]), []).append(cell)
    rows = []
    for (codec, rate), of in groups.items():
        row: dict[str, Any] = {"codec": codec, "rate": rate, "series": series(codec, rate), "clips": len(of)}
        row |= {
            key: mean([c[key] for c in of])
            for key in ("payload_kbps", "wire_kbps", "return_kbps", "total_kbps", "delay_ms")
        }
        for seconds in of[0]["wire_kbps_extrapolated"]:
            row[f"wire_kbps_{seconds}s"] = mean([c["wire_kbps_extrapolated"][seconds] for c in of])
        row |= {name: mean([c["figures"][name] for c in of]) for name in of[0]["figures"]}
        rows.append(row)
    return rows


def by_second(cells: list[Cell]) -> list[dict[str, Any]]:
    """One row for each codec, rate and second since the start: what a viewer gets as the call goes on.

    clips: that last so long. kbps: on the wire in this second; kbps_so_far: since the start. lpips, psnr: means.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["codec"], cell["rate"]), []).append(cell)
    rows = []
    for (codec, rate), of in groups.items():
        for second in range(max(len(cell["wire_bytes_by_second"]) for cell in of)):
            there = [cell for cell in of if second < len(cell["wire_bytes_by_second"])]
            sent = [cell["wire_bytes_by_second"] for cell in there]
            row: dict[str, Any] = {"codec": codec, "rate": rate, "series": series(codec, rate)}
            row |= {"second": second, "clips": len(there)}
            row["kbps"] = mean([bytes_[second] * 0.008 for bytes_ in sent])
            row["kbps_so_far"] = mean([sum(bytes_[: second + 1]) * 0.008 / (second + 1) for bytes_ in sent])
            for name in ("lpips", "psnr"):
                row[name] = mean([mean(_in_second(cell, name, second)) for cell in there])
            rows.append(row)
    return rows


def _in_second(cell: Cell, name: str, second: int) -> list[float | None]:
    frames = cell["frames"]
    return [value for at, value in zip(frames["second"], frames[name], strict=True) if int(at) == second]


def mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{sum(known) / len(known):.6g}") if known else None


def bd_rates(cells: list[Cell]) -> list[dict[str, Any]]:
    """Each codec against ``ANCHOR``, by metric: per cent of the anchor's bit rate that it needs more for equal quality.

    Over the means of the clips that both have. ``percent`` is None, and ``why`` says why, where there are fewer than
    three rates or the ranges of quality do not overlap.
    """
    names = list(dict.fromkeys(_of(cell) for cell in cells))
    out = []
    for name in names:
        if ANCHOR not in names or name == ANCHOR:
            continue
        for rate in BD_BITS:
            for metric, sign in BD_METRICS.items():
                one, other = (_curve(cells, codec, (name, ANCHOR), metric, sign, rate) for codec in (name, ANCHOR))
                percent, why = _bd_rate(other, one)
                row = {"codec": name, "anchor": ANCHOR, "metric": metric, "over": rate, "percent": percent, "why": why}
                out.append(row)
    return out


def _of(cell: Cell) -> str:
    return series(cell["codec"], cell["rate"])


def _curve(
    cells: list[Cell], codec: str, both: tuple[str, str], metric: str, sign: int, rate: str
) -> list[tuple[float, float]]:
    """(quality, kbps), quality growing; only of the points that are worth their rate."""
    shared = set.intersection(*({c["clip"] for c in cells if _of(c) == name} for name in both))
    rows = summaries([c for c in cells if _of(c) == codec and c["clip"] in shared])
    points = sorted((row[rate], sign * row[metric]) for row in rows if row.get(metric) is not None)
    front: list[tuple[float, float]] = []
    for kbps, quality in points:
        if not front or (quality > front[-1][0] and kbps > front[-1][1]):
            front.append((quality, kbps))
    return front


def _bd_rate(anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> tuple[float | None, str | None]:
    if min(len(anchor), len(test)) < 3:
        return None, "fewer than three rates that are worth their bits"
    low = max(anchor[0][0], test[0][0])
    high = min(anchor[-1][0], test[-1][0])
    shorter = min(anchor[-1][0] - anchor[0][0], test[-1][0] - test[0][0])
    if high - low < OVERLAP * shorter:
        return None, "the ranges of quality do not overlap"
    try:
        import bjontegaard
    except ImportError:
        return None, "bjontegaard is not installed: pip install 'headwire[bench]'"
    (qa, ra), (qt, rt) = (list(zip(*curve, strict=True)) for curve in (anchor, test))
    percent = bjontegaard.bd_rate(ra, qa, rt, qt, "pchip", require_matching_points=False, min_overlap=0)
    return float(f"{float(percent):.4g}"), None
