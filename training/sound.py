"""The sound of a clip: samples at 16 kHz on the clock of its pictures, and h_audio of each of its frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio_features import AHEAD, PART, RATE
from codec.errors import UsageError
from codec.parameters import Floats
from models.characters import WEIGHTS, CharacterNet, heard


@dataclass(frozen=True)
class Listener:
    """Hears clips for a store. ahead: parts of look-ahead of h_audio, 40 ms each."""

    ahead: int = AHEAD

    @property
    def digest(self) -> str:
        """What the features depend on: the network's weights and the look-ahead."""
        return f"{_weights_digest()}-{self.ahead}"

    def arrays(self, video: Path, frames: int) -> dict[str, Floats]:
        """``audio``, (frames, 300) float32; nothing for a clip without sound. Raises UsageError where it cannot be read."""
        samples = clip_samples(video)
        if not len(samples):
            return {}
        sound, part = on_parts(samples, frames, frame_rate(video))
        return {"audio": heard(sound, _net(), self.ahead)[part]}


@cache
def _net() -> CharacterNet:
    return CharacterNet()


@cache
def _weights_digest() -> str:
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]


def frame_rate(video: Path) -> float:
    """Pictures a second, 25 where the file does not say. Raises UsageError where it cannot be read."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(video)) as container:
            return float(container.streams.video[0].average_rate or 25)
    except (FFmpegError, IndexError) as error:
        raise UsageError(f"{video} cannot be read as a video: {error}") from error


def clip_samples(path: Path) -> Floats:
    """(N,) float32 mono samples at 16 kHz, -1..1; the first is at the time of the first picture, or of the sound
    without one.

    Empty where the file has no sound. Raises UsageError where it cannot be read.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return np.zeros(0, np.float32)
            stream = container.streams.audio[0]
            resampler = av.AudioResampler("flt", "mono", RATE)
            pieces: list[Any] = []
            first: float | None = None
            for frame in container.decode(stream):
                first = frame.time if first is None else first
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
            samples = np.concatenate(pieces).astype(np.float32) if pieces else np.zeros(0, np.float32)
            late = (first or 0.0) - _first_picture(container, first or 0.0)
    except FFmpegError as error:
        raise UsageError(f"{path}: its sound cannot be read: {error}") from error
    shift = round(late * RATE)
    return samples[-shift:] if shift < 0 else np.concatenate((np.zeros(shift, np.float32), samples))


def _first_picture(container: Any, otherwise: float) -> float:
    if not container.streams.video:
        return otherwise
    stream = container.streams.video[0]
    return float((stream.start_time or 0) * stream.time_base)


def on_parts(samples: Floats, frames: int, rate: float) -> tuple[Floats, Any]:
    """Samples cut or filled with silence to the parts that ``frames`` pictures at ``rate`` a second need, and
    (frames,) each one's part.
    """
    part = np.floor((np.arange(frames) + 0.5) / rate * RATE / PART).astype(np.int64)
    wanted = (int(part[-1]) + 1) * PART if frames else 0
    return np.pad(samples[:wanted], (0, max(0, wanted - len(samples)))), part
