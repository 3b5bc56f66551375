"""Recordings of a call's pictures that cost the call almost nothing: JPEG of high quality, one record per frame.

Half a millisecond a frame where lossless video takes three. For the demo's film, not for exchange: a record is the
time stamp (float64, s), the length (uint32) and a JPEG, little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.errors import HeadwireError
from codec.parameters import Picture
from receiver.sinks import Sink, check_writable, with_badge

RECORDING = ".rec"
QUALITY = 95
_HEAD = struct.Struct("<dI")
_MAX_RECORD = 1 << 22


@dataclass(frozen=True)
class RecordedFrame:
    """time_s: the time stamp. picture: (H, W, 3) uint8 RGB."""

    time_s: float
    picture: Picture


class RecordingSink(Sink):
    """Writes a recording. A process that is killed leaves what was written so far."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError when the file cannot be written."""
        check_writable(path)
        self._path = path
        self._file = path.open("wb")

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        import cv2

        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(with_badge(picture, badge), cv2.COLOR_RGB2BGR), options)
        try:
            self._file.write(_HEAD.pack(time_s, len(data)) + data.tobytes())
        except OSError as error:
            raise HeadwireError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self, keep: bool = True) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise HeadwireError(f"{self._path} cannot be written: {error.strerror}") from error


def read_recording(path: Path) -> Iterator[RecordedFrame]:
    """The frames in the order written; an end that was cut off is left out."""
    import cv2

    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            time_s, length = _HEAD.unpack(head)
            data = file.read(min(length, _MAX_RECORD))
            if not data or len(data) != length:
                return
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                return
            yield RecordedFrame(time_s, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
