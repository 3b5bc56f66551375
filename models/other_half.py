"""Skin that a photo does not show, from the face's other half.

A photo of a turned head sees one cheek edge-on or not at all. Looked up all the same, the cheek is painted with the hair and the
room that lie beside it. Faces are symmetric enough: there the mirrored place of the same photo stands in, in the light of the
skin beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec import raster
from codec.face_model import GROUPS
from codec.parameters import SIZE, Floats, Picture
from codec.raster import Triangles, Visibility
from models.regions import share_of

HIDDEN, SHOWN = 0.3, 0.6
"""How much skin faces a photo's viewer (cosine) where it is wholly taken from the other half, and where it no longer is."""

BETTER = 0.2
"""By how much more the mirrored skin must face that viewer."""

SURE = (0.4, 0.6)
"""And how much at least, for nothing and for all."""

TURNED = 3.0
"""What skin counts that the frame sees by so much more than the photo, by 1 / TURNED wholly."""

RIM, DRAWN_IN = 0.3, 0.08
"""In distances between the outer eye corners: how far from the face's outline the mirrored skin is looked up further inside, and how
much there: the least error of the fit shows the room.
"""

_LIT = (0.3, 0.75)
_FEWEST = 6
_STEEPEST = 1.6


@dataclass(frozen=True, eq=False)
class OtherHalf:
    """What one photo lacks. lacking: (V,), 0..1; facing: (V,) of the skin in the photo; places: (V, 2), where in it the mirrored
    skin lies, pixels; gain: (3,), of that skin's colours.
    """

    lacking: Floats
    facing: Floats
    places: Floats
    gain: Floats


class Symmetry:
    """The two halves of one face model's mesh."""

    def __init__(self, mean: Floats, triangles: Triangles) -> None:
        """mean: (V, 3), the mean face. triangles: (T, 3)."""
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        flipped = mean * np.array((-1, 1, 1), np.float32)
        self._mirror = np.linalg.norm(mean[:, None] - flipped[None], axis=2).argmin(1)
        away = np.linalg.norm(mean[:, None] - mean[None, GROUPS["face_oval"]], axis=2).min(1)
        self._rim = np.clip(1 - away / (RIM * np.linalg.norm(mean[33] - mean[263])), 0, 1)

    def half(self, picture: Picture, vertices: Floats, normals: Floats) -> OtherHalf | None:
        """What a photo lacks; None: nothing that the other half has. vertices, normals: (V, 3), as ``Photo`` has them."""
        facing = np.ascontiguousarray(-normals[:, 2])
        there = facing[self._mirror]
        hidden = np.clip((SHOWN - facing) / (SHOWN - HIDDEN), 0, 1)
        lacking = hidden * np.clip((there - facing - BETTER) / BETTER, 0, 1)
        lacking *= np.clip((there - SURE[0]) / (SURE[1] - SURE[0]), 0, 1)
        if not bool((lacking > 0).any()):
            return None
        places = self._drawn_in(vertices)[self._mirror]
        gain = self._gain(picture, vertices, facing, there)
        return OtherHalf(lacking.astype(np.float32), facing, places, gain)

    def _drawn_in(self, vertices: Floats) -> Floats:
        """(V, 2): a photo's vertices, those near the outline nearer to the middle."""
        places = vertices[:, :2]
        inwards = places.mean(0) - places
        length = np.maximum(np.linalg.norm(inwards, axis=1), 1e-3)
        reach = DRAWN_IN * np.linalg.norm(vertices[33] - vertices[263])
        return np.asarray(places + inwards * (self._rim * np.minimum(reach / length, 0.5))[:, None], np.float32)

    def _gain(self, picture: Picture, vertices: Floats, facing: Floats, there: Floats) -> Floats:
        """The light of the half that faces less over that of the other, where the photo shows both."""
        low, high = _LIT
        both = np.flatnonzero((facing > low) & (facing < high) & (there > facing))
        inside = ((vertices[:, :2] >= 2) & (vertices[:, :2] < SIZE - 2)).all(1)
        both = both[inside[both] & inside[self._mirror[both]]]
        if len(both) < _FEWEST:
            return np.ones(3, np.float32)
        ours, theirs = (_colours(picture, vertices[of, :2]) for of in (both, self._mirror[both]))
        return np.clip(np.median((ours + 8) / (theirs + 8), 0), 1 / _STEEPEST, _STEEPEST).astype(np.float32)

    def fill(
        self,
        picture: Picture,
        half: OtherHalf,
        enlarged: NDArray[np.uint8],
        visibility: Visibility,
        vertices: Floats,
        normals: Floats,
    ) -> None:
        """Paint in place what the photo lacks of a frame. enlarged: the photo. vertices, normals: (V, 3), the frame's."""
        import cv2

        weights = half.lacking * np.clip(TURNED * (-normals[:, 2] - half.facing), 0, 1).astype(np.float32)
        if not bool((weights > 0.02).any()):
            return
        touched = self._triangles[(weights[self._triangles] > 0).any(1)]
        share = share_of(weights, vertices[touched.ravel()], visibility, self._triangles)
        if share is None:
            return
        left, top, right, bottom = share.box
        rows, columns = slice(top, bottom), slice(left, right)
        places = raster.flow(visibility, self._triangles, half.places)[rows, columns]
        source = places * np.float32(enlarged.shape[0] / SIZE) - np.float32(0.5)
        moved = cv2.remap(enlarged, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        old = picture[rows, columns].astype(np.float32)
        new = np.minimum(moved * half.gain, 255)
        picture[rows, columns] = np.rint(old + share.weight[..., None] * (new - old))


def _colours(picture: Picture, places: Floats) -> Floats:
    """(N, 3): the means of 5x5 pixels."""
    x, y = places.astype(int).T
    steps = range(-2, 3)
    return np.asarray(
        np.mean([picture[(y + j).clip(0, SIZE - 1), (x + i).clip(0, SIZE - 1)] for j in steps for i in steps], 0),
        np.float32,
    )
