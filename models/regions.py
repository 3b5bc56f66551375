"""Mouth and eyes from a picture of their own: where they are in a frame, and how they join the rest without a seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from codec.face_model import GROUPS
from codec.parameters import SIZE, Floats, Picture, Region
from codec.raster import Triangles, Visibility

RINGS = {Region.MOUTH: ("lips", 0.05, 0.26), Region.EYES: ("eyelids", 0.04, 0.17)}
"""The points that a region is around, and how far from them, in distances between the outer eye corners, it counts wholly
and not at all."""

_STEP = 8

Box = tuple[int, int, int, int]
"""Left, top, right, bottom of pixels; the last two are outside."""


@dataclass(frozen=True, eq=False)
class Share:
    """How much of a region's own picture each pixel takes. box: of the pixels concerned. weight: (h, w) float32, 0..1."""

    box: Box
    weight: Floats


class Regions:
    """The regions of one face model's mesh."""

    def __init__(self, mean: Floats, triangles: Triangles) -> None:
        """mean: (478, 3), the mean face. triangles: (T, 3)."""
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        scale = float(np.linalg.norm(mean[33] - mean[263]))
        self._weights: dict[Region, Floats] = {}
        self._points = {region: GROUPS[group] for region, (group, _, _) in RINGS.items()}
        for region, (group, near, far) in RINGS.items():
            away = np.linalg.norm(mean[:, None, :2] - mean[None, GROUPS[group], :2], axis=2).min(1) / scale
            part = np.clip((far - away) / (far - near), 0, 1)
            self._weights[region] = (part * part * (3 - 2 * part)).astype(np.float32)

    def points(self, region: Region) -> NDArray[np.int32]:
        """Indices of the points that the region is around."""
        return self._points[region]

    def share(self, region: Region, visibility: Visibility, vertices: Floats) -> Share | None:
        """Where a region lies in a frame; None where it is not in the picture. vertices: (478, 3), posed."""
        weights = self._weights[region]
        return share_of(weights, vertices[weights > 0], visibility, self._triangles)


def share_of(weights: Floats, around: Floats, visibility: Visibility, triangles: Triangles) -> Share | None:
    """What weights of a mesh's points, (V,), are at a frame's pixels; None where these are not in the picture.

    around: (N, 3), the posed points that the share's box holds.
    """
    inside = around[:, :2]
    if not bool(np.isfinite(inside).all()):
        return None
    left, top = np.clip(np.floor(inside.min(0)), 0, SIZE).astype(int)
    right, bottom = np.clip(np.ceil(inside.max(0)) + 1, 0, SIZE).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    box = (int(left), int(top), int(right), int(bottom))
    weight = np.empty((box[3] - box[1], box[2] - box[0]), np.float32)
    _share(visibility.triangle, visibility.barycentric, triangles, weights, left, top, weight)
    return Share(box, weight)


def rectangle(share: Share) -> Box:
    """The least box of whole steps of 8 px, at least 16, around a region."""
    left, top, right, bottom = share.box
    left, top = left // _STEP * _STEP, top // _STEP * _STEP
    right, bottom = min(SIZE, -(-right // _STEP) * _STEP), min(SIZE, -(-bottom // _STEP) * _STEP)
    return min(left, SIZE - 16), min(top, SIZE - 16), max(right, left + 16), max(bottom, top + 16)


def join(picture: Picture, part: NDArray[np.uint8], share: Share) -> None:
    """Mix a region's own picture into a frame, in place; its colour is drawn to the frame's along the seam.

    part: (h, w, 3), what the region's picture shows in the share's box.
    """
    left, top, right, bottom = share.box
    _join(picture[top:bottom, left:right], part, share.weight)


@numba.njit(cache=True, nogil=True)
def _share(triangle: Any, barycentric: Any, triangles: Any, weights: Any, left: int, top: int, out: Any) -> None:
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            t = triangle[top + j, left + i]
            if t < 0:
                out[j, i] = 0
                continue
            u, v = barycentric[top + j, left + i, 0], barycentric[top + j, left + i, 1]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            out[j, i] = u * weights[a] + v * weights[b] + (1 - u - v) * weights[c]


@numba.njit(cache=True, nogil=True)
def _join(picture: Any, part: Any, weight: Any) -> None:
    total = 1e-3
    offset = np.zeros(3, np.float64)
    for j in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            ring = weight[j, i] * (1 - weight[j, i])
            total += ring
            for k in range(3):
                offset[k] += ring * (np.float64(picture[j, i, k]) - np.float64(part[j, i, k]))
    offset /= total
    for j in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            w = weight[j, i]
            if w <= 0:
                continue
            for k in range(3):
                there = min(max(part[j, i, k] + offset[k], 0.0), 255.0)
                picture[j, i, k] = np.uint8(picture[j, i, k] + w * (there - picture[j, i, k]) + 0.5)
