"""From which remembered picture mouth and eyes come: the sender paints the candidates and compares each with the camera's."""

from __future__ import annotations

from typing import Any

import numpy as np

from codec.motion import NONE
from codec.parameters import Floats, Picture, Region
from models.generator import DrivingFrame
from models.regions import Share, join
from models.warp import Photo, Warp

PLAIN = 0.4
"""What a pixel's own difference counts where a mouth or eyes are chosen; the rest is its edges'."""


class RegionChoice:
    """One choice for the mouth, one for the eyes. Not thread-safe.

    ``chosen``: ids of pictures by region, ``NONE``: as the rest of the frame.
    """

    def __init__(self, warp: Warp, hysteresis: float, looked_at: int) -> None:
        """hysteresis, looked_at: as ``MemorySettings``."""
        self._warp = warp
        self._hysteresis = hysteresis
        self._looked_at = looked_at
        self.chosen = {Region.MOUTH: NONE, Region.EYES: NONE}

    def choose(
        self, region: Region, picture: Picture, painted: Picture, frame: DrivingFrame, base: Photo, share: Share
    ) -> float:
        """The error of the region with the best picture, in grey values; the picture is joined to ``painted``.

        picture: of the camera, in the base's light. share: of the region in the frame.
        """
        left, top, right, bottom = share.box
        truth = picture[top:bottom, left:right]
        plain = painted[top:bottom, left:right].copy()
        candidates = [(NONE, difference(truth, plain, share), plain)]
        for photo in self._nearest(region, frame, base):
            part = plain.copy()
            own = Share((0, 0, right - left, bottom - top), share.weight)
            join(part, self._warp.part(frame, photo, share), own)
            candidates.append((photo.reference.photo_id, difference(truth, part, share), part))
        best = min(candidates, key=lambda c: c[1])
        kept = next((c for c in candidates if c[0] == self.chosen[region]), candidates[0])
        if best[1] > (1 - self._hysteresis) * kept[1]:
            best = kept
        self.chosen[region] = best[0]
        painted[top:bottom, left:right] = best[2]
        return best[1]

    def _nearest(self, region: Region, frame: DrivingFrame, base: Photo) -> list[Photo]:
        """Pictures whose mouth or eyes have nearly the frame's shape; the one that is chosen now among them."""
        photos = [
            p
            for i, p in self._warp.photos.items()
            if i < NONE and p is not base and p.reference.region in (Region.WHOLE, region)
        ]
        points = self._warp.regions.points(region)
        here = _shape(np.asarray(frame.vertices), points)

        def away(photo: Photo) -> float:
            if photo.reference.photo_id == self.chosen[region]:
                return -1.0
            return float(np.abs(_shape(photo.vertices, points) - here).mean())

        return sorted(photos, key=away)[: self._looked_at]


def _shape(vertices: Any, points: Any) -> Floats:
    """Some points of a mesh, without place, size and turn in the picture: (N, 3)."""
    x = vertices[points]
    x = x - x.mean(0)
    scale = np.linalg.norm(vertices[33, :2] - vertices[263, :2]) + 1e-6
    return np.asarray(x / scale, np.float32)


def difference(truth: Any, shown: Any, share: Share) -> float:
    """Mean difference, in grey values, by the share's weight: of the pixels, and of each from its neighbours, so that an edge that is
    missing counts more than a shade that is off."""
    away = (truth.astype(np.float32) - shown).mean(2)
    error = PLAIN * np.abs(away)
    error[:, 1:] += (1 - PLAIN) * np.abs(np.diff(away, axis=1))
    error[1:] += (1 - PLAIN) * np.abs(np.diff(away, axis=0))
    return float((error * share.weight).sum() / (share.weight.sum() + 1e-6))
