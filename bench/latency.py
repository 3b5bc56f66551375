"""``headwire bench latency``: real calls between two processes over a grid of bad links, and what the viewer gets of them.

Latency runs from the camera's frame to the sink (``latency_ms`` p50, p95); a freeze is the longest time without a new
frame; ``shown`` is the share of the captured frames that the viewer saw; ``psnr`` and ``lpips`` compare one in ten of the
pictures that were shown, from the first on, with the camera's frame of the same time stamp. Both ends run on this machine:
where two cores are busy otherwise, latencies and freezes are theirs. Bytes are counted on the wire, both ways, headers included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import metrics
from bench.bar import Progress, progress_bar
from bench.call import DemoSettings, record_call
from bench.motion_call import pairs
from codec.errors import HeadwireError, UsageError
from sender.demo_clip import CLIPS

SCHEMA = "headwire-latency/2"
SECONDS = 15.0
MEASURED_EVERY = 10
LINKS = (
    "",
    "loss=0.05,seed=1",
    "loss=0.25,seed=1",
    "delay=100,jitter=30,seed=1",
    "delay=300,seed=1",
    "rate=30",
    "rate=12",
    "loss=0.25,delay=100,jitter=30,rate=30,seed=1",
)
"""As ``--link`` takes them: nothing, each trouble alone, all at once."""
RATES = ("normal", "lowest")
_SHORTEST_S = 2.0


def run(
    seconds: float = SECONDS,
    links: tuple[str, ...] = LINKS,
    rates: tuple[str, ...] = RATES,
    model: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """{"schema", "settings", "calls"}: a call is link, rate and its figures, or ``failed`` with the reason.

    seconds: of each call. Raises UsageError for a call too short to open.
    """
    if seconds < _SHORTEST_S:
        raise UsageError(f"a call of {seconds:g} s is over before it opens: take at least {_SHORTEST_S:g}")
    calls: list[dict[str, Any]] = []
    grid = [(link, rate) for link in links for rate in rates]
    with progress_bar(progress) as tell:
        for n, (link, rate) in enumerate(grid):
            tell(f"{link or 'a clean link'}, {rate}", n, len(grid))
            calls.append({"link": link, "rate": rate} | _call(seconds, link, rate, model))
        tell("", len(grid), len(grid))
    return {"schema": SCHEMA, "settings": {"seconds": seconds, "model": model}, "calls": calls}


def _call(seconds: float, link: str, rate: str, model: str) -> dict[str, Any]:
    settings = DemoSettings(seconds=seconds, model=model, rate=rate, link=link or None)
    try:
        with tempfile.TemporaryDirectory(prefix="headwire-latency-") as folder:
            figures = record_call(settings, Path(folder), CLIPS[settings.clip].start_s)
            quality = _quality(Path(folder)) if figures else {}
    except HeadwireError as error:
        return {"failed": str(error)}
    if not figures:
        return {"failed": "the call was stopped"}
    latency = figures["latency_ms"]
    row = {
        "latency_ms_p50": latency.get("p50"),
        "latency_ms_p95": latency.get("p95"),
        "freeze_ms_max": figures["freeze_ms_max"],
        "shown": round(figures["frames_shown"] / max(1, figures["frames_captured"]), 4),
    }
    names = ("frames_captured", "frames_shown", "lost", "recovered", "late", "setup_seconds", "wire_kbps_forward")
    row |= {name: figures[name] for name in (*names, "wire_kbps_return", "model")}
    for name in ("cpu_percent", "rss_mb"):
        row |= {f"{name}_{end}": figures[name][end] for end in ("sender", "receiver")}
    return row | quality


def _quality(folder: Path) -> dict[str, Any]:
    """``pairs``: how many were compared; ``psnr``, and ``lpips`` where torch is, None where nothing was shown."""
    some = [pair for n, pair in enumerate(pairs(folder, 0.0)) if n % MEASURED_EVERY == 0]
    figures: dict[str, Any] = {"pairs": len(some), "psnr": None, "lpips": None}
    if not some:
        return figures
    camera, viewer = (np.stack(side) for side in zip(*some, strict=True))
    figures["psnr"] = round(float(metrics.psnr(camera, viewer).mean()), 2)
    try:
        figures["lpips"] = round(float(metrics.Lpips("alex")(camera, viewer).mean()), 4)
    except HeadwireError as error:
        figures["no_lpips"] = str(error)
    return figures
