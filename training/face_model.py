"""``headwire train face-model``: mean, identity basis and 28 expression modes of Eq. 1 from tracked clips.

``training.face_frames`` chooses the frames, ``training.face_learning`` learns from them; here the zero, the signs and the names of the
modes are set and the file is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from codec.face_model import DEFAULT, OUTER_EYE_CORNERS, FaceModel
from codec.parameters import EXPRESSION
from training import dataset
from training.face_frames import Array, Frames, TrainingSettings, collect, gaze_offset, lid_opening
from training.face_learning import State, learn
from training.topology import facing, triangles


def neutral_expression(state: State, settings: TrainingSettings) -> Array:
    """(28,) the expression to call zero: mean over the frames with the mouth shut, the eyes open and looking ahead."""
    shapes = state.mean + np.tensordot(state.expression.astype(np.float64), state.expression_basis, 1)
    gap = np.linalg.norm(shapes[:, 13, :2] - shapes[:, 14, :2], axis=1)
    opening = lid_opening(shapes).mean(axis=1)
    gaze = np.linalg.norm(gaze_offset(shapes) - np.median(gaze_offset(shapes), axis=0), axis=(1, 2))
    width = np.linalg.norm(shapes[:, 61] - shapes[:, 291], axis=1)
    good = state.rms < settings.outlier
    good &= gap < np.quantile(gap, 0.2)
    good &= (opening > np.quantile(opening, 0.4)) & (opening < np.quantile(opening, 0.9))
    good &= gaze < np.quantile(gaze, 0.6)
    good &= np.abs(width - np.median(width[good])) < 0.08 * np.median(width)
    expression: Array = state.expression[good].astype(np.float64).mean(axis=0) * (state.expression_parity > 0)
    return expression


def effects(mean: Array, mode: Array, parity: float) -> dict[str, float]:
    """What a mode does at +1 standard deviation, by name, in thousandths of the eye-corner distance."""
    up, down = mean + mode, mean - mode

    def change(measure: Callable[[Array], Any]) -> float:
        return 500.0 * float(measure(up) - measure(down))

    eye = np.linalg.norm(mean[33, :2] - mean[133, :2])
    if parity > 0:
        return {
            "jaw": change(lambda v: v[152, 1] - v[1, 1]),
            "lips apart": change(lambda v: v[14, 1] - v[13, 1]),
            "mouth wide": change(lambda v: v[291, 0] - v[61, 0]),
            "corners up": change(lambda v: 0.5 * (v[13, 1] + v[14, 1] - v[61, 1] - v[291, 1])),
            "lips forward": change(lambda v: -0.5 * (v[0, 2] + v[17, 2])),
            "upper lip up": change(lambda v: -v[0, 1] + v[2, 1]),
            "lids open": change(lambda v: lid_opening(v).mean()) * float(eye),
            "gaze down": change(lambda v: gaze_offset(v)[:, 1].mean()),
            "gaze inward": change(lambda v: gaze_offset(v)[0, 0] - gaze_offset(v)[1, 0]) / 2,
            "brows up": change(lambda v: v[[105, 334], 1].mean() * -1 + v[[33, 263], 1].mean()),
        }
    return {
        "mouth to the right of the picture": change(lambda v: v[[13, 14, 61, 291], 0].mean()),
        "jaw to the right of the picture": change(lambda v: v[152, 0]),
        "mouth aslant": change(lambda v: v[61, 1] - v[291, 1]),
        "gaze to the right of the picture": change(lambda v: gaze_offset(v)[:, 0].mean()),
        "one lid open": change(lambda v: lid_opening(v)[0] - lid_opening(v)[1]) * float(eye),
        "one brow up": change(lambda v: v[334, 1] - v[105, 1]),
        "eyes aslant": change(lambda v: gaze_offset(v)[0, 1] - gaze_offset(v)[1, 1]),
    }


def finish(state: State, settings: TrainingSettings, provenance: str) -> FaceModel:
    """Set the zero, the signs and the names of the modes, centre the mean; a model ready to ship.

    A mode's sign is that of its strongest effect, so that retraining does not flip it.
    """
    state.mean = state.mean + np.tensordot(neutral_expression(state, settings), state.expression_basis, 1)
    unit = np.linalg.norm(state.mean[OUTER_EYE_CORNERS[0]] - state.mean[OUTER_EYE_CORNERS[1]])
    state.mean = (state.mean - state.mean.mean(axis=0)) / unit
    state.identity_basis = state.identity_basis / unit
    state.expression_basis = state.expression_basis / unit
    names = []
    for number, parity in enumerate(state.expression_parity):
        found = effects(state.mean, state.expression_basis[number], parity)
        strongest = sorted(found, key=lambda name: -abs(found[name]))[:2]
        if found[strongest[0]] < 0:
            state.expression_basis[number] *= -1.0
            found = {name: -value for name, value in found.items()}
        parts = [
            name if found[name] > 0 else f"less {name}"
            for name in strongest
            if abs(found[name]) > 0.4 * abs(found[strongest[0]])
        ]
        names.append(", ".join(parts))
    for number in range(len(state.identity_basis)):
        flat = state.identity_basis[number].ravel()
        state.identity_basis[number] *= np.sign(flat[np.argmax(np.abs(flat))])
    return FaceModel(
        state.mean.astype(np.float32),
        state.identity_basis.astype(np.float32),
        state.expression_basis.astype(np.float32),
        facing(triangles(), state.mean.astype(np.float32)),
        tuple(names),
        provenance,
    )


def run(
    data: Path | str | None = None,
    out: Path | str = DEFAULT,
    cache: Path | str | None = None,
    settings: TrainingSettings | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """``headwire train face-model``: landmarks of the training identities -> the model's ``.npz``, which is returned.

    Raises UsageError if the clips are not there.
    """
    settings = settings or TrainingSettings()
    dataset.prepare(data, cache)
    frames = collect(dataset.clips(data, "train"), settings, cache)
    log(f"{len(frames.y)} frames of {len(frames.people)} people")
    state, _ = learn(frames, settings, log)
    provenance = (
        f"Learned from {len(frames.y)} frames of {len(frames.people)} people in research-only, non-commercial clips "
        "(landmarks: MediaPipe FaceMesh, Apache-2.0); not for commercial use. "
        f"`headwire train face-model`, {settings.identities} identity and {EXPRESSION} expression modes."
    )
    model = finish(state, settings, provenance)
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial.npz")
    model.save(partial)
    partial.replace(target)
    log(f"{target}: {target.stat().st_size} bytes, {model.identities} + {EXPRESSION} modes")
    return target


__all__ = ["Frames", "TrainingSettings", "finish", "gaze_offset", "learn", "lid_opening", "run"]
