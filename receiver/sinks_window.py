"""A window on the screen. OpenCV's windows live in one thread of their own; Esc, q or its close button ends the call."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

from codec.errors import HeadwireError
from codec.parameters import Floats, Picture
from receiver.sinks import Sink, with_badge
from receiver.speaker import Speaker

SHOWN_SIDE = 512
"""Side of the window when it opens, pixels."""
OPEN_S = 10.0
CLOSING_KEYS = (27, ord("q"), ord("Q"))


class WindowSink(Sink):
    """Shows the newest frame; older ones that were not drawn in time are skipped."""

    live = True

    def __init__(self, title: str, sample_rate: int | None = None) -> None:
        """sample_rate: of the sound, ``None`` for a silent window. Raises HeadwireError where there is no screen."""
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise HeadwireError(
                "there is no screen here for --sink window: use --sink browser, or a file such as call.mp4"
            )
        self._title = title
        self._newest: Picture | None = None
        self._changed = threading.Condition()
        self._stop = False
        self._opened = threading.Event()
        self._failure: HeadwireError | None = None
        self._thread = threading.Thread(target=self._run, name="window", daemon=True)
        self._thread.start()
        self._opened.wait(OPEN_S)
        if self._failure is not None:
            raise self._failure
        self._speaker = None if sample_rate is None else Speaker(sample_rate)

    def play(self, samples: Floats, time_s: float) -> None:
        if self._speaker is not None:
            self._speaker.play(samples)

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        if self._failure is not None:
            raise self._failure
        copy = np.array(with_badge(picture, badge))
        with self._changed:
            self._newest = copy
            self._changed.notify()

    def close(self, keep: bool = True) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(2.0)
        if self._speaker is not None:
            self._speaker.close()

    def _run(self) -> None:
        import cv2

        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, SHOWN_SIDE, SHOWN_SIDE)
            self._opened.set()
            while not self._stop:
                with self._changed:
                    # wakes now and then without a frame: the window must answer the mouse
                    self._changed.wait_for(lambda: self._newest is not None or self._stop, 0.03)
                    picture, self._newest = self._newest, None
                if picture is not None:
                    cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                pressed = cv2.pollKey() & 0xFF
                if pressed in CLOSING_KEYS or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                    self.closed_by_user = True
                    break
            cv2.destroyWindow(self._title)
        except cv2.error as error:
            self._failure = HeadwireError(
                "no window can be opened here (no screen, or OpenCV without windows): use --sink browser or a file"
            )
            self._failure.__cause__ = error
        finally:
            self._opened.set()
