"""The benchmarks by name: what ``headwire bench`` runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from codec.errors import UsageError

BENCHES: dict[str, tuple[str, str]] = {
    "call": ("bench.call", "a call of 30 s between two processes: frames, bytes on the wire, latency, CPU, memory"),
    "face": ("bench.face", "the face model and its fit on the held-out people"),
    "pictures": ("bench.pictures", "one photo and 35 floats a frame on the held-out people: LPIPS, PSNR, L1, SSIM"),
    "rate": ("bench.rate", "bits of the parameters against the error they leave, with and without loss"),
    "speed": ("bench.speed", "ms per frame of every stage, beside the machine's arithmetic"),
}
"""Name -> module (its ``run()`` returns a dict of figures), what it measures."""


def run_bench(name: str) -> dict[str, Any]:
    """Run one benchmark. Raises UsageError for an unknown name."""
    if name not in BENCHES:
        raise UsageError(f"no benchmark {name!r}: choose one of {', '.join(BENCHES)}")
    run: Callable[[], dict[str, Any]] = importlib.import_module(BENCHES[name][0]).run
    return run()
