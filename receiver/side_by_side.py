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
from receiver.film_style import BACKGROUND, BRIGHT, DIM, GAP, SAME_S, SIDE, TITLE, WRONG, font
from receiver.memory_view import MemoryLog, column, drawn
from receiver.recording import RECORDING, RecordedFrame, read_recording
from receiver.sinks import open_sink, with_badge

STRIP = 92
SPAN_S = 2.0
"""The figures under the pictures are those of the last so many seconds."""


@dataclass(frozen=True)
class LiveFigures:
    """What stands under the pictures, at one moment; ``None`` is shown as a dash.

    payload_kbps: parameters and motion. wire_kbps: every datagram, forward. fps: shown. latency_ms: frame read to sink.
    lost_percent: frames that never came. pictures_kb, total_kb: photos and patches so far, and parameters and motion with them.
    """

    payload_kbps: float | None = None
    wire_kbps: float | None = None
    fps: float | None = None
    latency_ms: float | None = None
    lost_percent: float | None = None
    pictures_kb: float | None = None
    total_kb: float | None = None


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

    def figures(self, time_s: float, wire_kbps: float | None, pictures: int | None = None) -> LiveFigures:
        """Those of the ``SPAN_S`` seconds before a time stamp. pictures: bytes of them so far."""
        end = bisect_right(self._times, time_s + SAME_S)
        recent = self._entries[bisect_right(self._times, time_s - SPAN_S) : end]
        if len(recent) < 5:
            return LiveFigures(wire_kbps=wire_kbps, pictures_kb=_kilo(pictures))
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
            pictures_kb=_kilo(pictures),
            total_kb=_kilo(None if pictures is None else pictures + last.payload_bytes),
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
        out = np.rint(picture * (1 - doubt) + np.array(WRONG, np.float32) * doubt).astype(np.uint8)
        return with_badge(out, None if state == "steady" else state)


@cache
def _frame(left_title: str, right_title: str, width: int) -> NDArray[np.uint8]:
    """What never changes: background, titles, names of the figures."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, SIDE + 3 * GAP + TITLE + STRIP), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for left, title in ((GAP, left_title), (2 * GAP + SIDE, right_title)):
        draw.text((left, GAP - 3), title, DIM, font(15))
    return np.array(image)


def _kilo(size: int | None) -> float | None:
    return None if size is None else size / 1000


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


@lru_cache(maxsize=4)
def _strip(figures: LiveFigures, width: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, STRIP), BACKGROUND)
    draw = ImageDraw.Draw(image)
    columns = [
        (_number(figures.payload_kbps, 1), "kbps payload"),
        (_number(figures.wire_kbps, 1), "kbps on the wire"),
        (_number(figures.fps, 1), "frames a second"),
        (_number(figures.latency_ms, 0), "ms latency"),
        (_number(figures.lost_percent, 1), "% lost"),
    ]
    if figures.pictures_kb is not None:
        columns[2:2] = [
            (_number(figures.pictures_kb, 1), "kB of pictures"),
            (_number(figures.total_kb, 1), "kB payload in all"),
        ]
    step = (width - 2 * GAP) / len(columns)
    for place, (value, name) in enumerate(columns):
        draw.text((GAP + place * step, 6), value, BRIGHT, font(34))
        draw.text((GAP + place * step, 52), name, DIM, font(15))
    return np.array(image)


def panel(
    left: Picture,
    right: Picture,
    figures: LiveFigures,
    titles: tuple[str, str],
    beside: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """One frame of the film, (H, W, 3) uint8 with even sides. titles: over the left and the right picture. beside: what
    stands on the right of both, (SIDE + TITLE, w, 3)."""
    width = 2 * SIDE + 3 * GAP + (0 if beside is None else beside.shape[1] + GAP)
    out = _frame(*titles, width).copy()
    top = GAP + TITLE
    for number, picture in enumerate((left, right)):
        start = GAP + number * (SIDE + GAP)
        out[top : top + SIDE, start : start + SIDE] = _scaled(picture)
    if beside is not None:
        out[GAP : top + SIDE, 2 * SIDE + 3 * GAP : width - GAP] = beside
    out[top + SIDE + GAP : top + SIDE + GAP + STRIP] = _strip(figures, width)
    return out


def _scaled(picture: Picture) -> Picture:
    import cv2

    if picture.shape[:2] == (SIDE, SIDE):
        return picture
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


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
    memory: bool = False,
) -> int:
    """Make the film (.mp4 or .mkv) and return its number of frames.

    sent, shown: recordings (.rec) or videos of both ends, with time stamps of one clock. log: see ``CallLog``.
    wire: the call's figures, for ``wire_kbps_forward`` (mean of the call). errors: the sender's log (``sender.loop_log``); where the
    picture is wrong is drawn on the right. memory: and what it is painted from, and what is remembered beside it.
    One frame for each that the sender captured, at its time stamp; the right picture is the newest one that is no later,
    so that a freeze in the call is a freeze in the film. Raises HeadwireError when a recording is empty or the film
    cannot be written.
    """
    entries = CallLog(log)
    doubts = ErrorLog(errors) if errors is not None else None
    remembers = MemoryLog(errors) if errors is not None and memory else None
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
            source = None if remembers is None else remembers.at(frame.time_s)
            if written % 5 == 0:  # figures that change with every frame cannot be read
                pictures = None if remembers is None else 0 if source is None else source.sent
                figures = entries.figures(frame.time_s, kbps, pictures)
            viewer = right if doubts is None else doubts.drawn(right, frame.time_s)
            beside = None
            if remembers is not None:
                viewer = drawn(_scaled(viewer), source)
                beside = column(source, SIDE + TITLE)
            sink.show(panel(frame.picture, viewer, figures, titles, beside), frame.time_s - began)
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
