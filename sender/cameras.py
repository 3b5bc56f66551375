"""Cameras by index or name, as FFmpeg's capture devices want to be told."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codec.errors import HeadwireError, UsageError

V4L = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class CameraAddress:
    """What FFmpeg needs to open a camera.

    name: for people. file, format: FFmpeg's. options: asked for; preferred: asked for first, may be refused.
    """

    name: str
    file: str
    format: str
    options: dict[str, str] = field(default_factory=dict)
    preferred: dict[str, str] = field(default_factory=dict)


def linux_cameras(root: Path = V4L) -> list[tuple[int, str]]:
    """(index, name) of the video capture devices that the kernel lists; metadata nodes of a camera are left out."""
    found = []
    for node in root.glob("video*") if root.is_dir() else ():
        number = node.name.removeprefix("video")
        if not number.isdigit():
            continue
        try:
            name = (node / "name").read_text(errors="replace").strip()
            metadata = (node / "index").read_text().strip() not in ("", "0")
        except OSError:
            name, metadata = f"video{number}", False
        if not metadata:
            found.append((int(number), name))
    return sorted(found)


def camera_address(camera: str | int | None, root: Path = V4L, platform: str = sys.platform) -> CameraAddress:
    """The address of a camera. ``None`` is the first one. Raises UsageError when there is no such camera."""
    wanted = "" if camera is None else str(camera).strip()
    if platform == "darwin":
        return CameraAddress(wanted or "0", f"{wanted or '0'}:none", "avfoundation", {"framerate": "30"})
    if platform == "win32":
        if not wanted or wanted.isdigit():
            raise UsageError("on Windows name the camera: --camera 'Name as Windows shows it'")
        return CameraAddress(wanted, f"video={wanted}", "dshow")
    options = {"framerate": "30", "video_size": "1280x720"}
    preferred = {"input_format": "mjpeg"}
    if path := re.fullmatch(r"/dev/video(\d+)", wanted):
        wanted = path[1]
    cameras = linux_cameras(root)
    if not cameras:
        raise UsageError("no camera was found: plug one in, or play a file with --play FILE")
    for index, name in cameras:
        if not wanted or wanted == str(index) or wanted.casefold() == name.casefold():
            return CameraAddress(f"{index} ({name})", f"/dev/video{index}", "v4l2", options, preferred)
    partial = [
        (index, name) for index, name in cameras if not wanted.isdigit() and wanted.casefold() in name.casefold()
    ]
    if len(partial) == 1:
        index, name = partial[0]
        return CameraAddress(f"{index} ({name})", f"/dev/video{index}", "v4l2", options, preferred)
    there = ", ".join(f"{index} ({name})" for index, name in cameras)
    raise UsageError(f"no camera {wanted!r}: there is {there}")


def open_camera(camera: str | int | None) -> tuple[Any, str]:
    """The opened PyAV container, and the camera for people. Raises UsageError, or HeadwireError when it is busy or gone."""
    import av

    address = camera_address(camera)
    attempts: list[dict[str, str]] = [{**address.options, **address.preferred}, address.options, {}]
    error: Exception | None = None
    for options in attempts:
        try:
            return av.open(address.file, format=address.format, options=options), f"camera {address.name}"
        except (av.error.PermissionError, av.error.FileNotFoundError) as refused:
            error = refused
            break
        except OSError as refused:
            error = refused
            if isinstance(refused, av.FFmpegError) and refused.errno == 16:
                break
        except (av.FFmpegError, ValueError) as refused:
            error = refused
    reason = {
        1: "you may not open it: join the group 'video'",
        13: "you may not open it: join the group 'video'",
        16: "another program uses it: close that program",
    }.get(getattr(error, "errno", 0) or 0, "check that it is plugged in; 'headwire devices' lists what is there")
    raise HeadwireError(f"camera {address.name} cannot be opened: {reason}") from error
