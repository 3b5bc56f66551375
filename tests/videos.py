"""Real faces and small videos for the tests of capture, crop and landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from sender.capture import open_source
from sender.demo_clip import CLIPS, demo_clip

Picture = NDArray[np.uint8]
TICK = Fraction(1, 90000)


@cache
def clip_frames(count: int = 30, start: float = CLIPS["wolfgang"].start_s) -> tuple[Picture, ...]:
    """(360, 640, 3) frames of the demo clip, from where it is played."""
    with open_source(demo_clip(), None, realtime=False, start=start, seconds=count / 20) as source:
        frames = tuple(frame.picture for frame in source)[:count]
    assert len(frames) == count
    return frames


def numbered(count: int, width: int = 64, height: int = 48) -> list[Picture]:
    """Grey pictures that say their number: 4 k + 20."""
    return [np.full((height, width, 3), 4 * k + 20, np.uint8) for k in range(count)]


def number(picture: NDArray[Any]) -> int:
    """The number of a picture of ``numbered``, lossy coding notwithstanding."""
    return round((float(picture.mean()) - 20) / 4)


def write_video(
    path: Path,
    pictures: Sequence[Picture],
    fps: float = 25.0,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    codec: str = "libx264",
) -> Path:
    """A video file; times: of each frame, for a variable frame rate. rotation: degrees, as metadata."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.codec_context.time_base = TICK
        if rotation:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts = round((times[index] if times else index / fps) / TICK)
            frame.time_base = TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
