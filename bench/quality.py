"""``headwire bench quality``: clips x codecs x rates -> figures by frame and by clip, JSON, CSV and one HTML page.

Every cell (a clip, a codec, a rate) is kept on disk as soon as it is measured, under the hash of all that it depends on:
the frames, the codec's settings, the code. A run that was interrupted goes on where it stopped; the same inputs give the
same JSON, byte for byte.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import quality_metrics
from bench.codecs import Encoded, Frames, MissingCodecError, choose, create_codec, sanity
from bench.metrics import cache_folder
from bench.quality_clips import ClipFrames, find_clips, load_all
from bench.quality_metrics import METRICS, Meter, Truth
from bench.quality_summary import bd_rates, summaries
from codec.errors import HeadwireError

SCHEMA = "headwire-quality/1"
CODECS = ("warp", "frozen", "raw", "av1", "av1-aom", "vp9", "vp8", "h264", "hevc")
SECONDS = 5.0
EVERY = 5
STRIP = 8
"""Pictures of a cell that the page shows."""
STRIP_SIDE = 192
LONG = (60, 600)
"""Lengths of calls, s, for which the bit rate is extrapolated."""

_ROOT = Path(__file__).resolve().parent.parent
_MEASURING = (
    *(
        "bench/codec*.py",
        "bench/metrics.py",
        "bench/quality_clips.py",
        "bench/quality_metrics.py",
        "sender/landmarks.py",
        "sender/crop.py",
    ),
    *("codec/fit*.py", "codec/face_model.py", "codec/data/*"),
)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """seconds: of each clip. every: so many frames one is measured. most: clips. cache: where cells are kept."""

    seconds: float = SECONDS
    every: int = EVERY
    most: int | None = None
    cache: Path | None = None


def run(
    clips: Path | str | None = None,
    codecs: Sequence[str] = (),
    rates: Sequence[str] = (),
    json_file: Path | str | None = None,
    html_file: Path | str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure, and write what was asked for; a CSV of all frames goes beside the JSON.

    clips: a folder, a file, or None for the validation identities. codecs: names of ``bench.codecs.CODECS``, by default
    all. rates: as the codecs call them, by default their own. Clips and cells that fail are in ``failures``, codecs that
    are not here in ``codecs``. Raises UsageError for unknown names and where there is no clip.
    """
    options = options or Options()
    chosen = choose(codecs or CODECS, rates)
    paths = find_clips(None if clips is None else Path(clips), options.most)
    _settle()
    here, states = _present(chosen)
    kept = Cells(options.cache or cache_folder() / "quality")
    meter = Meter()
    report: dict[str, Any] = {"schema": SCHEMA, "settings": _settings(options, chosen), "codecs": states}
    report |= {"not_measured": meter.missing, "clips": [], "cells": [], "failures": []}
    strips: dict[tuple[str, str, str], Path] = {}
    done, total = 0, len(paths) * len(here)
    with _bar(progress) as tell:
        for name, clip in load_all(paths, options.seconds):
            if isinstance(clip, str):
                report["failures"].append({"clip": name, "codec": None, "rate": None, "why": clip})
                done += len(here)
                continue
            report["clips"].append(
                {"name": name, "sha256": clip.sha256, "frames": len(clip.frames), "fps": _tidy(float(clip.fps))}
            )
            bench = _Clip(clip, meter, options.every, kept)
            strips[name, "", ""] = bench.original()
            for codec, rate in here:
                tell(f"{name} {codec} {rate}", done, total)
                done += 1
                try:
                    cell, strip = bench.cell(codec, rate)
                except DiskError:
                    raise
                except HeadwireError as error:
                    report["failures"].append({"clip": name, "codec": codec, "rate": rate, "why": str(error)})
                    continue
                report["cells"].append(cell)
                strips[name, codec, rate] = strip
        tell("", total, total)
    report["summary"] = summaries(report["cells"])
    report["bd_rate"] = bd_rates(report["cells"])
    if json_file is not None:
        write(Path(json_file), dumps(report).encode())
        write(Path(json_file).with_suffix(".csv"), as_csv(report).encode())
    if html_file is not None:
        from bench.report import page

        write(Path(html_file), page(report, strips).encode())
    return report


def dumps(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_csv(report: dict[str, Any]) -> str:
    """One line a measured frame."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["clip", "codec", "rate", "wire_kbps", "frame", "second", *METRICS])
    for cell in report["cells"]:
        for n, index in enumerate(cell["frames"]["index"]):
            figures = [cell["frames"].get(name, {n: ""})[n] for name in METRICS]
            where = [cell["clip"], cell["codec"], cell["rate"], cell["wire_kbps"], index, cell["frames"]["second"][n]]
            table.writerow([*where, *figures])
    return out.getvalue()


def write(path: Path, data: bytes) -> None:
    """All of it or nothing. Raises HeadwireError where it cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DiskError(
            f"cannot write {path} ({error.strerror}): make room and run again, it goes on from here"
        ) from error


class DiskError(HeadwireError):
    """Nothing can be kept: this ends the whole run."""


class Cells:
    """What was measured already, by key: ``KEY.json`` and the pictures ``KEY.webp``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def strip(self, key: str) -> Path:
        return self.folder / f"{key}.webp"

    def read(self, key: str) -> dict[str, Any] | None:
        path = self.folder / f"{key}.json"
        if not path.is_file() or not self.strip(key).is_file():
            return None
        try:
            cell: dict[str, Any] = json.loads(path.read_text())
        except ValueError:
            return None
        return cell

    def keep(self, key: str, cell: dict[str, Any]) -> None:
        write(self.folder / f"{key}.json", json.dumps(cell, allow_nan=False).encode())


class _Clip:
    """One clip's cells; what is known of the original is found when the first cell needs it."""

    def __init__(self, clip: ClipFrames, meter: Meter, every: int, kept: Cells) -> None:
        self._clip, self._meter, self._every, self._kept = clip, meter, every, kept
        self._truth: Truth | None = None

    def original(self) -> Path:
        """The strip of the original."""
        path = self._kept.strip(f"{self._clip.sha256[:32]}-{STRIP}-{STRIP_SIDE}")
        if not path.is_file():
            write(path, _strip(self._clip.frames))
        return path

    def cell(self, codec: str, rate: str) -> tuple[dict[str, Any], Path]:
        """Raises HeadwireError where the codec fails or cheats."""
        code = code_version(create_codec(codec).folders)
        missing = sorted(self._meter.missing)
        described = json.dumps([self._clip.sha256, self._clip.name, codec, rate, self._every, missing, code])
        key = hashlib.sha256(described.encode()).hexdigest()[:32]
        cell = self._kept.read(key)
        if cell is None:
            encoded = create_codec(codec).encode(self._clip.frames, self._clip.fps, rate)
            shown = create_codec(codec).decode(encoded)
            sanity(encoded, self._clip.frames, shown)
            if self._truth is None:
                self._truth = self._meter.truth(self._clip.frames, self._every)
            figures = self._meter.measure(self._truth, shown)
            cell = _cell(self._clip, codec, rate, encoded, self._truth.index, figures)
            worst = cell["worst_frame"]
            pair = np.concatenate((self._clip.frames[worst], shown[worst]), axis=1)
            write(self._kept.folder / f"{key}.worst.webp", _webp(pair, 70))
            write(self._kept.strip(key), _strip(shown))
            self._kept.keep(key, cell)
        return cell, self._kept.strip(key)


def _cell(
    clip: ClipFrames, codec: str, rate: str, encoded: Encoded, index: tuple[int, ...], figures: dict[str, list[float]]
) -> dict[str, Any]:
    frames: dict[str, list[Any]] = {"index": list(index)}
    frames["second"] = [_tidy(n / float(clip.fps)) for n in index]
    frames |= {name: [_tidy(value) for value in values] for name, values in figures.items()}
    lpips = np.array(figures["lpips"])
    return {
        "clip": clip.name,
        "codec": codec,
        "rate": rate,
        "note": encoded.note,
        "bytes": encoded.bytes_by_kind(),
        "payload_kbps": _tidy(encoded.payload_kbps()),
        "wire_kbps": _tidy(encoded.wire_kbps()),
        "wire_kbps_extrapolated": {str(s): _tidy(encoded.wire_kbps(s)) for s in LONG},
        "return_kbps": _tidy(encoded.return_kbps),
        "delay_ms": _tidy(encoded.delay_ms),
        "figures": {name: _mean(values) for name, values in figures.items()},
        "worst_frame": index[int(lpips.argmax())],
        "frames": frames,
    }


def _tidy(value: float) -> float | None:
    """Six digits, so that a last bit does not make two runs differ; None for what is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return _tidy(sum(known) / len(known)) if known else None


def _present(chosen: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """What can run here, and the state of every codec."""
    states, missing = [], set()
    for name in dict.fromkeys(codec for codec, _ in chosen):
        codec = create_codec(name)
        state = {"name": name, "about": codec.about, "missing": None}
        try:
            codec.check()
        except MissingCodecError as error:
            state["missing"] = str(error)
            missing.add(name)
        states.append(state)
    return [pair for pair in chosen if pair[0] not in missing], states


def _settings(options: Options, chosen: list[tuple[str, str]]) -> dict[str, Any]:
    cells = [list(pair) for pair in chosen]
    return {"seconds": options.seconds, "every": options.every, "cells": cells, "metrics": quality_metrics.VERSION}


@cache
def code_version(folders: tuple[str, ...]) -> str:
    """Hash of every file that a figure may depend on: what measures, and the folders of what is measured."""
    digest = hashlib.sha256(f"{quality_metrics.VERSION} {STRIP} {STRIP_SIDE}".encode())
    files = {path for pattern in _MEASURING for path in _ROOT.glob(pattern)}
    files |= {path for folder in folders for path in (_ROOT / folder).rglob("*") if "__pycache__" not in path.parts}
    for path in sorted(files):
        if path.is_file():
            digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _strip(frames: Frames) -> bytes:
    """Pictures of the clip side by side, evenly over its length."""
    import cv2

    chosen = np.linspace(0, len(frames) - 1, STRIP).round().astype(int)
    small = [cv2.resize(frames[n], (STRIP_SIDE, STRIP_SIDE), interpolation=cv2.INTER_AREA) for n in chosen]
    return _webp(np.concatenate(small, axis=1), 60)


def _webp(picture: Any, quality: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def _settle() -> None:
    """One thread of arithmetic, so that the order of its sums is the same on every run; SVT-AV1 without its chatter."""
    import torch

    torch.set_num_threads(1)
    os.environ.setdefault("SVT_LOG", "1")


@contextmanager
def _bar(progress: Progress | None) -> Iterator[Progress]:
    if progress is not None or not sys.stderr.isatty():
        yield progress or (lambda _what, _done, _total: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
