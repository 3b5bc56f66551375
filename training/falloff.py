"""How far hair, neck and body follow the head: the tables of ``models.falloff`` learned again.

``python -m training.falloff`` after ``headwire train prepare``. Pairs of frames of one clip give dense optical flow
(OpenCV's DIS, kept where there and back agree); ``models.surround.extend`` gives what the four motions of the head
would do at the same place; ridge least squares gives the shares, place by place beside the face, left and right
alike. It prints the tables as ``models/falloff.py`` holds them, and how far they lie from those, and changes nothing:
the shipped tables came from an earlier program that was not kept, so these are near them, not equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import raster
from codec.face_model import FaceModel
from codec.parameters import Floats
from models.falloff import SHARES, SPACING
from models.surround import CELL, CELLS, extend, rigid
from training.options import program
from training.pairs_store import StoredClip, open_store

ROWS, COLUMNS, MOTIONS = SHARES.shape
Array = NDArray[np.float64]


@dataclass(frozen=True)
class FalloffSettings:
    """clips: how many, one a person. pairs: of each clip. ridge: pull of each share towards 0, of the mean square of its motion.

    store: prepared clips.
    """

    clips: int = 30
    pairs: int = 20
    ridge: float = 0.02
    store: Path | None = None


def place(vertices: Floats) -> tuple[float, float, float, float, float]:
    """A posed mesh's centre x, y, unit vector from forehead to chin x, y, and height, as ``models.surround.extend`` takes them."""
    top, chin = vertices[10, :2], vertices[152, :2]
    height = float(np.linalg.norm(chin - top)) + 1e-6
    centre, down = (top + chin) / 2, (chin - top) / height
    return float(centre[0]), float(centre[1]), float(down[0]), float(down[1]), height


def motions(model: FaceModel, driving: Floats, source: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """What each of the head's four motions alone would move, (64, 64, 2, 4) pixels, and where the mesh is not seen, (64, 64)."""
    seen = raster.rasterise(driving, model.triangles)
    face = raster.flow(seen, model.triangles, source)
    found = []
    for n in range(MOTIONS):
        alone = np.zeros_like(SHARES)
        alone[..., n] = 1
        found.append(extend(face, seen.triangle, rigid(driving, source), (1.0, 0.0, 0.0), place(driving), alone, 1e-6))
    return np.stack([x[..., :2] for x in found], -1), found[0][..., 2] == 0


def cells(frame: tuple[float, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Row and column of the table for each of 64x64 places, and whether it lies inside the table."""
    x, y, down_x, down_y, height = frame
    at = (np.arange(CELLS) + 0.5) * CELL
    rx, ry = at[None] - x, at[:, None] - y
    column = np.floor(np.abs(rx * down_y - ry * down_x) / (height * SPACING)).astype(np.int64)
    row = np.floor((rx * down_x + ry * down_y) / (height * SPACING) + ROWS / 2).astype(np.int64)
    return row, column, (row >= 0) & (row < ROWS) & (column < COLUMNS)


def optical_flow(driving: Any, source: Any) -> tuple[Floats, NDArray[np.bool_]]:
    """(256, 256, 3) uint8 twice -> displacement to the source, (64, 64, 2) pixels, and where there and back agree within 1.5."""
    import cv2

    library: Any = cv2
    engine = library.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = (cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2GRAY) for p in (driving, source))
    there, back = engine.calc(a, b, None), engine.calc(b, a, None)
    y, x = np.mgrid[: a.shape[0], : a.shape[1]].astype(np.float32)
    returned = cv2.remap(back, x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR, borderValue=(1e3, 1e3))
    agree = np.linalg.norm(there + returned, axis=2) < 1.5
    mean = there.reshape(CELLS, CELL, CELLS, CELL, 2).mean((1, 3))
    return mean.astype(np.float32), agree.reshape(CELLS, CELL, CELLS, CELL).all((1, 3))


def chosen(clips: Sequence[StoredClip], settings: FalloffSettings) -> Iterator[tuple[StoredClip, int, int]]:
    """Clip, driving and source picture: one clip a person, pairs half a clip apart, evenly."""
    people = list({clip.identity: clip for clip in clips}.values())
    for n in np.unique(np.linspace(0, len(people) - 1, min(settings.clips, len(people))).astype(int)):
        usable = people[n].usable
        for i in np.unique(np.linspace(0, len(usable) - 1, settings.pairs).astype(int)):
            yield people[n], int(usable[i]), int(usable[(i + len(usable) // 2) % len(usable)])


def learn(clips: Sequence[StoredClip], settings: FalloffSettings) -> Floats:
    """(26, 13, 4) float32, as ``models.falloff.SHARES``."""
    model = FaceModel.load()
    square, right = np.zeros((ROWS, COLUMNS, MOTIONS, MOTIONS)), np.zeros((ROWS, COLUMNS, MOTIONS))
    for clip, driving, source in chosen(clips, settings):
        a, b = (clip.vertices[n * clip.every] for n in (driving, source))
        moved, agree = optical_flow(clip.pictures[driving], clip.pictures[source])
        basis, free = motions(model, a, b)
        row, column, inside = cells(place(a))
        kept = agree & free & inside
        x, y = basis[kept].astype(np.float64), moved[kept].astype(np.float64)
        at = (row[kept], column[kept])
        np.add.at(square, at, np.einsum("nia,nib->nab", x, x))
        np.add.at(right, at, np.einsum("nia,ni->na", x, y))
    return solved(widened(square), widened(right), settings.ridge)


def widened(sums: Array) -> Array:
    """Sums over a place and its neighbours, 1 2 1 along rows and columns: what makes the table smooth."""
    for axis in (0, 1):
        padded = np.pad(sums, [(1, 1) if n == axis else (0, 0) for n in range(sums.ndim)], mode="edge")
        low, high = (np.take(padded, range(k, k + sums.shape[axis]), axis) for k in (0, 2))
        sums = low + 2 * sums + high
    return sums


def solved(square: Array, right: Array, ridge: float) -> Floats:
    """Solve place by place; a place that nothing was seen of gets shares of 0."""
    size = np.einsum("rcii->ci", square) / max(1, len(square)) + 1e-6
    pull = ridge * size[None, :, :, None] * np.eye(MOTIONS)
    return np.linalg.solve(square + pull, right[..., None])[..., 0].astype(np.float32)


def as_text(shares: Floats) -> str:
    """The four tables in per cent."""
    names = ("_TRANSLATION", "_TURN", "_DEPTH", "_NEAR")
    whole = np.rint(100 * shares).astype(int)
    blocks = [f"{name}\n" + "\n".join(" ".join(map(str, row)) for row in whole[..., n]) for n, name in enumerate(names)]
    return "\n\n".join(blocks)


def run(settings: FalloffSettings) -> str:
    """The tables and their distance from the shipped ones, as text. Raises UsageError where there are no prepared clips."""
    found = learn(open_store(settings.store), settings)
    apart = np.sqrt(((found - SHARES) ** 2).mean((0, 1)))
    alike = [np.corrcoef(found[..., n].ravel(), SHARES[..., n].ravel())[0, 1] for n in range(MOTIONS)]
    lines = [
        f"rms difference from the shipped table {a:.3f}, correlation {c:.3f}" for a, c in zip(apart, alike, strict=True)
    ]
    return as_text(found) + "\n\n" + "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.falloff``."""
    program("Learn how far what surrounds a face follows it.", FalloffSettings, run, arguments)


if __name__ == "__main__":
    main()
