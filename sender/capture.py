"""Pictures from a video file or a camera.

In a call the newest frame wins: a reader thread decodes, waits until a frame is due by its own time stamp and puts it
into a mailbox of one slot; a consumer that is slow finds the newest frame there and the others are gone, so that no
delay builds up. For ``encode`` and ``fit`` there is no clock: every frame comes, in order.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError
from sender.cameras import open_camera

log = logging.getLogger(__name__)

LONGEST_SIDE = 1920
"""Larger pictures are scaled while their colours are converted (longest side, pixels) ..."""
SCALED_SIDE = 1280
"""... to this longest side: 4K costs 6 ms to scale to it, 9 ms to 1920; 1920 x 1080 costs 0.8 ms unscaled."""
DEFAULT_FPS = 25.0
EVEN_PACE = 1.2
"""``max_fps`` lets a source through whole that is at most this much faster: 30 fps kept even looks better than 25 of 30."""
LATE = 0.25
"""Seconds behind the file's clock after which frames that no other frame needs are not even decoded."""


@dataclass(frozen=True)
class CapturedFrame:
    """A picture and when it was taken.

    index: number of the frame in the source's (thinned) sequence: a gap says that frames were dropped.
    time_s: seconds since the first frame, by the source's time stamps. captured_at: ``time.monotonic()`` when it was read.
    picture: (H, W, 3) uint8 RGB, upright, square pixels.
    """

    index: int
    time_s: float
    captured_at: float
    picture: NDArray[np.uint8]


class Source:
    """Iterate over it for ``CapturedFrame``; a context manager that frees file, camera and thread.

    fps: nominal frames per second after thinning. size: (width, height) of the pictures. realtime: newest frame wins.
    """

    def __init__(
        self,
        container: Any,
        name: str,
        *,
        live: bool,
        realtime: bool,
        start: float,
        seconds: float | None,
        loop: bool,
        max_fps: float | None,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self._container = container
        self._name = name
        self._live = live
        self.realtime = realtime or live
        self._start = start
        self._seconds = seconds
        self._loop = loop and not live
        self._stream = container.streams.video[0]
        self._reformatter = VideoReformatter()
        rate = float(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_FPS)
        rate = rate if 0 < rate <= 1000 else DEFAULT_FPS
        step = max(1, math.ceil(rate / (EVEN_PACE * max_fps) - 0.02)) if max_fps else 1
        self.fps = rate / step
        self._thin = step > 1 or live
        context = self._stream.codec_context
        large = context.width * context.height > LONGEST_SIDE * 1080
        # frame threads delay frames and hold one large picture each: only 4K needs them
        self._stream.thread_type = "AUTO" if large and not live else "SLICE"
        context.thread_count = 2 if large else 1
        self._mailbox: CapturedFrame | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._frames = self._read()
        self._first = next(self._frames, None)
        if self._first is None:
            self._container.close()
            raise UsageError(f"{name} holds no picture that can be decoded{self._where()}; give another video file")
        height, width = self._first.picture.shape[:2]
        self.size = (width, height)

    def _where(self) -> str:
        return f" after {self._start:g} s" if self._start else ""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and free the file or camera. An iteration under way ends. Safe to call twice."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)
        if self._thread is None or not self._thread.is_alive():
            self._container.close()

    def __iter__(self) -> Iterator[CapturedFrame]:
        """Frames; where ``realtime``, blocks for the newest one. Raises HeadwireError when a camera fails."""
        if not self.realtime:
            if self._first is not None:
                first, self._first = self._first, None
                yield first
            for frame in self._frames:
                if self._stop.is_set():
                    return
                yield frame
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._pace, name="capture", daemon=True)
            self._thread.start()
        while True:
            with self._changed:
                while self._mailbox is None and not self._ended and not self._stop.is_set():
                    self._changed.wait()
                newest, self._mailbox = self._mailbox, None
            if self._stop.is_set():
                return
            if newest is None:
                if self._failure is not None:
                    raise self._failure
                return
            yield newest

    def _pace(self) -> None:
        try:
            self._began = time.monotonic()
            if self._first is not None and not self._live:
                # decoded while opening; a camera's is stale by now
                self._post(CapturedFrame(0, self._first.time_s, time.monotonic(), self._first.picture))
            self._first = None
            for frame in self._frames:
                self._post(frame)
                if self._stop.is_set():
                    break
        except Exception as error:  # noqa: BLE001  (handed to the consumer, which raises it)
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _post(self, frame: CapturedFrame) -> None:
        with self._changed:
            self._mailbox = frame
            self._changed.notify()

    def _read(self) -> Iterator[CapturedFrame]:
        """Decode, thin, pace and convert; frames that come too late for their turn are not converted."""
        index = 0
        offset = 0.0
        origin: float | None = None
        slot = 0
        while True:
            last = None
            for frame in self._decode(rewind=offset > 0 or self._start > 0):
                arrived = time.monotonic()
                stamp = float(frame.time) if frame.time is not None else (last if last is not None else -1 / self.fps)
                if frame.time is None:
                    stamp += 1 / self.fps
                if origin is None and stamp < self._start - 1e-3 and not self._live:
                    continue
                if last is None and offset > 0 and stamp < self._start - 1e-3:
                    continue
                if origin is None:
                    origin = stamp
                last = stamp
                time_s = max(0.0, stamp - origin + offset)
                if self._seconds is not None and time_s >= self._seconds - 1e-6:
                    return
                if self._thin:
                    if math.floor(time_s * self.fps + 0.25) < slot:
                        continue
                    slot = math.floor(time_s * self.fps + 0.25) + 1
                index += 1
                if self._thread is not None and not self._live:
                    wait = self._began + time_s - time.monotonic()
                    context = self._stream.codec_context
                    context.skip_frame = "NONREF" if wait < -LATE else "DEFAULT"
                    if wait < -1.5 / self.fps:
                        continue
                    if wait > 0 and self._stop.wait(wait):
                        return
                    arrived = time.monotonic()
                yield CapturedFrame(index - 1, time_s, arrived, self._convert(frame))
            if not self._loop or last is None or origin is None:
                return
            offset += last - origin + 1 / self.fps

    def _decode(self, rewind: bool) -> Iterator[Any]:
        """Frames from ``start`` on; damaged packets are skipped with one warning."""
        import av

        if rewind and not self._live:
            try:
                self._container.seek(int(self._start * 1e6))
            except av.FFmpegError as error:
                raise UsageError(
                    f"{self._name} cannot be read from {self._start:g} s on; play it from the start"
                ) from error
        warned = False
        packets = self._container.demux(self._stream)
        while not self._stop.is_set():
            try:
                packet = next(packets)
                yield from packet.decode()
            except StopIteration:
                return
            except av.BlockingIOError:
                self._stop.wait(0.002)
                packets = self._container.demux(self._stream)
            except av.error.InvalidDataError:
                if not warned:
                    log.warning("%s is damaged: parts of it are skipped", self._name)
                warned = True
            except (av.error.EOFError, av.error.ExitError):
                return
            except (av.FFmpegError, OSError) as error:
                reason = error.strerror or "read error"
                raise HeadwireError(f"{self._name} stopped giving pictures ({reason}): check the connection") from error

    def _convert(self, frame: Any) -> NDArray[np.uint8]:
        width, height = frame.width, frame.height
        aspect = self._stream.sample_aspect_ratio
        if aspect and aspect > 0 and aspect != 1 and 0.1 < aspect < 10:
            width = max(1, round(width * float(aspect)))
        longest = max(width, height)
        if longest > LONGEST_SIDE:
            width = max(1, round(width * SCALED_SIDE / longest))
            height = max(1, round(height * SCALED_SIDE / longest))
        scaled = (width, height) != (frame.width, frame.height)
        converted = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation="AREA" if scaled else "BILINEAR", threads=1
        )
        picture = np.asarray(converted.to_ndarray(), np.uint8)
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def open_source(
    play: Path | None,
    camera: str | int | None,
    *,
    loop: bool = False,
    seconds: float | None = None,
    realtime: bool = True,
    start: float = 0.0,
    max_fps: float | None = None,
) -> Source:
    """Open a video file, or a camera by index or name (``None`` and no file: the first camera).

    loop: start again at the end, time running on. seconds: end after so much. start: skip so many seconds of the file.
    max_fps: thin a faster source to an even pace near this. realtime: see ``Source``; a camera always is.
    Raises UsageError for what is no video, HeadwireError for a camera that fails.
    """
    if play is not None and camera is not None:
        raise UsageError("a file and a camera were both given: choose --play or --camera")
    options: dict[str, Any] = {"start": start, "seconds": seconds, "max_fps": max_fps}
    if play is not None:
        return Source(_open_file(play), str(play), live=False, realtime=realtime, loop=loop, **options)
    container, name = open_camera(camera)
    try:
        return Source(container, name, live=True, realtime=True, loop=False, **options)
    except UsageError as error:
        raise HeadwireError(f"{name} gives no picture: check that it is not covered, asleep or in use") from error


def _open_file(path: Path) -> Any:
    import av

    if not path.exists():
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give a video file")
    if path.stat().st_size == 0 and path.is_file():
        raise UsageError(f"{path} is empty: give a video file")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read: you have no permission") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UsageError(f"{path} is not a video that can be read, or is cut off: give another file") from error
    form = container.format.name
    if form.endswith("_pipe") or form in ("image2", "tty"):
        container.close()
        kind = "a text" if form == "tty" else "a picture"
        raise UsageError(f"{path} is {kind}, not a video: give a video file, or --camera")
    if not container.streams.video:
        container.close()
        raise UsageError(f"{path} has sound but no picture: give a video file")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise UsageError(f"{path} uses a video codec that is not supported: convert it to H.264")
    return container


def has_sound(path: Path) -> bool:
    """Whether a video file has an audio stream. Raises UsageError like ``open_source``."""
    with _open_file(path) as container:
        return bool(container.streams.audio)
