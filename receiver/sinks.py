"""Where the receiver's pictures go: ``open_sink`` finds the sink that a SINK on the command line names."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.parameters import Floats, Picture

FILE_KINDS = (".mp4", ".mkv", ".y4m")


class Sink(ABC):
    """Takes the frames of one call or file. A context manager: leaving it by an exception discards what was written."""

    live = False
    """Somebody is watching now: it takes pictures that are not new, such as the last one with a badge."""

    closed_by_user = False
    """The user closed the window: the receiver should end."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close(keep=kind is None)

    @abstractmethod
    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        """One frame; returns within a millisecond where the sink is a live one.

        picture: (H, W, 3) uint8 RGB, not kept; H and W stay the same. time_s: seconds, rising.
        badge: a few words drawn small on the picture.
        Raises HeadwireError when the sink failed (disk full).
        """

    def play(self, samples: Floats, time_s: float) -> None:  # noqa: B027  (most sinks are silent)
        """Sound: (N,) float32 mono, -1..1, at the sample rate given to ``open_sink``; time_s of the first sample."""

    def close(self, keep: bool = True) -> None:  # noqa: B027
        """Finish; ``keep`` = False leaves no file. Safe to call twice. Raises HeadwireError like ``show``."""


class NullSink(Sink):
    """Shows nothing."""

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        return


def with_badge(picture: Picture, badge: str | None) -> Picture:
    """The picture with a few words in its lower left corner, on a dark bar; itself when there is no badge."""
    if not badge:
        return picture
    import cv2

    height, width = picture.shape[:2]
    out = picture.copy()
    scale = width / 256 * 0.42
    (text_width, text_height), _ = cv2.getTextSize(badge, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    top = height - text_height - 14
    bar = out[top : height - 4, 4 : min(width, text_width + 16)]
    bar[:] = bar // 4
    cv2.putText(out, badge, (10, height - 9), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return out


def open_sink(
    spec: str,
    fps: float | Fraction,
    title: str = "Headwire",
    audio: bool = False,
    *,
    realtime: bool = True,
    wait: bool | None = None,
    sample_rate: int = 48000,
) -> Sink:
    """The sink for ``window``, ``camera``, ``browser[:PORT]``, ``null`` or a file name.

    Files: .mp4 (H.264), .mkv (FFV1, without loss), .y4m, .rec (``receiver.recording``).

    fps: nominal. realtime: frames are written at their own times; otherwise frame i is frame i at exactly ``fps``.
    wait: ``show`` waits for a slow encoder; otherwise it drops frames (default: only where not ``realtime``).
    audio: a sound track (.mp4) or the loudspeaker (window), of float samples at ``sample_rate``.
    Raises UsageError for an unknown sink or a file that cannot be written, HeadwireError for a screen or device that fails.
    """
    kind, _, port = spec.partition(":")
    if spec == "null":
        return NullSink()
    if Path(spec).suffix.lower() in FILE_KINDS:
        from receiver.sinks_files import open_file_sink

        return open_file_sink(
            Path(spec), fps, title, sample_rate if audio else None, realtime, not realtime if wait is None else wait
        )
    if Path(spec).suffix == ".rec":
        from receiver.recording import RecordingSink

        return RecordingSink(Path(spec))
    if spec == "window":
        from receiver.sinks_window import WindowSink

        return WindowSink(title, sample_rate if audio else None)
    if spec == "camera":
        from receiver.sinks_camera import VirtualCameraSink

        return VirtualCameraSink(float(fps))
    if kind == "browser":
        from receiver.sinks_browser import DEFAULT_PORT, BrowserSink

        if port and not (port.isdigit() and 0 <= int(port) < 65536):
            raise UsageError(f"{port!r} is not a port: use browser:PORT with a number from 1 to 65535")
        return BrowserSink(int(port) if port else DEFAULT_PORT, title)
    raise UsageError(
        f"unknown sink {spec!r}: use window, camera, browser[:PORT], null, or a file that ends in {', '.join(FILE_KINDS)}"
    )


def check_writable(path: Path) -> None:
    """Raises UsageError, in one sentence, when a file cannot be created there."""
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")
    if not folder.exists():
        raise UsageError(f"no such folder: {folder}; create it first")
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: choose another place for {path.name}")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"{path} cannot be written: you have no permission")


def as_rgb(picture: NDArray[np.uint8]) -> Picture:
    """A contiguous (H, W, 3) uint8 picture of its own, safe to hand to another thread."""
    return np.array(picture, np.uint8, order="C", copy=True)
