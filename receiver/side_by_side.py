"""The demo's film: what the sender's camera saw beside what the receiver painted, with live figures under both.

During the call each end only records its pictures (``open_sink("NAME.rec", ...)``: near-lossless JPEG, 0.5 ms each) and
the receiver a log of figures, so that the film costs the call nothing; ``compose`` puts them together afterwards, matched
by time stamp.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError
from codec.parameters import Picture
from receiver.recording import RECORDING, RecordedFrame, read_recording
from receiver.sinks import open_sink, with_badge

SIDE = 360
"""Side of each picture in the film."""
GAP = 12
STRIP = 92
SPAN_S = 2.0
"""The figures under the pictures are those of the last so many seconds."""
SAME_S = 0.0015
"""Time stamps nearer than this are the same frame's (files count in milliseconds)."""
_BACKGROUND = (18, 20, 24)
_BRIGHT = (240, 242, 245)
_DIM = (150, 156, 165)
_WRONG = (255, 40, 20)


@dataclass(frozen=True)
class LiveFigures:
    """What stands under the pictures, at one moment; ``None`` is shown as a dash.

    payload_kbps: parameters and motion. wire_kbps: every datagram, forward. fps: shown. latency_ms: frame read to sink.
    lost_percent: frames that never came.
    """

    payload_kbps: float | None = None
    wire_kbps: float | None = None
    fps: float | None = None
    latency_ms: float | None = None
    lost_percent: float | None = None


@dataclass(frozen=True)
class _Entry:
    """A line of the receiver's log, one for each frame shown: time stamp, when it was shown (s), running totals."""

    time_s: float
    at: float
    latency_ms: float | None
    lost: int
    payload_bytes: int


class CallLog:
    """The receiver's log, JSON lines with ``time_ms, at, latency_ms, lost, payload_bytes``; foreign lines are left out."""

    def __init__(self, path: Path) -> None:
        entries = []
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            try:
                e = json.loads(line)
                latency = None if e["latency_ms"] is None else float(e["latency_ms"])
                entries.append(
                    _Entry(e["time_ms"] / 1000, float(e["at"]), latency, int(e["lost"]), int(e["payload_bytes"]))
                )
            except (ValueError, KeyError, TypeError):
                continue
        self._entries = sorted(entries, key=lambda entry: entry.time_s)
        self._times = [entry.time_s for entry in self._entries]

    def figures(self, time_s: float, wire_kbps: float | None) -> LiveFigures:
        """Those of the ``SPAN_S`` seconds before a time stamp."""
        end = bisect_right(self._times, time_s + SAME_S)
        recent = self._entries[bisect_right(self._times, time_s - SPAN_S) : end]
        if len(recent) < 5:
            return LiveFigures(wire_kbps=wire_kbps)
        first, last = recent[0], recent[-1]
        seconds = max(last.at - first.at, 1e-3)
        latencies = [entry.latency_ms for entry in recent if entry.latency_ms is not None]
        lost = last.lost - first.lost
        return LiveFigures(
            payload_kbps=(last.payload_bytes - first.payload_bytes) * 8 / 1000 / seconds,
            wire_kbps=wire_kbps,
            fps=(len(recent) - 1) / seconds,
            latency_ms=float(np.median(latencies)) if latencies else None,
            lost_percent=100 * lost / (lost + len(recent)),
        )


class ErrorLog:
    """The sender's log of its closed loop, JSON lines with ``time_ms, state, confidence``; foreign lines are left out."""

    def __init__(self, path: Path) -> None:
        entries = []
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            try:
                e = json.loads(line)
                confidence = np.asarray(e["confidence"], np.float32)
                if confidence.ndim == 2 and confidence.size:
                    entries.append((e["time_ms"] / 1000, confidence, str(e["state"])))
            except (ValueError, KeyError, TypeError):
                continue
        self._entries = sorted(entries, key=lambda entry: entry[0])
        self._times = [entry[0] for entry in self._entries]

    def drawn(self, picture: Picture, time_s: float) -> Picture:
        """The viewer's picture, reddened by region as far as the sender thinks it wrong; its state, where it is not steady."""
        import cv2

        at = bisect_right(self._times, time_s + SAME_S)
        if at == 0:
            return picture
        _, confidence, state = self._entries[at - 1]
        size = (picture.shape[1], picture.shape[0])
        doubt = np.asarray(cv2.resize(1 - confidence, size, interpolation=cv2.INTER_LINEAR))[..., None] * 0.7
        out = np.rint(picture * (1 - doubt) + np.array(_WRONG, np.float32) * doubt).astype(np.uint8)
        return with_badge(out, None if state == "steady" else state)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@cache
def _frame(left_title: str, right_title: str) -> NDArray[np.uint8]:
    """What never changes: background, titles, names of the figures."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (2 * SIDE + 3 * GAP, SIDE + 3 * GAP + 20 + STRIP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for left, title in ((GAP, left_title), (2 * GAP + SIDE, right_title)):
        draw.text((left, GAP - 3), title, _DIM, _font(15))
    return np.array(image)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


@lru_cache(maxsize=4)
def _strip(figures: LiveFigures) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    width = 2 * SIDE + 3 * GAP
    image = Image.new("RGB", (width, STRIP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    columns = (
        (_number(figures.payload_kbps, 1), "kbps payload"),
        (_number(figures.wire_kbps, 1), "kbps on the wire"),
        (_number(figures.fps, 1), "frames a second"),
        (_number(figures.latency_ms, 0), "ms latency"),
        (_number(figures.lost_percent, 1), "% lost"),
    )
    step = (width - 2 * GAP) / len(columns)
    for column, (value, name) in enumerate(columns):
        draw.text((GAP + column * step, 6), value, _BRIGHT, _font(34))
        draw.text((GAP + column * step, 52), name, _DIM, _font(15))
    return np.array(image)


def panel(left: Picture, right: Picture, figures: LiveFigures, titles: tuple[str, str]) -> NDArray[np.uint8]:
    """One frame of the film, (H, W, 3) uint8 with even sides. titles: over the left and the right picture."""
    import cv2

    out = _frame(*titles).copy()
    top = GAP + 20
    for column, picture in enumerate((left, right)):
        start = GAP + column * (SIDE + GAP)
        scaled = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        out[top : top + SIDE, start : start + SIDE] = scaled
    out[top + SIDE + GAP : top + SIDE + GAP + STRIP] = _strip(figures)
    return out


def compose(
    sent: Path,
    shown: Path,
    log: Path,
    out: Path,
    *,
    fps: float = 25.0,
    wire: Mapping[str, Any] | None = None,
    titles: tuple[str, str] = ("sender: the camera", "receiver: painted from what was sent"),
    errors: Path | None = None,
) -> int:
    """Make the film (.mp4 or .mkv) and return its number of frames.

    sent, shown: recordings (.rec) or videos of both ends, with time stamps of one clock. log: see ``CallLog``.
    wire: the call's figures, for ``wire_kbps_forward`` (mean of the call). errors: see ``ErrorLog``; drawn on the right.
    One frame for each that the sender captured, at its time stamp; the right picture is the newest one that is no later,
    so that a freeze in the call is a freeze in the film. Raises HeadwireError when a recording is empty or the film
    cannot be written.
    """
    entries = CallLog(log)
    doubts = ErrorLog(errors) if errors is not None else None
    kbps = wire.get("wire_kbps_forward") if wire else None
    received = _frames(shown)
    coming = next(received, None)
    if coming is None:
        raise HeadwireError(f"the receiver recorded no picture, so {out} was not made: look at its messages")
    right = np.full_like(coming.picture, 24)
    began: float | None = None
    written = 0
    figures = LiveFigures(wire_kbps=kbps)
    with open_sink(str(out), fps, "Headwire call", realtime=True, wait=True) as sink:
        for frame in _frames(sent):
            while coming is not None and coming.time_s <= frame.time_s + SAME_S:
                right, coming = coming.picture, next(received, None)
            if began is None:
                began = frame.time_s
            if written % 5 == 0:  # figures that change with every frame cannot be read
                figures = entries.figures(frame.time_s, kbps)
            viewer = right if doubts is None else doubts.drawn(right, frame.time_s)
            sink.show(panel(frame.picture, viewer, figures, titles), frame.time_s - began)
            written += 1
        if not written:
            raise HeadwireError(f"the sender recorded no picture, so {out} was not made: look at its messages")
    return written


def _frames(path: Path) -> Iterator[RecordedFrame]:
    if path.suffix == RECORDING:
        yield from read_recording(path)
        return
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield RecordedFrame(float(frame.time or 0.0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    except (av.FFmpegError, OSError) as error:
        raise HeadwireError(f"{path} cannot be read, so the film was not made: look at the call's messages") from error
