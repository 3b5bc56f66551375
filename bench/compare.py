"""``headwire bench compare A.json B.json``: what became better or worse from one quality report to another.

Only cells that both have (clip by the hash of its pixels, codec, rate) are compared. For each codec, rate and figure the
differences by clip are resampled over clips (bootstrap, percentiles, seeded): a change is *significant* where the interval
excludes 0, a *regression* where all of the interval is worse than the margin.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.quality_metrics import BETTER_LOW
from codec.errors import UsageError

MARGINS = {
    "lpips": 0.005,
    "lpips_mouth": 0.01,
    "lpips_eyes": 0.01,
    "psnr": 0.2,
    "ssim": 0.005,
    "ms_ssim": 0.005,
    "lpips_vgg": 0.01,
    "dists": 0.005,
    "l1": 0.3,
    "nme": 0.01,
    "ard": 0.3,
    "aed_mesh": 0.1,
    "au_mesh_hamming": 0.03,
    "csim_dlib": 0.01,
    "face_found": 0.02,
    "wire_kbps": 0.3,
}
"""Figure -> how much worse may pass, in its own unit."""

DRAWS = 2000
CONFIDENCE = 0.95
_LOW = (*BETTER_LOW, "wire_kbps")


def run(before: Path | str, after: Path | str, margin: float | None = None, draws: int = DRAWS) -> dict[str, Any]:
    """Compare two JSON reports.

    margin: in place of ``MARGINS``, for every figure. Returns {"cells", "rows", "regressions", "lost", "exit_code"}: a row is
    codec, rate, metric, clips, before, after, change, low, high, verdict; lost: cells of ``before`` that failed
    in ``after``, which count as a regression. exit_code: 1 with a regression, else 0.
    Raises UsageError for what is no report, for two that have no cell in common, or were measured differently.
    """
    one, two = read_report(Path(before)), read_report(Path(after))
    for key in ("every", "metrics", "weights"):
        if one["settings"].get(key) != two["settings"].get(key):
            raise UsageError(f"the reports differ in {key!r}: measure both with the same settings")
    a, b = _cells(one), _cells(two)
    shared = [key for key in a if key in b]
    if not shared:
        raise UsageError(f"{before} and {after} have no clip, codec and rate in common: measure the same clips")
    groups: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for which in shared:
        groups.setdefault(which[1:], []).append((a[which], b[which]))
    rows = []
    for (codec, rate), pairs in groups.items():
        for metric in MARGINS:
            values = [(_value(x, metric), _value(y, metric)) for x, y in pairs]
            known = [(x, y) for x, y in values if x is not None and y is not None]
            if known:
                allowed = MARGINS[metric] if margin is None else margin
                rows.append(
                    {"codec": codec, "rate": rate, "metric": metric} | _row(np.array(known), metric, allowed, draws)
                )
    gone = {(f["clip"], f["codec"], f["rate"]) for f in two["failures"]}
    missing = {codec["name"] for codec in two["codecs"] if codec["missing"]}
    had = [(cell["clip"], cell["codec"], cell["rate"]) for cell in one["cells"]]
    lost = [list(x) for x in had if x in gone or (x[0], None, None) in gone or x[1] in missing]
    regressions = [row for row in rows if row["verdict"] == "regression"]
    code = 1 if regressions or lost else 0
    return {"cells": len(shared), "rows": rows, "regressions": regressions, "lost": lost, "exit_code": code}


def interval(changes: np.ndarray[Any, Any], draws: int = DRAWS) -> tuple[float, float]:
    """Bootstrap interval of the mean of (N,) changes; -inf..inf for a single clip, which says nothing of others."""
    if len(changes) < 2:
        return -math.inf, math.inf
    chosen = np.random.default_rng(0).integers(0, len(changes), (draws, len(changes)))
    means = changes[chosen].mean(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _row(values: np.ndarray[Any, Any], metric: str, margin: float, draws: int) -> dict[str, Any]:
    changes = values[:, 1] - values[:, 0]
    low, high = interval(changes, draws)
    worst, best = (low, high) if metric in _LOW else (-high, -low)
    if worst > margin:
        verdict = "regression"
    elif worst > 0:
        verdict = "worse, within the margin"
    elif best < 0:
        verdict = "better"
    else:
        verdict = "no change seen"
    return {
        "clips": len(values),
        "before": _tidy(values[:, 0].mean()),
        "after": _tidy(values[:, 1].mean()),
        "change": _tidy(changes.mean()),
        "low": _tidy(low),
        "high": _tidy(high),
        "verdict": verdict,
    }


def _tidy(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _value(cell: dict[str, Any], metric: str) -> float | None:
    value: float | None = cell["wire_kbps"] if metric == "wire_kbps" else cell["figures"].get(metric)
    return value


def _cells(report: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    hashes = {clip["name"]: clip["sha256"] for clip in report["clips"]}
    return {(hashes[cell["clip"]], cell["codec"], cell["rate"]): cell for cell in report["cells"]}


def read_report(path: Path) -> dict[str, Any]:
    from bench.quality import SCHEMA

    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: give what 'headwire bench quality --json' wrote") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no quality report of this version ({SCHEMA}): measure again")
    return report


def text(compared: dict[str, Any]) -> str:
    """For people: what changed, worst first."""
    told = [row for row in compared["rows"] if row["verdict"] != "no change seen"]
    told.sort(key=lambda row: ("regression", "worse, within the margin", "better").index(row["verdict"]))
    lines = [f"{compared['cells']} cells in common; {len(compared['regressions'])} regressions"]
    for row in told:
        what = f"{row['codec']} {row['rate']} {row['metric']}"
        span = f"[{row['low']:+.4g}, {row['high']:+.4g}]"
        lines.append(
            f"{row['verdict']:26}{what:34}{row['before']:>10.4g} -> {row['after']:<10.4g}{row['change']:+.4g} {span}"
        )
    lines += [f"{'failed now':26}{' '.join(map(str, cell))}" for cell in compared["lost"]]
    return "\n".join(lines)
