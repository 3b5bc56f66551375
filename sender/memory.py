"""The sender's judgement: which remembered picture mouth and eyes come from, and what new picture is worth its bytes now.

It paints what the viewer would see and compares it with the camera's picture. What is chosen travels in the motion field; what is
new, as an update (``codec.photo_update``): a whole photo, or a patch around mouth or eyes, each a change of what the viewer sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codec.light import unlit
from codec.motion import NONE
from codec.parameters import SIZE, Floats, Picture, Region
from codec.photo import chunks
from codec.photo_update import WHOLE, Rectangle, mended, residual, update_message
from codec.still import decode_still, encode_still
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from models.regions import rectangle
from models.warp import Photo
from sender.defects import WORTH, Defects, feather
from sender.layer_choice import LayerChoice, unlike
from sender.photo_choice import PhotoChoice
from sender.picture_light import PictureLight
from sender.region_choice import RegionChoice
from sender.update_draft import Draft, draft


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

LEAST_PART = 400
"""Bytes of a photo that is new in one place, about."""

LATER, MOST_LATER = 2000, 1.0
"""Bytes of it that may be paid for later where a place is twice as wrong as is worth them; the same for as wrong as can be."""

PART_PAUSE_S = 1.0
"""Between two of these."""

MENDS = 0.25
"""Share of how unlike the truth the picture is that such a photo takes away, at least: the rest loses by being painted anew."""

SETTLED_S = 2.0
"""After one of these, before a photo may be paid for later: what moves there now would be in it."""

SMOOTHED_S = 0.5
"""Seconds over which the picture's error is smoothed."""

MUCH = 4.0
"""How many times worse than is worth a photo the picture must be for one that is paid for later."""

FRESH_S = 0.5
"""After a photo the picture is as good as it will be with it."""


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
        self._regions = RegionChoice(memory.warp, settings.hysteresis, settings.looked_at)
        self._patched_s = {Region.MOUTH: -1.0, Region.EYES: -1.0}
        self._cost = 1800.0
        self._unlike: float | None = None
        self._fresh: float | None = None
        self._since_s: float | None = None
        self.photos = PhotoChoice(memory, 2 * settings.hysteresis)
        self.layers = LayerChoice(memory, settings.kbps > 0)
        self._light = PictureLight()
        self._defects = Defects()
        self._parted_s = -1.0

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
                error[region] = self._regions.choose(region, picture, painted, frame, base, share)
                self._used[self._regions.chosen[region]] = time_s
        error[Region.WHOLE], shown = self.layers.compare(picture, painted, frame, base, passed)
        now = error[Region.WHOLE]
        self._defects.learn(picture, shown, base.reference.picture, passed)
        self._light.learn(truth, painted, base, passed)
        if self._unlike is None or self._since_s is None:
            self._unlike, self._since_s = now, time_s
        self._unlike += (now - self._unlike) * min(1.0, passed / SMOOTHED_S)
        if self._fresh is None and time_s - self._since_s >= FRESH_S:
            self._fresh = self._unlike
        self._used[base.reference.photo_id] = time_s
        mouth, eyes = (self._regions.chosen[region] for region in (Region.MOUTH, Region.EYES))
        return Seen(mouth, eyes, error, picture, self.layers.important)

    def propose(
        self, picture: Picture, frame: DrivingFrame, seen: Seen, identity_version: int, time_s: float
    ) -> list[bytes]:
        """The messages of one picture that is worth its bytes now, or none."""
        settings = self.settings
        if settings.kbps <= 0:
            return []
        base = self._memory.warp.source(frame)
        defect = self._defects.worst()
        if defect is not None and self._refined and self._fresh is not None and time_s - self._parted_s >= PART_PAUSE_S:
            later = LATER * min(defect.wrong / WORTH - 1, MOST_LATER)
            if self._bytes[Region.WHOLE] + later >= LEAST_PART:
                self._parted_s = time_s
                part = self._part(picture, frame, base, identity_version, defect.box)
                if part:
                    self._unlike = None
                    return part
        settled = time_s - self._parted_s >= SETTLED_S
        price = 0.0 if settled and self._worse_by(MUCH * settings.better) else self._cost
        if self._bytes[Region.WHOLE] >= price and self._worse_by(settings.better):
            self._since_s, self._fresh, self._unlike = None, None, None
            return self._whole(picture, frame, base, identity_version)
        light = self._light.another(base, time_s)
        if light:
            return light
        stands_wrongly = self.layers.wrong
        for region in (Region.MOUTH, Region.EYES):
            if (
                (stands_wrongly or seen.error.get(region, 0.0) > settings.worth)
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
        self.layers.forget()
        plain = replace(frame, motion=None)
        return self._whole(picture, plain, self._memory.warp.source(frame), identity_version)

    @property
    def _refined(self) -> bool:
        """Whether a photo has come after the first: before that, what is wrong is to be mended by one."""
        return sum(p.reference.region is Region.WHOLE for p in self._memory.warp.photos.values()) > 1

    def _worse_by(self, share: float) -> bool:
        """Whether the picture is worse by that share than it was soon after the last photo."""
        return self._fresh is not None and self._unlike is not None and self._unlike > (1 + share) * self._fresh

    def _whole(self, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        there = draft(self._memory, frame, base)
        still = encode_still(residual(picture, there.painted), self.settings.quality, self.settings.speed)
        messages = self._messages(Region.WHOLE, WHOLE, there, base, version, still)
        self._cost = 0.5 * self._cost + 0.5 * sum(len(m) for m in messages)
        return messages

    def _part(self, picture: Picture, frame: DrivingFrame, base: Photo, version: int, box: Rectangle) -> list[bytes]:
        """A photo that is what the viewer sees but for one place; nothing where that mends little."""
        there = draft(self._memory, frame, base)
        missing = residual(picture, there.painted).astype(np.float32) - 128
        weight = feather(box)
        still = encode_still(
            np.rint(missing * weight + 128).astype(np.uint8), self.settings.quality, self.settings.speed
        )
        new = mended(there.painted, WHOLE, decode_still(still, SIZE, SIZE))
        if unlike(picture, new) > (1 - MENDS) * unlike(picture, there.painted):
            return []
        return self._messages(Region.WHOLE, WHOLE, there, base, version, still)

    def _patch(self, region: Region, picture: Picture, frame: DrivingFrame, base: Photo, version: int) -> list[bytes]:
        share = self._memory.warp.regions.share(region, frame.visibility, frame.vertices)
        assert share is not None
        left, top, right, bottom = rectangle(share)
        box = Rectangle(left, top, right - left, bottom - top)
        there = draft(self._memory, replace(frame, motion=None), base)
        missing = residual(picture, there.painted)[box.rows, box.columns].astype(np.float32) - 128
        weight = np.zeros((SIZE, SIZE, 1), np.float32)
        weight[share.box[1] : share.box[3], share.box[0] : share.box[2], 0] = np.minimum(1, 4 * share.weight)
        missing *= weight[box.rows, box.columns]
        still = encode_still(np.rint(missing + 128).astype(np.uint8), self.settings.patch_quality)
        return self._messages(region, box, there, base, version, still)

    def _messages(
        self, region: Region, box: Rectangle, there: Draft, base: Photo, version: int, still: bytes
    ) -> list[bytes]:
        photo_id, base_id = self._free(region, base), base.reference.photo_id
        start = update_message(
            photo_id,
            base_id,
            version,
            region,
            box,
            there.parameters,
            there.coded_fit,
            there.motion,
            still,
            self.layers.stands,
        )
        messages = [start, *chunks(photo_id, still)]
        self._used[photo_id] = self._at_s or 0.0
        self._bytes[Region.WHOLE if region is Region.WHOLE else Region.MOUTH] -= sum(len(m) for m in messages)
        return messages

    def _free(self, region: Region, base: Photo) -> int:
        """An id for a new picture: one that is free, else that which was used longest ago."""
        ids = WHOLE_IDS if region is Region.WHOLE else PATCH_IDS[region]
        kept = {base.reference.photo_id, *self._regions.chosen.values()}
        return min((i for i in ids if i not in kept), key=lambda i: self._used.get(i, -1.0))


def _without(frame: DrivingFrame) -> DrivingFrame:
    assert frame.motion is not None
    return replace(frame, motion=replace(frame.motion, mouth=NONE, eyes=NONE))
