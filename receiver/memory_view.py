"""The memory in the demo's film: what each region of the viewer's picture comes from, and what is remembered.

Read from the sender's log (``sender.loop_log``) after the call.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.parameters import Floats, Picture
from receiver.film_style import BACKGROUND, DIM, EMPTY, SAME_S, TITLE, Image, colour, font, letters, stamp, tag

COLUMN = 260
"""Width of what is remembered, px."""
FARTHEST_S = 0.5
"""Outlines are interpolated between frames that are at most so far apart."""

_UNUSED = 0.55
"""Brightness of a remembered picture that the frame does not use."""


@dataclass(frozen=True)
class _Shelf:
    """The place of a kind of pictures in the column. first: id in the first of ``slots`` slots, of (width, height) px each."""

    name: str
    first: int
    slots: int
    size: tuple[int, int]
    a_row: int


SHELVES = (
    _Shelf("photos", 0, 8, (61, 61), 4),
    _Shelf("mouth patches", 8, 13, (48, 32), 5),
    _Shelf("eye patches", 21, 10, (48, 24), 5),
)
_SPACE = 5


@dataclass(frozen=True, eq=False)
class Kept:
    """A remembered picture: its bytes on the way and a small copy, (h, w, 3)."""

    size: int
    picture: Picture


@dataclass(frozen=True, eq=False)
class MemoryEntry:
    """What a frame is painted from. photo: id; mouth, eyes: ids, None: the photo's. outlines: (parts, corners, 2), px, by region.
    photos, patches: remembered. sent: bytes of pictures so far. shelf: the small pictures, by id."""

    time_s: float
    photo: int
    mouth: int | None
    eyes: int | None
    outlines: dict[str, Floats]
    photos: int
    patches: int
    sent: int
    shelf: dict[int, Kept] = field(default_factory=dict)


class MemoryLog:
    """The sender's log as far as it speaks of the memory; foreign lines are left out."""

    def __init__(self, path: Path) -> None:
        self._entries: list[MemoryEntry] = []
        shelf: dict[int, Kept] = {}
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            try:
                e = json.loads(line)
                if "forgotten" in e:
                    shelf = {}
                elif "remembered" in e:
                    shelf = shelf | {int(e["remembered"]["id"]): _kept(e["remembered"])}
                else:
                    self._entries.append(replace(_entry(e), shelf=shelf))
            except (ValueError, KeyError, TypeError):
                continue
        self._entries.sort(key=lambda entry: entry.time_s)
        self._times = [entry.time_s for entry in self._entries]

    def at(self, time_s: float) -> MemoryEntry | None:
        """What is known of the frame at a time: outlines between those of the frames before and after it; None: nothing yet."""
        number = bisect_right(self._times, time_s + SAME_S)
        if number == 0:
            return None
        before = self._entries[number - 1]
        if number == len(self._entries):
            return before
        after = self._entries[number]
        span = after.time_s - before.time_s
        if span > FARTHEST_S or time_s <= before.time_s:
            return before
        part = np.float32((time_s - before.time_s) / span)
        shared = before.outlines.keys() & after.outlines.keys()
        moved = {
            name: before.outlines[name] + part * (after.outlines[name] - before.outlines[name])
            for name in shared
            if before.outlines[name].shape == after.outlines[name].shape
        }
        return replace(before, outlines=before.outlines | moved)


def _entry(e: dict[str, Any]) -> MemoryEntry:
    outlines = {str(name): np.asarray(points, np.float32) for name, points in e["outlines"].items()}
    if any(x.ndim != 3 or x.shape[2] != 2 or not bool(np.isfinite(x).all()) for x in outlines.values()):
        raise ValueError("outlines are lists of points")
    mouth, eyes = (None if e[name] is None else int(e[name]) for name in ("mouth", "eyes"))
    photos, patches, sent = (int(e[name]) for name in ("photos", "patches", "pictures_bytes"))
    return MemoryEntry(e["time_ms"] / 1000, int(e["photo"]), mouth, eyes, outlines, photos, patches, sent)


def _kept(e: dict[str, Any]) -> Kept:
    import cv2

    data = np.frombuffer(base64.b64decode(e["jpeg"]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise ValueError("no picture")
    return Kept(int(e["bytes"]), np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))


def drawn(picture: Picture, entry: MemoryEntry | None) -> Picture:
    """The viewer's picture with what it is painted from: a frame in the photo's colour, mouth and eyes outlined where they come
    from pictures of their own, the ids beside them."""
    if entry is None:
        return picture
    import cv2

    out, side = picture.copy(), picture.shape[1]
    scale, thick = side / 256, max(1, side // 180)
    for name, chosen in (("eyes", entry.eyes), ("mouth", entry.mouth)):
        parts = entry.outlines.get(name)
        if chosen is None or parts is None:
            continue
        corners = np.rint(parts * scale * 16).astype(np.int32)
        cv2.polylines(out, list(corners), True, colour(chosen), thick, cv2.LINE_AA, 4)
        right, top = parts.reshape(-1, 2).max(0)[0] * scale, parts.reshape(-1, 2).mean(0)[1] * scale
        words = tag(f"{name} {chosen}", chosen, side // 24)
        stamp(out, words, round(right) + 5, round(top) - words.shape[0] // 2)
    cv2.rectangle(out, (1, 1), (side - 2, out.shape[0] - 2), colour(entry.photo), 3)
    stamp(out, tag(f"photo {entry.photo}", entry.photo, side // 22), 0, 0)
    return out


@lru_cache(maxsize=2)
def _column(height: int) -> Image:
    """What never changes of the column."""
    from PIL import Image as PilImage
    from PIL import ImageDraw

    image = PilImage.new("RGB", (COLUMN, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for shelf in SHELVES:
        draw.text((0, _place(shelf, 0)[1] - TITLE - 3), shelf.name, DIM, font(15))
        for slot in range(shelf.slots):
            left, top = _place(shelf, slot)
            right, bottom = left + shelf.size[0] - 1, top + shelf.size[1] - 1
            draw.rectangle((left, top, right, bottom), outline=EMPTY)
    return np.array(image)


def _place(shelf: _Shelf, slot: int) -> tuple[int, int]:
    """Left and top of a slot in the column."""
    top = 0
    for other in SHELVES:
        top += TITLE
        if other is shelf:
            break
        top += -(-other.slots // other.a_row) * (other.size[1] + _SPACE)
    row, column = divmod(slot, shelf.a_row)
    return column * (shelf.size[0] + _SPACE), top + row * (shelf.size[1] + _SPACE)


def column(entry: MemoryEntry | None, height: int) -> Image:
    """(height, COLUMN, 3): the remembered pictures on their shelves, those in use bright and framed."""
    import cv2

    out = _column(height).copy()
    if entry is None:
        return out
    used = {entry.photo, entry.mouth, entry.eyes}
    for shelf in SHELVES:
        for slot in range(shelf.slots):
            number = shelf.first + slot
            kept = entry.shelf.get(number)
            if kept is None:
                continue
            left, top = _place(shelf, slot)
            width, tall = shelf.size
            part = out[top : top + tall, left : left + width]
            small = cv2.resize(kept.picture, shelf.size, interpolation=cv2.INTER_AREA)
            part[:] = small if number in used else np.rint(small * np.float32(_UNUSED))
            if number in used:
                cv2.rectangle(out, (left, top), (left + width - 1, top + tall - 1), colour(number), 2)
            stamp(out, tag(str(number), number, 10), left, top)
            if shelf.first == 0:
                _small(out, f"{kept.size / 1000:.1f} kB", left + width - 4, top + tall - 4)
    return out


def _small(out: Image, text: str, right: int, bottom: int) -> None:
    words = letters(text, 10)
    height, width = words.shape[:2]
    part = out[bottom - height : bottom, right - width : right]
    part[:] = np.maximum(part // 4, words)
