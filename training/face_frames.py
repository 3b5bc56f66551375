"""What the face model is learned from: landmarks of the training people's frames, and two measures of eyes.

Each person gives frames evenly over their clips, and blinks besides, which are rare and must not be missed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.fitting import FitSettings
from codec.parameters import Floats
from training import dataset

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSettings:
    """identities: K. rounds of alternation. per_person: frames taken of each person, evenly, and as many as blinks
    besides where the eyes are closed. outlier: frames whose rms is above, in eye-corner distances, are left out of the
    bases. fit: how frames are fitted; its weights of groups of points are what makes the modes care for them.
    """

    identities: int = 80
    rounds: int = 8
    per_person: int = 60
    blinks: int = 20
    outlier: float = 0.02
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass
class Frames:
    """What is learned from. y (F, 478, 3) pixels; person (F,) number; weight (F,) of a frame."""

    y: Floats
    person: NDArray[np.int64]
    weight: Array
    people: list[str]


def lid_opening(points: NDArray[Any]) -> Array:
    """(..., 478, 2 or 3) -> (..., 2): height over width of the right and the left eye's opening."""
    out = []
    for top, bottom, outer, inner in (
        ((158, 159, 160), (144, 145, 153), 33, 133),
        ((385, 386, 387), (373, 374, 380), 263, 362),
    ):
        height = np.linalg.norm(points[..., top, :2].mean(-2) - points[..., bottom, :2].mean(-2), axis=-1)
        width = np.linalg.norm(points[..., outer, :2] - points[..., inner, :2], axis=-1)
        out.append(height / np.maximum(width, 1e-6))
    return np.stack(out, axis=-1)


def collect(clips: list[dataset.Clip], settings: TrainingSettings, cache: Path | str | None = None) -> Frames:
    """The frames to learn from: each person's, evenly over their clips, and blinks besides."""
    ys, persons, weights, people = [], [], [], []
    for number, (identity, own) in enumerate(sorted(dataset.by_identity(clips).items())):
        people.append(identity)
        points = np.concatenate([dataset.landmarks(clip, cache) for clip in own])
        points = points[np.isfinite(points).all(axis=(1, 2))]
        if len(points) == 0:
            continue
        chosen = set(np.linspace(0, len(points) - 1, min(settings.per_person, len(points))).astype(int).tolist())
        opening = lid_opening(points).mean(axis=1)
        shut = np.flatnonzero(opening < 0.5 * np.median(opening))
        if len(shut):
            chosen |= set(shut[np.linspace(0, len(shut) - 1, min(settings.blinks, len(shut))).astype(int)].tolist())
        take = sorted(chosen)
        ys.append(points[take])
        persons.append(np.full(len(take), number))
        weights.append(np.full(len(take), len(take) ** -0.5))
    weight = np.concatenate(weights)
    return Frames(np.concatenate(ys), np.concatenate(persons), weight / weight.mean(), people)


def gaze_offset(points: Array) -> Array:
    """(..., 478, 3) -> (..., 2, 2): centres of right and left iris from the middle of their eye's corners, x and y."""
    right = points[..., 468, :2] - 0.5 * (points[..., 33, :2] + points[..., 133, :2])
    left = points[..., 473, :2] - 0.5 * (points[..., 263, :2] + points[..., 362, :2])
    return np.stack((right, left), axis=-2)
