"""A virtual camera, which other programs can choose as their camera."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from codec.errors import HeadwireError
from codec.parameters import SIZE, Picture
from receiver.sinks import Sink, with_badge


class VirtualCameraSink(Sink):
    """pyvirtualcam over v4l2loopback (Linux) or OBS (Windows, macOS)."""

    live = True

    def __init__(self, fps: float) -> None:
        """Raises HeadwireError where no virtual camera is installed."""
        try:
            import pyvirtualcam

            self._camera: Any = pyvirtualcam.Camera(
                SIZE, SIZE, max(1.0, fps), fmt=pyvirtualcam.PixelFormat.RGB, print_fps=False
            )
        except ImportError as error:
            raise HeadwireError("the package pyvirtualcam is missing: run 'make setup'") from error
        except (RuntimeError, OSError) as error:
            advice = (
                "load it with 'sudo modprobe v4l2loopback exclusive_caps=1' (Debian: apt install v4l2loopback-dkms)"
                if sys.platform.startswith("linux")
                else "install OBS and start its virtual camera once"
            )
            raise HeadwireError(f"there is no free virtual camera: {advice}") from error
        self.device = str(self._camera.device)

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        try:
            self._camera.send(np.ascontiguousarray(with_badge(picture, badge)))
        except (RuntimeError, OSError, ValueError) as error:
            raise HeadwireError(f"the virtual camera {self.device} stopped taking pictures: start again") from error

    def close(self, keep: bool = True) -> None:
        self._camera.close()
