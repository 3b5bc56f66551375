"""The background in a layer of its own: one still picture, put together from every photo that saw some of it.

In what ``warp`` paints the background goes with the head, a little: it swims. Where the camera stands still, the background does:
each photo's mask says how much of a pixel is the person's (``models.person``), and what is not is taken from the one picture. Hair's
edge was photographed in front of some background, and gets the difference between that and the one that is behind it now.

Only what is shown has layers: the memory's pictures are painted without, so they do not depend on the network that finds the person.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from codec.parameters import SIZE, Floats, Picture, ReferenceFrame, Window
from models.person import PersonFinder
from models.surround import between_windows

PERSON = (0.05, 0.95)
"""Masks below the first are no one's, above the second the person's alone."""

NEAR = (1.0, 5.0)
"""Pixels from the person up to which the background is not trusted, and from which it is."""

FOREIGN = (10.0, 30.0)
"""Grey values by which a pixel differs from the background if it is none, from which on it may, and from which it does."""

BEYOND = 4.0
"""Pixels beyond a photo's upper edge from which on only the background is shown: hair that the edge cuts would go on as streaks."""

HALF = SIZE // 2

_SURE = 0.08


class Layers:
    """The masks of photos, and the background behind them all. Not thread-safe.

    Raises HeadwireError where the network that finds the person cannot be had.
    """

    def __init__(self) -> None:
        self._finder = PersonFinder()
        self.clear()

    def clear(self) -> None:
        """Forget everything: the camera moved, or there is another sender."""
        self._masks: dict[int, tuple[Any, Floats]] = {}
        self._window: Window | None = None
        self._seen = np.zeros((SIZE, SIZE, 3), np.float32)
        self._known = np.zeros((SIZE, SIZE), np.float32)
        self._background = self._seen
        self._placed: tuple[Window, Floats, Floats] | None = None

    def add(self, photo: ReferenceFrame) -> None:
        """A whole photo: what it sees of the background is newest."""
        import cv2

        if self._window is None:
            self._window = photo.parameters.window
        t = np.clip((self._finder.mask(photo.picture) - PERSON[0]) / (PERSON[1] - PERSON[0]), 0, 1)
        mask = np.asarray(t * t * (3 - 2 * t), np.float32)
        self._masks[photo.photo_id] = photo.picture, mask
        away = cv2.distanceTransform((mask < _SURE).astype(np.uint8), cv2.DIST_L2, 3)
        t = np.clip((away - NEAR[0]) / (NEAR[1] - NEAR[0]), 0, 1)
        sure = np.asarray(t * t * (3 - 2 * t), np.float32)
        picture = photo.picture.astype(np.float32)
        if photo.parameters.window != self._window:
            picture = _placed(picture, self._window, photo.parameters.window, cv2.BORDER_REPLICATE)
            sure = _placed(sure, self._window, photo.parameters.window, cv2.BORDER_CONSTANT)
        share = np.where(self._known > 0, sure, 1.0)[..., None]
        self._seen += share * (picture - self._seen)
        self._known = np.maximum(self._known, sure)
        self._background = _filled(self._seen, self._known)
        self._placed = None

    def apply(self, picture: Picture, source: Floats, photo: ReferenceFrame, triangle: Any, window: Window) -> Picture:
        """(256, 256, 3) uint8: a painted frame before the still background; itself where the photo has no mask.

        source: (256, 256, 2), where in the photo each pixel comes from, px. triangle: as in ``Visibility``. window: the frame's.
        """
        import cv2

        if not self.has(photo):
            return picture
        place = source - np.float32(0.5)
        person = cv2.remap(
            self._masks[photo.photo_id][1], place, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        background, known = self._behind(window)
        there, _ = self._behind(photo.parameters.window)
        behind = cv2.remap(there, place, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out = picture.copy()
        _compose(out, person, behind, background, known, triangle, source)
        return out

    def beside(self, camera: Picture, source: Floats, photo: ReferenceFrame, window: Window) -> tuple[float, Floats]:
        """How the still background fits what a camera truly sees; the rest as for ``apply``. A photo that has a mask is asked for.

        Mean difference beside the person, grey values, 0: nothing is known there. (128, 128) float32, 0..1, at half the size: where
        motion matters, because the person is seen there, or ought to be.
        """
        import cv2

        person, background, known, small = self._at_half(camera, source, photo, window)
        off = np.abs(small - background)
        alone = (person < 0.02) & (known > 0.98)
        away = float(off[alone].mean()) if bool(alone.any()) else 0.0
        foreign = np.clip((off.max(2) - FOREIGN[0]) / (FOREIGN[1] - FOREIGN[0]), 0, 1)
        share = np.maximum(1 - (1 - person) * known, cv2.blur(foreign, (3, 3)))
        return away, np.asarray(cv2.blur(cv2.dilate(share, np.ones((3, 3), np.uint8)), (3, 3)), np.float32)

    def has(self, photo: ReferenceFrame) -> bool:
        """Whether the person has been cut out of this photo."""
        kept = self._masks.get(photo.photo_id)
        return kept is not None and kept[0] is photo.picture and self._window is not None

    def _at_half(self, camera: Picture, source: Floats, photo: ReferenceFrame, window: Window) -> tuple[Floats, ...]:
        """The person's share, background, how far it is known, and the camera's picture, all at half the size."""
        import cv2

        def half(x: Any) -> Floats:
            return np.asarray(cv2.resize(x, (HALF, HALF), interpolation=cv2.INTER_AREA), np.float32)

        mask, place = self._masks[photo.photo_id][1], half(source) - np.float32(0.5)
        person = cv2.remap(mask, place, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        background, known = self._behind(window)
        return np.asarray(person, np.float32), half(background), half(known), half(camera)

    def _behind(self, window: Window) -> tuple[Floats, Floats]:
        """The background and how far it is known, where a window sees it."""
        import cv2

        assert self._window is not None
        if window == self._window:
            return self._background, self._known
        if self._placed is None or self._placed[0] != window:
            self._placed = (
                window,
                _placed(self._background, window, self._window, cv2.BORDER_REPLICATE),
                _placed(self._known, window, self._window, cv2.BORDER_CONSTANT),
            )
        return self._placed[1:]


def _placed(picture: Floats, window: Window, source: Window, border: int) -> Floats:
    """A still picture of one window as another sees it."""
    import cv2

    a, x, y = between_windows(window, source)
    place = np.array(((a, 0, x + a / 2 - 0.5), (0, a, y + a / 2 - 0.5)), np.float64)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, place, (SIZE, SIZE), flags=how, borderMode=border), np.float32)


def _filled(picture: Floats, known: Floats) -> Floats:
    """What is not known, from what is around it: averages over ever larger squares."""
    import cv2

    levels = [np.dstack((picture * known[..., None], known))]
    while levels[-1].shape[0] > 1:
        half = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA).reshape(half, half, 4))
    out = levels[-1][..., :3] / np.maximum(levels[-1][..., 3:], 1e-6)
    for level in levels[-2::-1]:
        side, weight = level.shape[0], level[..., 3:]
        coarse = cv2.resize(out, (side, side), interpolation=cv2.INTER_LINEAR).reshape(side, side, 3)
        out = level[..., :3] + (1 - weight) * coarse
    return np.ascontiguousarray(out, np.float32)


@numba.njit(cache=True, nogil=True)
def _compose(picture, person, behind, background, known, triangle, source):  # type: ignore[no-untyped-def]
    """In place: the share that is not the person's, from the background there was to the one there is; above the photo all of it."""
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            share = (np.float32(1.0) - person[j, i]) * known[j, i]
            beyond = min(np.float32(1.0), -source[j, i, 1] / np.float32(BEYOND)) * known[j, i]
            if triangle[j, i] >= 0 or (share <= 0 and beyond <= 0):
                continue
            for k in range(3):
                value = picture[j, i, k] + share * (background[j, i, k] - behind[j, i, k])
                if beyond > 0:
                    value += beyond * (background[j, i, k] - value)
                picture[j, i, k] = np.uint8(min(max(value + np.float32(0.5), np.float32(0)), np.float32(255)))
