"""The sender's judgement: which remembered picture mouth and eyes come from, and what new picture is worth its bytes now.

It paints what the viewer would see and compares it with the camera's picture. What is chosen travels in the motion field; what is
new, as an update (``codec.photo_update``): a whole photo, or a patch around mouth or eyes, each a change of what the viewer sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codec.motion import NONE, Change, MotionDecoder, MotionField, encode_motion
from codec.motion_grid import GRID, LARGEST, LEVELS, OFFSETS, POINTS, UNIT, change
from codec.packets import window_integers, window_of
from codec.parameter_codec import decode_fit, encode_fit
from codec.parameters import SIZE, Floats, FrameParameters, Picture, Region
from codec.photo import chunks
from codec.photo_update import WHOLE, Rectangle, residual, update_message
from codec.quantiser import dequantise, quantise
from codec.still import encode_still
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from models.regions import Share, join, rectangle
from models.warp import Photo


@dataclass(frozen=True)
class MemorySettings:
    """What the memory may cost. kbps: mean, after the first photo; 0: nothing is ever sent.

    saved_s: seconds of that which may be saved up. quality: of a whole photo, patch_quality: of a patch, 0..100. hysteresis: share by
    which another picture must be better for mouth or eyes to be taken from it. looked_at: pictures compared, at most. worth:
    grey values of error in a region from which a patch is worth its bytes. better: share of error that a new photo must save.
    """

    kbps: float = 3.0
    saved_s: float = 8.0
    quality: int = 50
    patch_quality: int = 50
    hysteresis: float = 0.12
    looked_at: int = 6
    worth: float = 5.0
    better: float = 0.3
    patches: bool = True
    photos: bool = True


WHOLE_IDS = range(1, 8)
PATCH_IDS = {Region.MOUTH: range(8, 21), Region.EYES: range(21, 31)}
PAUSE_S = 0.3
"""Between two patches of a region."""

LEAST_PATCH = 90
"""Bytes of a patch, about."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the judgement found in a frame.

    mouth, eyes: ids chosen. error: mean difference in grey values, whole picture and by region. painted: what the viewer sees.
    """

    mouth: int
    eyes: int
    error: dict[Region, float]
    painted: Picture


@dataclass(frozen=True, eq=False)
class _Draft:
    """The base of an update, as the receiver will paint it, and what the message says of it."""

    parameters: FrameParameters
    coded_fit: bytes
    motion: bytes
    painted: Picture


class MemoryPlanner:
    """One sender's memory. Not thread-safe.

    memory: the sender's copy of the viewer's.
    """

    def __init__(self, memory: PhotoMemory, settings: MemorySettings) -> None:
        self.settings = settings
        self._memory = memory
        self._bytes = 0.0
        self._at_s: float | None = None
        self._used: dict[int, float] = {}
        self._chosen = {Region.MOUTH: NONE, Region.EYES: NONE}
        self._patched_s = {Region.MOUTH: -1.0, Region.EYES: -1.0}
        self._cost = 2500.0
        self._floor: float | None = None

    def look(self, picture: Picture, frame: DrivingFrame, time_s: float) -> Seen:
        """Compare a frame with what the viewer sees. frame: with the newest field that was sent, if any."""
        if self._at_s is not None:
            most = self.settings.kbps * 125 * self.settings.saved_s
            self._bytes = min(most, self._bytes + self.settings.kbps * 125 * (time_s - self._at_s))
        self._at_s = time_s
        warp = self._memory.warp
        base = warp.source(frame)
        plain = frame if frame.motion is None else _without(frame)
        painted = warp.painted(plain, base)
        error = {}
        for region in (Region.MOUTH, Region.EYES):
            share = warp.regions.share(region, frame.visibility, frame.vertices)
            if share is not None:
                error[region] = self._choose(region, picture, painted, frame, base, share)
                self._used[self._chosen[region]] = time_s
        error[Region.WHOLE] = _unlike(picture, painted)
        self._used[base.reference.photo_id] = time_s
        return Seen(self._chosen[Region.MOUTH], self._chosen[Region.EYES], error, painted)

    def _choose(
        self, region: Region, picture: Picture, painted: Picture, frame: DrivingFrame, base: Photo, share: Share
    ) -> float:
        """The error of the region with the best picture, which is joined to ``painted``."""
        left, top, right, bottom = share.box
        truth = picture[top:bottom, left:right]
        plain = painted[top:bottom, left:right].copy()
        candidates = [(NONE, _error(truth, plain, share), plain)]
        for photo in self._nearest(region, frame, base):
            part = plain.copy()
            own = Share((0, 0, right - left, bottom - top), share.weight)
            join(part, self._memory.warp.part(frame, photo, share), own)
            candidates.append((photo.reference.photo_id, _error(truth, part, share), part))
        best = min(candidates, key=lambda c: c[1])
        kept = next((c for c in candidates if c[0] == self._chosen[region]), candidates[0])
        if best[1] > (1 - self.settings.hysteresis) * kept[1]:
            best = kept
        self._chosen[region] = best[0]
        painted[top:bottom, left:right] = best[2]
        return best[1]

    def _nearest(self, region: Region, frame: DrivingFrame, base: Photo) -> list[Photo]:
        """Pictures whose mouth or eyes have nearly the frame's shape; the one that is chosen now among them."""
        photos = [
            p
            for i, p in self._memory.warp.photos.items()
            if i < NONE and p is not base and p.reference.region in (Region.WHOLE, region)
        ]
        points = self._memory.warp.regions.points(region)
        here = _shape(np.asarray(frame.vertices), points)

        def away(photo: Photo) -> float:
            if photo.reference.photo_id == self._chosen[region]:
                return -1.0
            return float(np.abs(_shape(photo.vertices, points) - here).mean())

        return sorted(photos, key=away)[: self.settings.looked_at]

    def propose(
        self, picture: Picture, frame: DrivingFrame, seen: Seen, identity_version: int, time_s: float
    ) -> list[bytes]:
        """The messages of one picture that is worth its bytes now, or none."""
        settings = self.settings
        if settings.kbps <= 0:
            return []
        base = self._memory.warp.source(frame)
        whole = seen.error[Region.WHOLE]
        if settings.photos and self._bytes >= self._cost and whole > self._wanted:
            messages = self._whole(picture, frame, base, identity_version)
            self._floor = whole
            return messages
        if not settings.patches:
            return []
        for region in (Region.MOUTH, Region.EYES):
            if (
                seen.error.get(region, 0.0) > settings.worth
                and self._bytes >= LEAST_PATCH
                and time_s - self._patched_s[region] >= PAUSE_S
            ):
                self._patched_s[region] = time_s
                return self._patch(region, picture, frame, base, identity_version)
        return []

    @property
    def _wanted(self) -> float:
        return 0.0

    def _whole(self, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        draft = self._draft(frame, base)
        still = encode_still(residual(picture, draft.painted), self.settings.quality)
        messages = self._messages(Region.WHOLE, WHOLE, draft, base, version, still)
        self._cost = 0.5 * self._cost + 0.5 * sum(len(m) for m in messages)
        return messages

    def _patch(self, region: Region, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        share = self._memory.warp.regions.share(region, frame.visibility, frame.vertices)
        assert share is not None
        left, top, right, bottom = rectangle(share)
        box = Rectangle(left, top, right - left, bottom - top)
        draft = self._draft(frame, base)
        missing = residual(picture, draft.painted)[box.rows, box.columns].astype(np.float32) - 128
        weight = np.zeros((SIZE, SIZE, 1), np.float32)
        weight[share.box[1] : share.box[3], share.box[0] : share.box[2], 0] = np.minimum(1, 4 * share.weight)
        missing *= weight[box.rows, box.columns]
        still = encode_still(np.rint(missing + 128).astype(np.uint8), self.settings.patch_quality)
        return self._messages(region, box, draft, base, version, still)

    def _draft(self, frame: DrivingFrame, base: Photo) -> _Draft:
        coded = encode_fit(quantise(frame.parameters.vector()))
        window = window_of(window_integers(frame.parameters.window))
        parameters = FrameParameters.from_vector(dequantise(decode_fit(coded)), window)
        motion, field = b"", None
        if frame.motion is not None:
            motion = key_packet(frame.motion, base.reference.photo_id)
            field = MotionDecoder().decode(motion, 0)
        there = self._memory.driving(parameters, field)
        return _Draft(parameters, coded, motion, self._memory.warp.painted(there, base))

    def _messages(
        self, region: Region, box: Rectangle, draft: _Draft, base: Photo, version: int, still: bytes
    ) -> list[bytes]:
        photo_id, base_id = self._free(region, base), base.reference.photo_id
        start = update_message(
            photo_id, base_id, version, region, box, draft.parameters, draft.coded_fit, draft.motion, still
        )
        messages = [start, *chunks(photo_id, still)]
        self._bytes -= sum(len(m) for m in messages)
        return messages

    def _free(self, region: Region, base: Photo) -> int:
        """An id for a new picture: one that is free, else that which was used longest ago."""
        ids = WHOLE_IDS if region is Region.WHOLE else PATCH_IDS[region]
        kept = {base.reference.photo_id, *self._chosen.values()}
        return min((i for i in ids if i not in kept), key=lambda i: self._used.get(i, -1.0))


LARGEST_KEY = 160
"""Bytes that a field may take in an update: where it needs more, it is said more coarsely."""


def key_packet(field: MotionField, photo_id: int) -> bytes:
    """A field as a packet that hangs on nothing: level by level what the coarser ones leave, to the nearest step."""
    for step, levels in ((4, 4), (8, 4), (4, 3), (8, 2)):
        numbers = np.zeros((POINTS, 2), np.int32)
        for n, offset in list(zip(LEVELS, OFFSETS, strict=False))[:levels]:
            left = field.control - change(numbers, step)
            side = GRID // n
            cells = left.reshape(n, side, n, side, 2).mean((1, 3)) / (step * UNIT / 4)
            numbers[offset : offset + n * n] = np.clip(np.rint(cells), -LARGEST, LARGEST).reshape(n * n, 2)
        data = encode_motion(Change(numbers, step, mouth=field.mouth, eyes=field.eyes), 0, photo_id)
        if len(data) <= LARGEST_KEY:
            break
    return data


def _without(frame: DrivingFrame) -> DrivingFrame:
    assert frame.motion is not None
    return replace(frame, motion=replace(frame.motion, mouth=NONE, eyes=NONE))


def _shape(vertices: Any, points: Any) -> Floats:
    """Some points of a mesh, without place, size and turn in the picture: (N, 3)."""
    x = vertices[points]
    x = x - x.mean(0)
    scale = np.linalg.norm(vertices[33, :2] - vertices[263, :2]) + 1e-6
    return np.asarray(x / scale, np.float32)


def _error(truth: Any, shown: Any, share: Share) -> float:
    """Mean difference, in grey values, by the share's weight."""
    difference = np.abs(truth.astype(np.int16) - shown).mean(2)
    return float((difference * share.weight).sum() / (share.weight.sum() + 1e-6))


def _unlike(truth: Picture, shown: Picture) -> float:
    import cv2

    return float(cv2.absdiff(truth, shown).mean())
