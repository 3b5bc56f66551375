"""Another background than the one behind the person: blurred, or a picture of the user's.

The sender puts it before anything is coded, so that the room never leaves; or the viewer does, on what was painted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.errors import UsageError
from codec.parameters import SIZE, Floats, Picture, Window
from models.person import PersonFinder

BLUR = "blur"

SOFT = (0.35, 0.75)
"""Masks below the first are background, above the second person: hair keeps its edge, and no rim of the room stays."""

HELD = 0.35
"""What the mask before counts in a frame's, so that edges do not boil."""

WIDE = 9
"""Blur's radius in pixels of the picture at a quarter of its size: no letter on a wall can be read through it."""

_SMALL = SIZE // 4


class Backdrop:
    """Puts the person before another background. Not thread-safe; frames in order, because masks are smoothed over time."""

    def __init__(self, spec: str) -> None:
        """spec: ``blur``, or the name of a picture file. Raises UsageError, in one sentence, if that is none."""
        self._picture = None if spec == BLUR else _read(Path(spec))
        self._finder = PersonFinder()
        self._last: Floats | None = None

    def apply(self, picture: Picture, window: Window | None = None) -> Picture:
        """(256, 256, 3) uint8 -> the same with the other background. window: of the picture, with which a picture behind moves."""
        return self._before(picture, self._mask(picture), window or Window())

    def still(self, picture: Picture, window: Window | None = None) -> Picture:
        """``apply`` for a picture that has nothing to do with the frames before and after it."""
        last, self._last = self._last, None
        out = self.apply(picture, window)
        self._last = last
        return out

    def _mask(self, picture: Picture) -> Floats:
        mask = self._finder.mask(picture)
        if self._last is not None:
            mask += np.float32(HELD) * (self._last - mask)
        self._last = mask
        t = np.clip((mask - np.float32(SOFT[0])) / np.float32(SOFT[1] - SOFT[0]), 0, 1)
        return np.asarray(t * t * (3 - 2 * t), np.float32)

    def _before(self, picture: Picture, mask: Floats, window: Window) -> Picture:
        behind = _blurred(picture, mask) if self._picture is None else _placed(self._picture, window)
        share = mask[..., None]
        return np.rint(behind + share * (picture - behind)).astype(np.uint8)


def _blurred(picture: Picture, mask: Floats) -> Floats:
    """(256, 256, 3): the background blurred, without what is the person's."""
    import cv2

    weight = cv2.resize(1 - mask, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
    # Next to the person a pixel of the background counts for many of them; a rim of hair must not.
    weight = cv2.erode(weight, np.ones((3, 3), np.uint8)) + np.float32(1e-4)
    small = cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    both = np.dstack((small * weight[..., None], weight))
    for _ in range(2):
        both = cv2.blur(both, (WIDE, WIDE), borderType=cv2.BORDER_REPLICATE)
    behind = np.ascontiguousarray(both[..., :3] / both[..., 3:])
    return np.asarray(cv2.resize(behind, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def _placed(picture: Picture, window: Window) -> Floats:
    """The background where a window sees it: it stands still in the camera's frame."""
    if window.still:
        return picture.astype(np.float32)
    import cv2

    zoom = window.zoom
    place = np.array(((zoom, 0, window.x + zoom / 2 - 0.5), (0, zoom, window.y + zoom / 2 - 0.5)), np.float64)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(picture, place, (SIZE, SIZE), flags=how, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def _read(path: Path) -> Picture:
    """The middle square of a picture file, (256, 256, 3)."""
    from PIL import Image, ImageOps

    if not path.is_file():
        raise UsageError(f"there is no picture {path} for the background: name a file, or say blur")
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (SIZE, SIZE), Image.Resampling.LANCZOS), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read {path} as a background: give a JPEG, PNG or WebP picture") from error
