"""The benchmarks by name: what ``headwire bench`` runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.errors import UsageError

BENCHES: dict[str, tuple[str, str]] = {
    "call": ("bench.call", "a call of 30 s between two processes: frames, bytes on the wire, latency, CPU, memory"),
    "face": ("bench.face", "the face model and its fit on the held-out people"),
    "pictures": ("bench.pictures", "one photo and 35 floats a frame on the held-out people: LPIPS, PSNR, L1, SSIM"),
    "rate": (
        "bench.rate",
        "the stream: payload, wire, set-up, photos, loss, times, each beside what is asked; the curve",
    ),
    "wire": (
        "bench.wire",
        "what the carriers cost on the wire, both ways, and what a photo does to the face beside it",
    ),
    "motion": ("bench.motion", "the residual motion field on the held-out people: picture against payload"),
    "memory": ("bench.memory", "photos and patches over the time of uncut calls, AV1 beside them"),
    "quality": (
        "bench.quality",
        "clips x codecs x rates: Headwire beside AV1, VP9, H.264 ..., figures and an HTML report",
    ),
    "paper": (
        "bench.paper",
        "reenactment and frontalisation on the held-out people, beside the paper's tables 2 and 3",
    ),
    "compare": (
        "bench.compare",
        "two JSON files of quality: what became better or worse; exit code 1 for a regression",
    ),
    "latency": ("bench.latency", "calls over a grid of loss, delay and rate: latency, freezes, frames, CPU, memory"),
    "speed": ("bench.speed", "ms per frame of every stage, beside the machine's arithmetic"),
}
"""Name -> module (its ``run()`` returns a dict of figures), what it measures."""


def run_bench(name: str) -> dict[str, Any]:
    """Run one benchmark. Raises UsageError for an unknown name."""
    if name not in BENCHES:
        raise UsageError(f"no benchmark {name!r}: choose one of {', '.join(BENCHES)}")
    run: Callable[[], dict[str, Any]] = importlib.import_module(BENCHES[name][0]).run
    return run()


@dataclass(frozen=True)
class QualityRequest:
    """``bench quality`` as it was asked for, in the order of the command line's options. plots: a folder for the plots."""

    clips: Path | None
    codecs: str
    rates: str
    json_file: Path | None
    html_file: Path | None
    seconds: float | None
    every: int | None
    most: int | None
    workers: int
    beside: Sequence[Path]
    plots: Path | None
    weights: Sequence[str] = ()


def run_quality(asked: QualityRequest) -> dict[str, Any]:
    """The files are written; what is returned is only the summary to print."""
    from bench import canonical, quality

    weights = canonical.parse(list(asked.weights))
    options = quality.Options(asked.seconds, asked.every, asked.most, None, asked.workers, weights)
    files = (asked.json_file, asked.html_file)
    report = quality.run(asked.clips, _names(asked.codecs), _names(asked.rates), *files, options, beside=asked.beside)
    if asked.plots is not None:
        from bench import figures

        figures.write_all(report, asked.plots)
    return quality.short(report)


def run_rate(json_file: Path | None) -> str:
    """``bench rate`` -> its table as text; the figures to a file, if one is named."""
    from bench import rate

    return rate.report(json_file)


def run_latency(seconds: float | None) -> dict[str, Any]:
    """``bench latency``: calls of so many seconds each."""
    from bench import latency

    return latency.run() if seconds is None else latency.run(seconds)


def run_compare(files: Sequence[Path], margin: float | None = None) -> tuple[str, int]:
    """``bench compare A.json B.json`` -> text to print, exit code: 1 with a significant regression beyond the margin, in each figure's
    own unit (None: ``bench.compare.MARGINS``).
    """
    if len(files) != 2:
        raise UsageError("compare takes two JSON files of `bench quality`: before and after")
    from bench import compare

    compared = compare.run(files[0], files[1], margin)
    return compare.text(compared), int(compared["exit_code"])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
