"""Batches for ``light`` from the triples of ``training.light_triples``: crops around what matters, turned, mirrored, recoloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.face_model import FaceModel
from codec.motion_grid import GRID
from codec.parameters import SIZE, Floats
from codec.raster import rasterise
from models.light_inputs import CELL, Geometry
from training.light_triples import KINDS, Triples

CROP = 128
_LIPS = (0, 17, 61, 291, 13, 14)
_EYES = (33, 263, 133, 362)
_FOREHEAD, _CHIN = 10, 152

PLACES = ("mouth", "eyes", "hair", "body", "anywhere")
SHARES = (0.27, 0.22, 0.17, 0.14, 0.2)
"""How often a crop lies around each place."""

Slices = tuple[slice, slice]

TURN, ZOOM = 0.35, 0.22
"""Most that a turned picture is turned, radians, and enlarged or reduced, as a logarithm."""


@dataclass(frozen=True)
class LightBatch:
    """B crops of S x S. shown, truth: (B, 3, S, S), -1..1; geometry: (B, 12, S/4, S/4). step: of the run."""

    shown: Tensor
    truth: Tensor
    geometry: Tensor
    step: int = 0

    def to(self, device: torch.device) -> LightBatch:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in ("shown", "truth", "geometry")}
        return replace(self, **moved)


class LightSource:
    """Makes batches. A sample depends on seed, step and slot, and on what has been prepared.

    weights: how often each of ``KINDS`` is drawn, beside its share among what is there. turned: share of the samples that are
    turned and resized.
    """

    def __init__(
        self,
        triples: Sequence[Triples],
        seed: int = 0,
        weights: Sequence[float] = (1, 1, 1),
        crop: int = CROP,
        turned: float = 0.0,
    ) -> None:
        self.triples, self.seed, self.crop, self.turned = list(triples), seed, crop, turned
        self._model = FaceModel.load()
        self._geometry = Geometry(self._model)
        count = np.array([len(t.frames["number"]) for t in self.triples], np.float64)
        total: dict[str, float] = {}
        for t, n in zip(self.triples, count, strict=True):
            total[t.identity] = total.get(t.identity, 0.0) + n
        share = np.array([total[t.identity] ** -0.5 for t in self.triples]) * count
        self._probability = share / share.sum()
        self._within = []
        for t in self.triples:
            w = np.asarray(weights, np.float64)[t.frames["kind"]]
            self._within.append(w / w.sum() if w.sum() > 0 else np.full(len(w), 1 / len(w)))

    def __len__(self) -> int:
        return sum(len(t.frames["number"]) for t in self.triples)

    def batch(self, step: int, slots: Sequence[int]) -> LightBatch:
        """The samples of these slots of a step."""
        rows = [self._sample(np.random.default_rng((self.seed, step, slot))) for slot in slots]
        shown, truth, geometry = (np.stack(x) for x in zip(*rows, strict=True))
        return LightBatch(_tensor(shown), _tensor(truth), torch.from_numpy(geometry), step)

    def whole(self, number: int, index: int) -> LightBatch:
        """One frame as it is."""
        t = self.triples[number]
        shown, truth = _tensor(t.shown[index][None]), _tensor(t.truth[index][None])
        return LightBatch(shown, truth, torch.from_numpy(self.geometry(t, index))[None])

    def geometry(self, t: Triples, index: int, turn: Turn | None = None) -> Floats:
        """(12, 64, 64), of the frame as it is or turned."""
        meshes = [t.frames[name][index] for name in ("vertices", "photo_vertices")]
        control = t.frames["control"][index]
        if turn is not None:
            meshes, control = [turn.mesh(m) for m in meshes], turn.field(control)
        visibility = rasterise(meshes[0], self._model.triangles)
        return self._geometry(visibility, meshes[0], meshes[1], control)

    def _sample(self, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], Floats]:
        number, index = self._chosen(rng)
        t = self.triples[number]
        vertices, pictures, turn = t.frames["vertices"][index], [t.shown[index], t.truth[index]], None
        if rng.random() < self.turned:
            middle = vertices[:, :2].mean(0) + rng.uniform(-24, 24, 2)
            turn = Turn(middle, rng.uniform(-TURN, TURN), float(np.exp(rng.uniform(-ZOOM, ZOOM))))
            vertices, pictures = turn.mesh(vertices), [turn.picture(p) for p in pictures]
        part, cells = self._window(vertices, rng)
        pair = np.stack([p[part] for p in pictures])
        pair, geometry = varied(pair, self.geometry(t, index, turn)[:, *cells], rng)
        return pair[0], pair[1], geometry

    def _chosen(self, rng: np.random.Generator) -> tuple[int, int]:
        """A clip and one of its frames."""
        number = int(rng.choice(len(self.triples), p=self._probability))
        return number, int(rng.choice(len(self._within[number]), p=self._within[number]))

    def _window(self, vertices: Floats, rng: np.random.Generator) -> tuple[Slices, Slices]:
        """Rows and columns of a crop, in pixels and in cells."""
        top, left = self._corner(vertices, rng)
        rows, columns = slice(top, top + self.crop), slice(left, left + self.crop)
        cells = [slice(of.start // CELL, of.stop // CELL) for of in (rows, columns)]
        return (rows, columns), (cells[0], cells[1])

    def _corner(self, vertices: Floats, rng: np.random.Generator) -> tuple[int, int]:
        place = PLACES[int(rng.choice(len(PLACES), p=SHARES))]
        side, xy = self.crop, vertices[:, :2]
        if side >= SIZE:
            return 0, 0
        down = xy[_CHIN] - xy[_FOREHEAD]
        if place == "mouth":
            middle = xy[list(_LIPS)].mean(0)
        elif place == "eyes":
            middle = xy[list(_EYES)].mean(0)
        elif place == "hair":
            across = np.array((-down[1], down[0])) * rng.uniform(-0.6, 0.6)
            middle = xy[_FOREHEAD] - 0.1 * down + across
        elif place == "body":
            across = np.array((-down[1], down[0])) * rng.uniform(-1.0, 1.0)
            middle = xy[_CHIN] + 0.35 * down + across
        else:
            middle = rng.uniform(0, SIZE, 2)
        corner = middle - side / 2 + rng.uniform(-24, 24, 2)
        left, top = (int(v) // CELL * CELL for v in np.clip(corner, 0, SIZE - side))
        return top, left


class Turn:
    """A frame turned by ``angle`` radians and enlarged ``zoom`` times about ``middle`` (x, y), px; pixel centres at halves."""

    def __init__(self, middle: NDArray[Any], angle: float, zoom: float) -> None:
        c, s = zoom * np.cos(angle), zoom * np.sin(angle)
        self._linear, self._zoom = np.array([[c, -s], [s, c]]), zoom
        self._offset = middle - self._linear @ middle

    def mesh(self, vertices: Floats) -> Floats:
        """(N, 3) -> (N, 3)."""
        out = vertices * np.float32(self._zoom)
        out[:, :2] = vertices[:, :2] @ self._linear.T + self._offset
        return out

    def picture(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(256, 256, 3) -> the same; beyond the border the picture is mirrored."""
        return self._warped(picture, 1, cv2.INTER_CUBIC, cv2.BORDER_REFLECT)

    def field(self, control: Floats) -> Floats:
        """(16, 16, 2) px -> the same."""
        moved = self._warped(control, SIZE // GRID, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        return np.asarray(moved @ self._linear.T, np.float32)

    def _warped(self, values: NDArray[Any], cell: int, kernel: int, border: int) -> Any:
        half = np.full(2, 0.5)
        offset = self._linear @ half + self._offset / cell - half
        return cv2.warpAffine(
            np.ascontiguousarray(values),
            np.c_[self._linear, offset],
            values.shape[1::-1],
            flags=kernel,
            borderMode=border,
        )


def varied(pictures: NDArray[Any], geometry: Floats, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Floats]:
    """Crops of one frame, (N, S, S, 3), and their geometry, mirrored or not, recoloured alike."""
    pictures = pictures.astype(np.float32)
    if rng.random() < 0.5:
        pictures, geometry = pictures[:, :, ::-1], mirrored(geometry)
    return recoloured(pictures, rng), np.ascontiguousarray(geometry)


def mirrored(geometry: Floats) -> Floats:
    """Geometry of the mirrored picture: the mean face is symmetric, x and what moves along it change their sign."""
    out = geometry[:, :, ::-1].copy()
    out[0] = out[3] - out[0]
    out[6] *= -1
    out[-2] *= -1
    return out


def recoloured(pair: NDArray[Any], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Both pictures with the same contrast, brightness, saturation and tint."""
    contrast, saturation = 1 + rng.uniform(-0.15, 0.15), 1 + rng.uniform(-0.2, 0.2)
    tint = rng.uniform(-0.07, 0.07, 3) + 1
    mix = contrast * (saturation * np.eye(3) + (1 - saturation) / 3) * tint
    out = pair @ mix.T.astype(np.float32) + np.float32(rng.uniform(-16, 16) + 128 * (1 - contrast))
    return np.rint(out).clip(0, 255).astype(np.uint8)


def _tensor(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


__all__ = ["CROP", "KINDS", "LightBatch", "LightSource"]
