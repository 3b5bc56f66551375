"""What the sender knows of its viewer, frame by frame, as JSON lines: how sure it is where, and what the memory does.

A line for each frame looked at: ``time_ms, number, state, error, bytes`` (of the motion packet), ``confidence`` (8 x 8); ``photo,
mouth, eyes``: ids of the pictures that the frame is painted from, null where mouth or eyes come from the photo as all else;
``outlines``: of both regions in the viewer's picture, px; ``photos, patches``: so many are remembered; ``pictures_bytes``: sent
for them so far. A line for each picture that came to the viewer: ``time_ms, remembered``: ``id, region, bytes, jpeg`` (base64,
small; of a patch its region alone). A line ``time_ms, forgotten`` when another viewer came.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from codec.face_model import GROUPS
from codec.motion import NONE, distance
from codec.parameters import Floats, Picture, ReferenceFrame, Region
from codec.photo import begins_photo
from codec.photo_update import UPDATE
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from models.regions import RINGS
from sender.closed_loop import LoopReport

CORNERS = 16
"""Points of an outline."""

PARTS = {Region.MOUTH: ("lips",), Region.EYES: ("right_eyelids", "left_eyelids")}
"""What a region has an outline around."""

THUMBS = {Region.WHOLE: (64, 64), Region.MOUTH: (96, 64), Region.EYES: (96, 48)}
"""Width and height of the pictures in the log."""

QUALITY = 85


class LoopLog:
    """Writes the log. ``write`` and ``close`` are the encoder's thread's, all else is the loop's."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._sizes: dict[int, int] = {}
        self._begun: int | None = None
        self._sent = 0
        self._news: deque[dict[str, Any]] = deque()
        self._notes: deque[tuple[int, dict[str, Any]]] = deque(maxlen=64)

    def sent(self, message: bytes) -> None:
        """A message of the photos' channel is on its way."""
        self._sent += len(message)
        if begins_photo(message) or message[:1] == bytes((UPDATE,)):
            self._begun = message[1]
            self._sizes[self._begun] = 0
        if self._begun is not None:
            self._sizes[self._begun] += len(message)

    def remembered(self, reference: ReferenceFrame, vertices: Floats) -> None:
        """The viewer has another picture. vertices: (478, 3), its posed mesh."""
        entry = {"id": reference.photo_id, "region": reference.region.name.lower()}
        entry |= {"bytes": self._sizes.get(reference.photo_id, 0), "jpeg": _jpeg(reference, vertices)}
        self._news.append({"remembered": entry})

    def forgotten(self) -> None:
        """Another viewer, who has nothing."""
        self._news.append({"forgotten": True})

    def looked(self, frame: DrivingFrame, report: LoopReport, memory: PhotoMemory) -> None:
        """What the viewer paints a frame from."""
        field, photos = report.field, memory.warp.photos
        chosen = memory.warp.photo.reference.photo_id if field is None else field.photo_id
        whole = sum(photo.reference.region is Region.WHOLE for photo in photos.values())
        note = {
            "photo": chosen,
            "mouth": None if field is None or field.mouth == NONE else field.mouth,
            "eyes": None if field is None or field.eyes == NONE else field.eyes,
            "outlines": {r.name.lower(): np.round(outlines(r, frame.vertices), 1).tolist() for r in PARTS},
            "photos": whole,
            "patches": len(photos) - whole,
            "pictures_bytes": self._sent,
        }
        self._notes.append((report.sequence, note))

    def write(self, report: LoopReport, time_ms: int | None) -> None:
        """A frame's line, and those of what came before it."""
        while self._news:
            self._put({"time_ms": time_ms} | self._news.popleft())
        note: dict[str, Any] = {}
        while self._notes and distance(report.sequence, self._notes[0][0]) >= 0:
            number, found = self._notes.popleft()
            note = found if number == report.sequence else note
        entry = {
            "time_ms": time_ms,
            "number": report.sequence,
            "state": report.state.value,
            "error": round(report.error, 2),
            "bytes": len(report.data or b""),
            "confidence": np.round(report.confidence, 3).tolist(),
        }
        self._put(entry | note)

    def close(self) -> None:
        self._file.close()

    def _put(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")


def outlines(region: Region, vertices: Floats) -> Floats:
    """(parts, CORNERS, 2): where a region takes half of its own picture, px: the hull of its points, grown.

    vertices: (478, 3), posed. The corners look the same ways in every frame, so that outlines can be interpolated.
    """
    _, near, far = RINGS[region]
    grown = (near + far) / 2 * np.linalg.norm(vertices[33, :2] - vertices[263, :2])
    angles = 2 * np.pi * np.arange(CORNERS) / CORNERS
    ways = np.stack((np.cos(angles), np.sin(angles)), 1)
    points = [vertices[GROUPS[part], :2] for part in PARTS[region]]
    return np.asarray([p[np.argmax(ways @ p.T, 1)] + grown * ways for p in points], np.float32)


def _jpeg(reference: ReferenceFrame, vertices: Floats) -> str:
    """The picture or its region, small, as the log has it."""
    import cv2

    region, picture = reference.region, reference.picture
    size = THUMBS[region]
    if region is not Region.WHOLE:
        picture = _cut(picture, outlines(region, vertices).reshape(-1, 2), size[0] / size[1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(data.tobytes()).decode()


def _cut(picture: Picture, corners: Floats, aspect: float) -> Picture:
    """The rectangle of some width over height around some points, as far as it lies in the picture."""
    low, high = corners.min(0), corners.max(0)
    middle, (width, height) = (low + high) / 2, high - low
    half = np.array((max(width, height * aspect), max(height, width / aspect))) / 2
    side = np.array(picture.shape[1::-1])
    left, top = np.clip(np.floor(middle - half), 0, side - 2).astype(int)
    right, bottom = np.clip(np.ceil(middle + half), (left + 2, top + 2), side).astype(int)
    return picture[top:bottom, left:right]
