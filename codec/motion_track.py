"""Which field a frame is shown with: between two that came, held, or faded out when no more come."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from codec.motion import FADE_FRAMES, KEPT, MotionField, distance

EASE = 0.7
"""How much of the way to a field that has just come a call's viewer goes with each frame, while it knows no younger one: less
flicker, a little later."""

EASED = 3
"""Frames from one picture to the next, at most, between which it is eased."""

LONGEST_GAP = 10
"""Frames between two fields up to which the frames between are shown between them."""


class MotionTrack:
    """The fields that came, by the sequence number of their frame. Not thread-safe: one thread paints."""

    def __init__(self, ease: float = 1.0) -> None:
        """ease: 1 shows a field as soon as it is there; a call has the next one later than it is needed, and takes ``EASE``."""
        self._ease = ease
        self._fields: dict[int, MotionField] = {}
        self._shown: tuple[int, MotionField] | None = None

    def clear(self) -> None:
        """Forget all fields."""
        self._fields.clear()
        self._shown = None

    def add(self, field: MotionField) -> None:
        """Take a field, in any order."""
        self._fields[field.sequence] = field
        newest = max(self._fields, key=lambda s: distance(s, field.sequence))
        for old in [s for s in self._fields if distance(newest, s) >= 2 * KEPT]:
            del self._fields[old]

    def at(self, sequence: int, photos: Container[int]) -> MotionField | None:
        """The field of one frame; ``None``: it is shown without. photos: ids of those that are there to be moved. Frames are
        asked for in order."""
        field = self._at(sequence, photos)
        if self._ease == 1.0:
            return field
        ahead = any(distance(s, sequence) > 0 for s in self._fields)
        if self._shown is not None and field is not None and not ahead:
            since, before = distance(sequence, self._shown[0]), self._shown[1]
            if 0 < since <= EASED and before.photo_id == field.photo_id:
                field = before.towards(field, 1 - (1 - self._ease) ** since)
        self._shown = None if field is None else (sequence, field)
        return field

    def _at(self, sequence: int, photos: Container[int]) -> MotionField | None:
        before: MotionField | None = None
        after: MotionField | None = None
        for s, field in self._fields.items():
            age = distance(sequence, s)
            if age >= 0 and (before is None or age < distance(sequence, before.sequence)):
                before = field
            elif age < 0 and (after is None or age > distance(sequence, after.sequence)):
                after = field
        if before is None or before.photo_id not in photos:
            return None
        age = distance(sequence, before.sequence)
        late = age - before.lifetime
        if late > 0:
            if late >= FADE_FRAMES:
                return None
            before = replace(before, weight=before.weight * (1 - late / FADE_FRAMES))
        if after is None or after.photo_id != before.photo_id or age == 0:
            return before
        gap = distance(after.sequence, before.sequence)
        return before.towards(after, age / gap) if gap <= LONGEST_GAP else before
