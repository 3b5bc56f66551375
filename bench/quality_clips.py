"""The clips of the quality benchmark: any video -> 256x256 frames around the face, the square fixed for the whole clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.codecs import Frames
from codec.errors import HeadwireError, UsageError
from codec.parameters import SIZE

ENDINGS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m", ".m4v")
MOST_FPS = 30.0
LOOKED_AT = 50
"""Frames in which a face is searched for, from the first."""


@dataclass(frozen=True)
class ClipFrames:
    """A clip as all codecs get it. name: of the file. sha256: of the frames' pixels and their rate."""

    name: str
    frames: Frames
    fps: Fraction
    sha256: str

    @property
    def seconds(self) -> float:
        return float(len(self.frames) / self.fps)


def find_clips(where: Path | None, most: int | None = None) -> list[tuple[Path, float]]:
    """(file, second at which it starts) of a folder, a file or a set.

    None or ``validation``: the longest clip of each validation identity, in the list's order. ``long``: the uncut calls of
    the training data's folder and the demo's second clip. Raises UsageError if there are none.
    """
    found: list[tuple[Path, float]] = []
    if where is None or str(where) == "validation":
        from training import dataset

        people = dataset.by_identity(dataset.clips(split="validation"))
        found = [(max(of, key=lambda clip: clip.seconds).path, 0.0) for _, of in sorted(people.items())]
    elif str(where) == "long":
        found = [(path, 0.0) for path in _long_calls()]
    elif where.is_file():
        found = [(where, 0.0)]
    elif where.is_dir():
        found = [(path, 0.0) for path in sorted(where.iterdir()) if path.suffix.lower() in ENDINGS]
    if not found:
        raise UsageError(
            f"no video clips at {where}: --clips wants a folder of {', '.join(ENDINGS)}, validation or long"
        )
    return found[:most]


def _long_calls() -> list[Path]:
    from sender.demo_clip import demo_clip
    from training import dataset

    folder = dataset.data_directory() / "long"
    calls = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in ENDINGS]
    try:
        return [*calls, demo_clip("franck")]
    except HeadwireError:
        # a file that is not there is reported as a clip that failed
        return [*calls, Path("franck.mp4")]


def load_clip(path: Path, seconds: float, start: float = 0.0) -> ClipFrames:
    """The first so many seconds. Raises HeadwireError for what is no video or shows no face."""
    from receiver.sinks_files import rational
    from sender.capture import open_source
    from sender.crop import cut
    from sender.tracking import FaceTracker

    with open_source(path, None, realtime=False, start=start, seconds=seconds, max_fps=MOST_FPS) as source:
        raw = [frame.picture for frame in source]
        fps = rational(source.fps)
    if not raw:
        raise UsageError(f"{path} holds no frames")
    height, width = raw[0].shape[:2]
    whole = height == width == SIZE
    square = None
    with FaceTracker("none" if whole else "auto") as tracker:
        for picture in raw[:LOOKED_AT]:
            tracked = tracker.track(picture)
            if tracked.landmarks is not None:
                square = tracked.square
                break
    if square is None:
        raise HeadwireError(f"no face in the first {min(len(raw), LOOKED_AT)} frames of {path.name}")
    frames = np.stack(raw if whole else [cut(picture, square) for picture in raw])
    digest = hashlib.sha256(f"{fps}".encode())
    digest.update(frames.tobytes())
    return ClipFrames(path.stem, frames, fps, digest.hexdigest())


def load_all(paths: list[tuple[Path, float]], seconds: float) -> Iterator[tuple[str, ClipFrames | str]]:
    """(name, clip, or in one sentence why it cannot be used)."""
    for path, start in paths:
        try:
            yield path.stem, load_clip(path, seconds, start)
        except HeadwireError as error:
            yield path.stem, str(error)
