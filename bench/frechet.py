"""Fréchet distances between sets of pictures or clips: that of FID and FVD, over whatever features are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
"""(N, C): a row for each picture or clip."""


def frechet(one: Features, other: Features) -> float | None:
    """Between the normal distributions fitted to two sets (Heusel et al. 2017); None for sets of fewer than two.

    The trace of the root of the product of the covariances is the nuclear norm of the product of the centred features, so no
    matrix root is needed and small sets are exact.
    """
    if min(len(one), len(other)) < 2:
        return None
    a, b = one - one.mean(0), other - other.mean(0)
    n, m = len(one) - 1, len(other) - 1
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.sqrt(n * m)
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(max(0.0, apart + (a * a).sum() / n + (b * b).sum() / m - 2 * shared))


def by_codec(features: dict[tuple[str, str], list[dict[str, Any]]]) -> dict[tuple[str, str], dict[str, float | None]]:
    """(codec, rate) -> its cells' ``{name: (truth, shown)}`` -> (codec, rate) -> {name: distance over all clips}."""
    out: dict[tuple[str, str], dict[str, float | None]] = {}
    for which, cells in features.items():
        names = list(dict.fromkeys(name for cell in cells for name in cell))
        out[which] = {}
        for name in names:
            pairs = [cell[name] for cell in cells if name in cell]
            truth, shown = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
            distance = frechet(truth, shown)
            out[which][name] = None if distance is None else float(f"{distance:.5g}")
    return out
