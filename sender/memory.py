"""The sender's judgement: which remembered picture mouth and eyes come from, and what new picture is worth its bytes now.

It paints what the viewer would see and compares it with the camera's picture. What is chosen travels in the motion field; what is
new, as an update (``codec.photo_update``): a whole photo, or a patch around mouth or eyes, each a change of what the viewer sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codec.light import MOST, STEP, light_message, unlit
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
from sender.motion import Explained, MotionEncoder


@dataclass(frozen=True)
class MemorySettings:
    """What the memory may cost. kbps: mean, after the first photo; 0: nothing is ever sent.

    saved_s: seconds of that which may be saved up, first_s: as if they were at the start. quality: of a whole photo, patch_quality:
    of a patch, 0..100. hysteresis: share by which another picture must be better for mouth or eyes, or another photo for all, to be
    taken from it. looked_at: pictures compared, at most. worth: grey values of error in a region from which a patch is worth its
    bytes. better: share by which the picture must have become worse since the last photo for another to be worth its bytes. speed:
    of the still's encoder. patches: share of the bytes that is for patches.
    """

    kbps: float = 3.0
    saved_s: float = 12.0
    first_s: float = 2.0
    quality: int = 40
    patch_quality: int = 40
    hysteresis: float = 0.12
    looked_at: int = 6
    worth: float = 5.0
    better: float = 0.15
    speed: int = 6
    patches: float = 0.15


WHOLE_IDS = range(1, 8)
PATCH_IDS = {Region.MOUTH: range(8, 21), Region.EYES: range(21, 31)}
PAUSE_S = 0.3
"""Between two patches of a region."""

LEAST_PATCH = 120
"""Bytes of a patch, about."""

SMOOTHED_S = 0.5
"""Seconds over which the picture's error is smoothed."""

MUCH = 4.0
"""How many times worse than is worth a photo the picture must be for one that is paid for later."""

FRESH_S = 0.5
"""After a photo the picture is as good as it will be with it."""

STANDING_S = 1.0
"""Seconds over which it is judged whether the background stands still."""

CHANGED = 3
"""Grey values from which a still background is another than the one that goes with the head."""

STANDS = (0.9, 1.0)
"""A background stands still if it so has at most this share of the other's error, for that to be said, and to stay said."""

BUILT = (0.96, 1.0)
"""The same of how unlike the truth the picture is built: where layers win less than that, LPIPS is .003 worse for the cut edges."""

MOVES = 8.0
"""Grey values by which a background that stands still differs from the camera's, at most."""

AT_ONCE = 1.6
"""The same for it to be taken back by a picture sent for that alone."""

LIGHT_S = 0.4
"""Seconds over which the light is smoothed."""

LIGHT_PAUSE_S = 0.24
"""Between two messages of the light."""

VISIBLE = 2
"""Gain, in 1/64, by which the viewer's light must be off for another to be sent."""

TRIED_EVERY = 3
"""Frames from one try of another photo to the next, in quiet: a dense flow is dear."""

PRESSING, LEARNING = 1.05, 1 / 8
"""How many times what is usual a frame's unexplained rest must be for another photo to be tried at once; what the newest counts."""

HALF, WINDOW = 128, (7, 7)
GAIN_SIDE = 32

PLAIN = 0.4
"""What a pixel's own difference counts where a mouth or eyes are chosen; the rest is its edges'."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the judgement found in a frame.

    mouth, eyes: ids chosen. error: mean difference in grey values, whole picture and by region. picture: the camera's, in the light of
    the photo that the viewer sees. important: as ``Warp.compared``, where the background stands.
    """

    mouth: int
    eyes: int
    error: dict[Region, float]
    picture: Picture
    important: Floats | None = None


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
        first = settings.kbps * 125 * settings.first_s
        self._bytes = {Region.WHOLE: first * (1 - settings.patches), Region.MOUTH: first * settings.patches}
        self._at_s: float | None = None
        self._used: dict[int, float] = {}
        self._chosen = {Region.MOUTH: NONE, Region.EYES: NONE}
        self._patched_s = {Region.MOUTH: -1.0, Region.EYES: -1.0}
        self._cost = 1800.0
        self._unlike: float | None = None
        self._fresh: float | None = None
        self._since_s: float | None = None
        self._calls = self._turn = 0
        self._usual = 0.0
        self._try = MotionEncoder()
        self._layers = settings.kbps > 0 and memory.warp.keep_layers()
        self._standing = np.zeros(2)
        self._built = np.zeros(2)
        self._away = 0.0
        self._important: Floats | None = None
        self._light_of = -1
        self._gains: Any = None
        self._lit_s = -1.0

    def look(self, picture: Picture, frame: DrivingFrame, time_s: float) -> Seen:
        """Compare a frame with what the viewer sees. frame: with the newest field that was sent, if any."""
        passed = 0.0 if self._at_s is None else time_s - self._at_s
        if passed:
            rate, patches = self.settings.kbps * 125, self.settings.patches
            for kind, part, least in ((Region.WHOLE, 1 - patches, self._cost), (Region.MOUTH, patches, LEAST_PATCH)):
                saved = self._bytes[kind] + part * rate * passed
                self._bytes[kind] = min(saved, max(part * rate * self.settings.saved_s, 1.2 * least))
        self._at_s = time_s
        warp = self._memory.warp
        base = warp.source(frame)
        truth, picture = picture, unlit(picture, base.reference.light)
        plain = frame if frame.motion is None else _without(frame)
        painted = warp.painted(plain, base)
        error = {}
        for region in (Region.MOUTH, Region.EYES):
            share = warp.regions.share(region, frame.visibility, frame.vertices)
            if share is not None:
                error[region] = self._choose(region, picture, painted, frame, base, share)
                self._used[self._chosen[region]] = time_s
        error[Region.WHOLE] = unlike = self._layered(picture, painted, frame, base, passed)
        self._learn_light(truth, painted, base, passed)
        if self._unlike is None or self._since_s is None:
            self._unlike, self._since_s = unlike, time_s
        self._unlike += (unlike - self._unlike) * min(1.0, passed / SMOOTHED_S)
        if self._fresh is None and time_s - self._since_s >= FRESH_S:
            self._fresh = self._unlike
        self._used[base.reference.photo_id] = time_s
        return Seen(self._chosen[Region.MOUTH], self._chosen[Region.EYES], error, picture, self._important)

    def _learn_light(self, truth: Picture, painted: Picture, base: Photo, passed: float) -> None:
        """By how much brighter the camera sees the scene than the photo does, a colour; smoothed."""
        gains = _gains(truth, painted)
        if self._light_of != base.reference.photo_id or self._gains is None:
            self._light_of, self._gains = base.reference.photo_id, np.array(base.reference.light, np.float64) / STEP
        self._gains += min(1.0, passed / LIGHT_S) * (gains - self._gains)

    def _another_light(self, base: Photo) -> list[bytes]:
        """The message of another light, where the viewer's is off enough to be seen."""
        if self._gains is None or self._light_of != base.reference.photo_id:
            return []
        red, green, blue = (int(np.clip(round(g * STEP), -MOST, MOST)) for g in self._gains)
        away = max(abs(a - b) for a, b in zip((red, green, blue), base.reference.light, strict=True))
        if away < VISIBLE:
            return []
        return [light_message(base.reference.photo_id, (red, green, blue))]

    def _layered(self, picture: Picture, painted: Picture, frame: DrivingFrame, base: Photo, passed: float) -> float:
        """How unlike the truth what the viewer sees is, with layers or without; and learn which is nearer."""
        warp, self._important = self._memory.warp, None
        plain = _unlike(picture, painted)
        if not self._layers:
            return plain
        found = warp.compared(picture, painted, frame, base)
        if found is None:
            return plain
        layered, away, important = found
        here = np.abs(layered.astype(np.int16) - painted).max(2) >= CHANGED
        truth = picture[here].astype(np.int16)
        errors = np.array([np.abs(truth - x[here]).sum() for x in (painted, layered)], np.float64)
        self._standing += min(1.0, passed / STANDING_S) * (errors - self._standing)
        self._away += min(1.0, passed / STANDING_S) * (away - self._away)
        self._important = important if warp.still else None
        unlike = _unlike(picture, layered)
        self._built += min(1.0, passed / STANDING_S) * ((plain, unlike) - self._built)
        return unlike if warp.still else plain

    @property
    def stands(self) -> bool:
        """Whether a background that stands still would be nearer to the truth."""
        plain, layered = self._standing
        said = self._memory.warp.still
        nearer = layered < plain * STANDS[said] and self._built[1] <= self._built[0] * BUILT[said]
        return bool(self._layers and nearer and self._away < MOVES)

    def better_photo(self, picture: Picture, frame: DrivingFrame, explained: Explained) -> int | None:
        """The id of another whole photo that explains a frame clearly better than the one it is painted from; else None.

        One other photo is tried with every third call, or with each where the present one explains less than it did, in turn, by the
        dense flow from what it would show. explained: by the present one.
        """
        now = float(explained.error.mean())
        self._usual += (now - self._usual) * LEARNING
        self._calls += 1
        if self._calls % TRIED_EVERY and now < PRESSING * self._usual:
            return None
        warp = self._memory.warp
        present = warp.source(frame).reference.photo_id
        others = [i for i, p in warp.photos.items() if p.reference.region is Region.WHOLE and i != present]
        if not others:
            return None
        other = others[self._turn % len(others)]
        self._turn += 1
        error = self._try.unexplained(warp.photos[other].reference.picture, picture, warp.flow(frame, other))
        better = error < (1 - 2 * self.settings.hysteresis) * now
        return other if better else None

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
        price = 0.0 if self._worse_by(MUCH * settings.better) else self._cost
        if self._bytes[Region.WHOLE] >= price and self._worse_by(settings.better):
            self._since_s, self._fresh, self._unlike = None, None, None
            return self._whole(picture, frame, base, identity_version)
        light = self._another_light(base) if time_s - self._lit_s >= LIGHT_PAUSE_S else []
        if light:
            self._lit_s = time_s
            return light
        wrong = self._memory.warp.still and (
            self._standing[1] > AT_ONCE * self._standing[0] or self._away > AT_ONCE * MOVES
        )
        for region in (Region.MOUTH, Region.EYES):
            if (
                (wrong or seen.error.get(region, 0.0) > settings.worth)
                and region in seen.error
                and self._bytes[Region.MOUTH] >= LEAST_PATCH
                and time_s - self._patched_s[region] >= PAUSE_S
            ):
                self._patched_s[region] = time_s
                return self._patch(region, seen.picture, frame, base, identity_version)
        return []

    def renew(self, picture: Picture, frame: DrivingFrame, identity_version: int) -> list[bytes]:
        """The messages of a photo where nothing that is remembered explains the frame, or none: it may be paid for later."""
        if self.settings.kbps <= 0 or self._bytes[Region.WHOLE] < 0:
            return []
        self._since_s, self._fresh, self._unlike = None, None, None
        self._standing[:] = 0
        plain = replace(frame, motion=None)
        return self._whole(picture, plain, self._memory.warp.source(frame), identity_version)

    def _worse_by(self, share: float) -> bool:
        """Whether the picture is worse by that share than it was soon after the last photo."""
        return self._fresh is not None and self._unlike is not None and self._unlike > (1 + share) * self._fresh

    def _whole(self, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        draft = self._draft(frame, base)
        still = encode_still(residual(picture, draft.painted), self.settings.quality, self.settings.speed)
        messages = self._messages(Region.WHOLE, WHOLE, draft, base, version, still)
        self._cost = 0.5 * self._cost + 0.5 * sum(len(m) for m in messages)
        return messages

    def _patch(self, region: Region, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        share = self._memory.warp.regions.share(region, frame.visibility, frame.vertices)
        assert share is not None
        left, top, right, bottom = rectangle(share)
        box = Rectangle(left, top, right - left, bottom - top)
        draft = self._draft(replace(frame, motion=None), base)
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
            photo_id, base_id, version, region, box, draft.parameters, draft.coded_fit, draft.motion, still, self.stands
        )
        messages = [start, *chunks(photo_id, still)]
        self._used[photo_id] = self._at_s or 0.0
        self._bytes[Region.WHOLE if region is Region.WHOLE else Region.MOUTH] -= sum(len(m) for m in messages)
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
    """Mean difference, in grey values, by the share's weight: of the pixels, and of each from its neighbours, so that an edge that is
    missing counts more than a shade that is off."""
    away = (truth.astype(np.float32) - shown).mean(2)
    difference = PLAIN * np.abs(away)
    difference[:, 1:] += (1 - PLAIN) * np.abs(np.diff(away, axis=1))
    difference[1:] += (1 - PLAIN) * np.abs(np.diff(away, axis=0))
    return float((difference * share.weight).sum() / (share.weight.sum() + 1e-6))


def _gains(truth: Picture, shown: Picture) -> Any:
    """(3,) by how much more light a picture has than another, a colour, over what is alike."""
    import cv2

    a, b = (
        cv2.resize(x, (GAIN_SIDE, GAIN_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1, 3)
        for x in (truth, shown)
    )
    gain = np.ones(3)
    for _ in range(4):
        off = np.abs(a - gain * b).max(1)
        weight = (1 / (1 + (off / 8) ** 2) * (a.max(1) < 245))[:, None]
        gain = (weight * a).sum(0) / np.maximum((weight * b).sum(0), 1.0)
    return gain - 1


def _unlike(truth: Picture, shown: Picture) -> float:
    """How differently two pictures are built, 0..1: one minus the mean structural similarity at half the size."""
    import cv2

    a, b = (
        cv2.cvtColor(cv2.resize(x, (HALF, HALF), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(np.float32)
        for x in (truth, shown)
    )
    ma, mb = cv2.blur(a, WINDOW), cv2.blur(b, WINDOW)
    va, vb, vab = (
        cv2.blur(a * a, WINDOW) - ma * ma,
        cv2.blur(b * b, WINDOW) - mb * mb,
        cv2.blur(a * b, WINDOW) - ma * mb,
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    same = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return float(1 - same.mean())
