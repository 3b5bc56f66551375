"""Which field a frame is shown with: between two that came, held, or faded out when no more come."""

from __future__ import annotations

from dataclasses import replace

from codec.motion import FADE_FRAMES, KEPT, MotionField, distance

LONGEST_GAP = 10
"""Frames between two fields up to which the frames between are shown between them."""


class MotionTrack:
    """The fields that came, by the sequence number of their frame. Not thread-safe: one thread paints."""

    def __init__(self) -> None:
        self._fields: dict[int, MotionField] = {}

    def clear(self) -> None:
        """Forget all fields."""
        self._fields.clear()

    def add(self, field: MotionField) -> None:
        """Take a field, in any order."""
        self._fields[field.sequence] = field
        newest = max(self._fields, key=lambda s: distance(s, field.sequence))
        for old in [s for s in self._fields if distance(newest, s) >= 2 * KEPT]:
            del self._fields[old]

    def at(self, sequence: int, photo_id: int) -> MotionField | None:
        """The field of one frame painted from one photo; ``None``: it is shown without."""
        before: MotionField | None = None
        after: MotionField | None = None
        for s, field in self._fields.items():
            age = distance(sequence, s)
            if age >= 0 and (before is None or age < distance(sequence, before.sequence)):
                before = field
            elif age < 0 and (after is None or age > distance(sequence, after.sequence)):
                after = field
        if before is None or before.photo_id != photo_id:
            return None
        age = distance(sequence, before.sequence)
        late = age - before.lifetime
        if late > 0:
            if late >= FADE_FRAMES:
                return None
            before = replace(before, weight=before.weight * (1 - late / FADE_FRAMES))
        if after is None or after.photo_id != photo_id or age == 0:
            return before
        gap = distance(after.sequence, before.sequence)
        return before.towards(after, age / gap) if gap <= LONGEST_GAP else before
