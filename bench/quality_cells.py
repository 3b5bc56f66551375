"""One clip's cells of ``headwire bench quality``: measured, or found where an earlier run kept them.

A cell (a clip, a codec, a rate) is kept as soon as it is measured, under the hash of all that it depends on: the frames,
the codec's settings, the code.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import canonical, quality_metrics
from bench.canonical import Weights
from bench.codecs import Encoded, Frames, create_codec, sanity
from bench.quality_clips import ClipFrames, load_clip
from bench.quality_metrics import Meter, Truth
from codec.errors import HeadwireError

STRIP = 8
"""Pictures of a cell that the page shows."""
STRIP_SIDE = 192
LONG = (60, 600)
"""Lengths of calls, s, for which the bit rate is extrapolated."""

_WEIGHTS = "models/weights"
_ROOT = Path(__file__).resolve().parent.parent
_MEASURING = (
    *("bench/codecs.py", "bench/metrics*.py", "bench/canonical.py", "bench/quality_cells.py", "bench/quality_clips.py"),
    *("bench/quality_metrics.py", "bench/action_units.py", "sender/landmarks.py", "sender/crop.py"),
    *("codec/fit*.py", "codec/face_model.py", "codec/data/face_model.npz"),
)
Name = tuple[str, str, str]
"""Clip, codec, rate."""


@dataclass(frozen=True)
class Task:
    """A clip to measure. path, start: where it is and from which second on. pairs: codec and rate of its cells.

    seconds: at most. every: so many frames one is measured. kept: the folder of the cells. weights: the user's.
    """

    path: Path
    start: float
    pairs: tuple[tuple[str, str], ...]
    seconds: float
    every: int
    kept: Path
    weights: Weights = ()


@dataclass
class Measured:
    """What came of it. clip: as the report names it, or None where the clip cannot be used. strips: pictures by cell.

    features: of what is measured over sets, by cell, as ``Meter.measure_all`` gives them.
    """

    clip: dict[str, Any] | None = None
    cells: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    strips: dict[Name, Path] = field(default_factory=dict)
    features: dict[Name, dict[str, Any]] = field(default_factory=dict)


class DiskError(HeadwireError):
    """Nothing can be kept: this ends the whole run."""


def measure(task: Task, tell: Callable[[str], None]) -> Measured:
    """All cells of a clip. tell: is called before each with its name. Raises DiskError, all else is a failure."""
    settle()
    name, done = task.path.stem, Measured()
    try:
        clip = load_clip(task.path, task.seconds, task.start)
    except HeadwireError as error:
        done.failures.append({"clip": name, "codec": None, "rate": None, "why": str(error)})
        for codec, rate in task.pairs:
            tell(f"{name} {codec} {rate}")
        return done
    done.clip = {"name": name, "sha256": clip.sha256, "frames": len(clip.frames), "fps": tidy(float(clip.fps))}
    bench = _Clip(clip, meter(task.weights), task, Cells(task.kept))
    done.strips[name, "", ""] = bench.original()
    cells, failures = {}, {}
    for codec, rate in bench.order:
        tell(f"{name} {codec} {rate}")
        try:
            cells[codec, rate], strip, features = bench.cell(codec, rate)
        except DiskError:
            raise
        except Exception as error:  # noqa: BLE001 - a codec may fail in any way: that is its cell's failure, and told
            why = str(error) if isinstance(error, HeadwireError) else f"{type(error).__name__}: {error}"
            failures[codec, rate] = {"clip": name, "codec": codec, "rate": rate, "why": why}
            continue
        done.strips[name, codec, rate] = strip
        done.features[name, codec, rate] = features
    done.cells = [cells[pair] for pair in task.pairs if pair in cells]
    done.failures = [failures[pair] for pair in task.pairs if pair in failures]
    return done


@cache
def meter(weights: Weights = ()) -> Meter:
    return Meter(weights)


def settle() -> None:
    """One thread of arithmetic, so that the order of its sums is the same on every run; SVT-AV1 without its chatter."""
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    os.environ.setdefault("SVT_LOG", "1")


def write(path: Path, data: bytes) -> None:
    """All of it or nothing. Raises DiskError where it cannot be written."""
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


class Cells:
    """What was measured already, by key: ``KEY.json``, the pictures ``KEY.webp`` and the features ``KEY.npz``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def strip(self, key: str) -> Path:
        return self.folder / f"{key}.webp"

    def read(self, key: str) -> dict[str, Any] | None:
        path = self.folder / f"{key}.json"
        if not all(p.is_file() for p in (path, self.strip(key), self.folder / f"{key}.npz")):
            return None
        try:
            cell: dict[str, Any] = json.loads(path.read_text())
        except ValueError:
            return None
        return cell

    def keep_features(self, key: str, features: dict[str, Any]) -> None:
        out = io.BytesIO()
        np.savez(out, **{f"{name}.{side}": x[side] for name, x in features.items() for side in (0, 1)})
        write(self.folder / f"{key}.npz", out.getvalue())

    def features(self, key: str) -> dict[str, Any]:
        with np.load(self.folder / f"{key}.npz") as kept:
            return {name.removesuffix(".0"): (kept[name], kept[f"{name[:-1]}1"]) for name in kept if name[-1] == "0"}

    def keep(self, key: str, cell: dict[str, Any]) -> None:
        write(self.folder / f"{key}.json", json.dumps(cell, allow_nan=False).encode())


class _Clip:
    """One clip's cells; what is known of the original is found when the first cell needs it."""

    def __init__(self, clip: ClipFrames, meter: Meter, task: Task, kept: Cells) -> None:
        self._clip, self._meter, self._every, self._kept = clip, meter, task.every, kept
        self._weights = canonical.versions(task.weights)
        self._truth: Truth | None = None
        self._codecs = {name: create_codec(name) for name, _ in task.pairs}
        self._coded: dict[tuple[str, str], Encoded] = {}
        self._shown: dict[tuple[str, str], Frames] = {}
        streams = [self._stream(*pair) for pair in task.pairs]
        self.order = sorted(task.pairs, key=lambda pair: streams.index(self._stream(*pair)))
        """The cells, those of one stream together: then what is decoded for two need not be kept for long."""

    def original(self) -> Path:
        """The strip of the original."""
        path = self._kept.strip(f"{self._clip.sha256[:32]}-{STRIP}-{STRIP_SIDE}")
        if not path.is_file():
            write(path, _strip(self._clip.frames))
        return path

    def cell(self, codec: str, rate: str) -> tuple[dict[str, Any], Path, dict[str, Any]]:
        """Figures, pictures, features. Raises HeadwireError where the codec fails or cheats."""
        key = self._key(codec, rate)
        cell = self._kept.read(key)
        if cell is None:
            encoded = self._encoded(codec, rate)
            shown = self._decoded(codec, rate, encoded)
            sanity(encoded, self._clip.frames, shown)
            if self._truth is None:
                self._truth = self._meter.truth(self._clip.frames, self._every)
            figures, features = self._meter.measure_all(self._truth, shown)
            cell = _cell(self._clip, codec, rate, encoded, self._truth.index, figures)
            worst = cell["worst_frame"]
            pair = np.concatenate((self._clip.frames[worst], shown[worst]), axis=1)
            write(self._kept.folder / f"{key}.worst.webp", _webp(pair, 70))
            write(self._kept.strip(key), _strip(shown))
            self._kept.keep_features(key, features)
            self._kept.keep(key, cell)
        return cell, self._kept.strip(key), self._kept.features(key)

    def _key(self, codec: str, rate: str) -> str:
        runs = self._codecs[codec]
        files = [f"{_WEIGHTS}/{file}" for file in runs.weights]
        code = code_version((*runs.folders, *files, f"{type(runs).__module__.replace('.', '/')}.py"))
        missing = sorted(self._meter.missing)
        described = json.dumps(
            [self._clip.sha256, self._clip.name, codec, rate, self._every, missing, self._weights, code]
        )
        return hashlib.sha256(described.encode()).hexdigest()[:32]

    def _stream(self, codec: str, rate: str) -> tuple[str, str]:
        return self._codecs[codec].stream or codec, rate

    def _encoded(self, codec: str, rate: str) -> Encoded:
        """As ``codec`` codes it, or as one of the same stream did."""
        which = self._stream(codec, rate)
        if which not in self._coded:
            self._coded[which] = self._codecs[codec].encode(self._clip.frames, self._clip.fps, rate)
        return self._coded[which]

    def _decoded(self, codec: str, rate: str, encoded: Encoded) -> Frames:
        """As ``codec`` shows it, or as one of the same stream that is to be measured, too, has painted it on its way."""
        for name, runs in self._codecs.items():
            wanted = codec in runs.beside and (name, rate) in self.order
            if wanted and (codec, rate) not in self._shown and self._kept.read(self._key(name, rate)) is None:
                try:
                    self._shown |= {(of, rate): shown for of, shown in create_codec(name).decode_all(encoded).items()}
                except Exception:  # noqa: BLE001 - it fails again when its own cell is measured, and that is told
                    continue
        shown = self._shown.pop((codec, rate), None)
        return create_codec(codec).decode(encoded) if shown is None else shown


def _cell(
    clip: ClipFrames, codec: str, rate: str, encoded: Encoded, index: tuple[int, ...], figures: dict[str, list[float]]
) -> dict[str, Any]:
    frames: dict[str, list[Any]] = {"index": list(index)}
    frames["second"] = [tidy(n / float(clip.fps)) for n in index]
    frames |= {name: [tidy(value) for value in values] for name, values in figures.items()}
    lpips = np.array(figures["lpips"])
    return {
        "clip": clip.name,
        "codec": codec,
        "rate": rate,
        "note": encoded.note,
        "bytes": encoded.bytes_by_kind(),
        "payload_kbps": tidy(encoded.payload_kbps()),
        "wire_kbps": tidy(encoded.wire_kbps()),
        "wire_kbps_extrapolated": {str(s): tidy(encoded.wire_kbps(s)) for s in LONG},
        "return_kbps": tidy(encoded.return_kbps),
        "total_kbps": tidy(encoded.total_kbps()),
        "wire_bytes_by_second": [round(b) for b in encoded.wire_bytes_by_second()],
        "delay_ms": tidy(encoded.delay_ms),
        "figures": {name: _mean(values) for name, values in figures.items()},
        "worst_frame": index[int(lpips.argmax())],
        "worst_lpips": tidy(float(lpips.max())),
        "frames": frames,
    }


def tidy(value: float) -> float | None:
    """Six digits, so that a last bit does not make two runs differ; None for what is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return tidy(sum(known) / len(known)) if known else None


@cache
def code_version(runs: tuple[str, ...]) -> str:
    """Hash of every file that a figure may depend on: what measures, and the files and folders that the codec runs."""
    digest = hashlib.sha256(f"{quality_metrics.VERSION} {STRIP} {STRIP_SIDE}".encode())
    files = {path for pattern in _MEASURING for path in _ROOT.glob(pattern)}
    for name in runs:
        here = {path for path in (_ROOT / name, *(_ROOT / name).rglob("*")) if "__pycache__" not in path.parts}
        # a codec runs with the weights that it names, and no others
        files |= {path for path in here if path == _ROOT / name or _ROOT / _WEIGHTS not in path.parents}
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
