"""The benchmarks by name: what ``headwire bench`` runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codec.errors import UsageError

BENCHES: dict[str, tuple[str, str]] = {
    "call": ("bench.call", "a call of 30 s between two processes: frames, bytes on the wire, latency, CPU, memory"),
    "face": ("bench.face", "the face model and its fit on the held-out people"),
    "pictures": ("bench.pictures", "one photo and 35 floats a frame on the held-out people: LPIPS, PSNR, L1, SSIM"),
    "rate": ("bench.rate", "bits of the parameters against the error they leave, with and without loss"),
    "wire": (
        "bench.wire",
        "what the carriers cost on the wire, both ways, and what a photo does to the face beside it",
    ),
    "motion": ("bench.motion", "the residual motion field on the held-out people: picture against payload"),
    "quality": (
        "bench.quality",
        "clips x codecs x rates: Headwire beside AV1, VP9, H.264 ..., figures and an HTML report",
    ),
    "compare": (
        "bench.compare",
        "two JSON files of quality: what became better or worse; exit code 1 for a regression",
    ),
    "speed": ("bench.speed", "ms per frame of every stage, beside the machine's arithmetic"),
}
"""Name -> module (its ``run()`` returns a dict of figures), what it measures."""


def run_bench(name: str) -> dict[str, Any]:
    """Run one benchmark. Raises UsageError for an unknown name."""
    if name not in BENCHES:
        raise UsageError(f"no benchmark {name!r}: choose one of {', '.join(BENCHES)}")
    run: Callable[[], dict[str, Any]] = importlib.import_module(BENCHES[name][0]).run
    return run()


def run_quality(
    clips: Path | None, codecs: str, rates: str, json_file: Path | None, html_file: Path | None
) -> dict[str, Any]:
    """``bench quality``: the files are written; what is returned is only the summary to print."""
    from bench import quality

    report = quality.run(clips, _names(codecs), _names(rates), json_file, html_file)
    return {name: value for name, value in report.items() if isinstance(value, str | int | float)}


def run_compare(files: Sequence[Path]) -> tuple[str, int]:
    """``bench compare A.json B.json`` -> text to print, exit code: 1 with a significant regression."""
    if len(files) != 2:
        raise UsageError("compare takes two JSON files of `bench quality`: before and after")
    from bench import compare

    compared = compare.run(files[0], files[1])
    return compare.text(compared), int(compared["exit_code"])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
