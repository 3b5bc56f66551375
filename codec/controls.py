"""Named controls of a face as directions in the expression modes, and a head's movement carried to another head.

A control says how some points of the face shall move: the corners of the mouth, the lips, the lids, the irises. Its direction is
the most probable expression that moves them so: with p_exp of unit variance and landmarks of noise ``SIGMA``,

    d = argmin |A d - b|^2 / SIGMA^2 + |H d|^2 / HELD^2 + |d|^2

where the rows of A are the modes at the points that shall move, b is their way, and H are the modes at what the control must leave
alone. So what usually goes along (cheeks with a smile, lids with a gaze) does, and nothing is set by hand but the way itself, which
is measured on the person's own face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.face_model import GROUPS, IRISES, OUTER_EYE_CORNERS, FaceModel, euler_angles, rotation_matrix
from codec.parameters import EXPRESSION, Camera, Floats, FrameParameters

SIGMA = 0.004
"""How exactly a control's points shall move, distances between the outer eye corners: the noise of a landmark."""

HELD = 0.008
"""How far, about, points that a control leaves alone may be carried along."""

SMILE = 0.12
"""Way of the corners of the mouth at ``smile`` 1, towards the outer corners of the eyes, in widths of the mouth."""

OPEN = 0.5
"""The lips' gap that ``open_mouth`` 1 adds, in widths of the mouth."""

EYEBALL = 0.136
"""Radius of an eyeball in distances between the outer eye corners: 12 mm of 88 mm."""

FARTHEST_GAZE = 40.0
"""Degrees."""

LARGEST = 3.0
"""Of the controls that are shares, and ..."""

LARGEST_MODE = 6.0
"""... of a single mode's change, standard deviations."""

STEEPEST = 60.0
"""Degrees that a head may be turned to: half of it is hidden on a photo from the front."""

# The person's right first: corner of the mouth and the outer corner of the eye that it rises to.
_CORNERS = ((61, OUTER_EYE_CORNERS[0]), (291, OUTER_EYE_CORNERS[1]))
_MIDDLE_LIPS = ((82, 87), (13, 14), (312, 317))
_NOSE_TO_LIP = ((4, 82), (4, 13), (4, 312))
_BONE = np.array((6, 168, 195, 197, 33, 133, 263, 362), np.int32)
"""Bridge of the nose and corners of the eyes: what no expression moves."""
_LIDS = (
    ((161, 163), (160, 144), (159, 145), (158, 153), (157, 154)),
    ((388, 390), (387, 373), (386, 374), (385, 380), (384, 381)),
)
"""Upper and lower lid, outer to inner."""

_FACE = np.concatenate((GROUPS["lips"], GROUPS["eyelids"], GROUPS["irises"], GROUPS["right_brow"], GROUPS["left_brow"]))


@dataclass(frozen=True)
class Edit:
    """What to change of a face; zero changes nothing.

    smile, open_mouth: shares of a full one (``SMILE``, ``OPEN``). close_eyes: share of the lids' present gap; 1 shuts them.
    gaze: degrees to the right of the picture, down. yaw, pitch, roll: degrees, as ``rotation_matrix`` has them, added to what is.
    modes: what to add to single expression modes, by number from 1, standard deviations.
    """

    smile: float = 0.0
    open_mouth: float = 0.0
    close_eyes: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    modes: Mapping[int, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raises UsageError for what no face can do."""
        shares = {"smile": self.smile, "open-mouth": self.open_mouth, "close-eyes": self.close_eyes}
        for name, value in shares.items():
            _within(f"--{name}", value, LARGEST, "")
        for value in self.gaze:
            _within("--gaze", value, FARTHEST_GAZE, " degrees")
        for name, value in {"yaw": self.yaw, "pitch": self.pitch, "roll": self.roll}.items():
            _within(f"--{name}", value, 180.0 if name == "roll" else STEEPEST, " degrees")
        for mode, value in self.modes.items():
            if not 1 <= mode <= EXPRESSION:
                raise UsageError(f"there is no expression mode {mode}: choose 1 to {EXPRESSION}")
            _within(f"--expression {mode}", value, LARGEST_MODE, " standard deviations")


def _within(name: str, value: float, limit: float, unit: str) -> None:
    if not abs(value) <= limit:
        raise UsageError(f"{name} {value:g} is out of range: choose a number from {-limit:g} to {limit:g}{unit}")


def parse_gaze(text: str) -> tuple[float, float]:
    """X,Y of the command line. Raises UsageError."""
    try:
        right, down = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--gaze {text} is not two numbers: give degrees to the right and down, such as 15,-5"
        ) from None
    return right, down


def parse_modes(texts: Sequence[str]) -> dict[int, float]:
    """Each MODE=VALUE of the command line. Raises UsageError."""
    found: dict[int, float] = {}
    for text in texts:
        mode, _, value = text.partition("=")
        try:
            found[int(mode)] = float(value)
        except ValueError:
            raise UsageError(
                f"--expression {text} is not MODE=VALUE: give a mode and a number, such as 1=2.5"
            ) from None
    return found


def edited(
    model: FaceModel, identity: Floats, parameters: FrameParameters, edit: Edit, part: float = 1.0
) -> FrameParameters:
    """The parameters of a photo after ``part`` (0..1) of an edit. identity: (K,) of the person."""
    shape = model.shape(identity, parameters.expression)
    change = np.zeros(EXPRESSION)
    change += edit.smile * smile(model, shape)
    change += edit.open_mouth * open_mouth(model, shape)
    change += edit.close_eyes * close_eyes(model, shape)
    if any(edit.gaze):
        change += gaze(model, shape, *edit.gaze)
    for mode, value in edit.modes.items():
        change[mode - 1] += value
    turn = np.radians((edit.pitch, edit.yaw, edit.roll))
    rotation = (parameters.camera.rotation + part * turn).astype(np.float32)
    # the modes have no translation of their own, so that a chin that falls lifts the forehead: the head is held by its bones
    lift = np.tensordot(change, model.expression_basis[:, _BONE].mean(axis=1), 1)
    away = part * parameters.camera.scale * (rotation_matrix(rotation) @ lift)
    translation = parameters.camera.translation - np.array((*away[:2], 0), np.float32)
    camera = replace(parameters.camera, rotation=rotation, translation=translation)
    return replace(parameters, expression=(parameters.expression + part * change).astype(np.float32), camera=camera)


def smile(model: FaceModel, shape: Floats) -> NDArray[np.float64]:
    """(28,): the corners of the mouth go up and out, the lips stay as open as they are. shape: (478, 3), unposed."""
    width = mouth_width(shape)
    way = {}
    for corner, eye in _CORNERS:
        towards = shape[eye, :2] - shape[corner, :2]
        way[corner] = SMILE * width * towards / np.linalg.norm(towards)
    return _direction(model, way, apart=dict.fromkeys(_MIDDLE_LIPS, 0.0), held=_other("lips"))


def open_mouth(model: FaceModel, shape: Floats) -> NDArray[np.float64]:
    """(28,): the lower lip goes down, and the chin as far as it does; the upper lip keeps its distance from the nose."""
    gap = OPEN * mouth_width(shape)
    apart = dict.fromkeys(_MIDDLE_LIPS, gap) | dict.fromkeys(_NOSE_TO_LIP, 0.0)
    return _direction(model, {}, apart, held=_other("lips"))


def close_eyes(model: FaceModel, shape: Floats) -> NDArray[np.float64]:
    """(28,): the lids close by the gap that they have."""
    apart = {(up, low): float(shape[up, 1] - shape[low, 1]) for lids in _LIDS for up, low in lids}
    return _direction(model, {}, apart, held=_other("eyelids", "irises", "right_brow", "left_brow"))


def gaze(model: FaceModel, shape: Floats, right: float, down: float) -> NDArray[np.float64]:
    """(28,): the irises turn by degrees to the right of the picture and down; the lids go along as they do."""
    del shape
    way = EYEBALL * np.sin(np.radians((right, down)))
    return _direction(model, dict.fromkeys(map(int, IRISES), way), {}, held=_other("eyelids", "irises"))


def mouth_width(shape: Floats) -> float:
    """Distance between the corners of the mouth, model units."""
    return float(np.linalg.norm(shape[_CORNERS[0][0]] - shape[_CORNERS[1][0]]))


def lip_gap(shape: Floats) -> float:
    """Mean gap between the middles of the lips, model units."""
    return float(np.mean([shape[low, 1] - shape[up, 1] for up, low in _MIDDLE_LIPS]))


def lid_gap(shape: Floats) -> float:
    """Mean gap between the lids of both eyes, model units."""
    return float(np.mean([shape[low, 1] - shape[up, 1] for lids in _LIDS for up, low in lids]))


def _other(*groups: str) -> NDArray[np.int32]:
    moving = np.concatenate([GROUPS[name] for name in groups])
    return np.setdiff1d(_FACE, moving).astype(np.int32)


def _direction(
    model: FaceModel,
    way: Mapping[int, NDArray[np.float64]],
    apart: Mapping[tuple[int, int], float],
    held: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Solve for a control. way: (2,) x, y by point. apart: what is added to y of the second of two points, less the first's.
    held: points that stay where they are."""
    basis = model.expression_basis.astype(np.float64)
    rows = [basis[:, point, axis] for point in way for axis in (0, 1)]
    rows += [basis[:, low, 1] - basis[:, up, 1] for up, low in apart]
    wanted = np.array([way[point][axis] for point in way for axis in (0, 1)] + list(apart.values()))
    moving = np.array(rows) / SIGMA
    still = basis[:, held, :2].reshape(EXPRESSION, -1).T / HELD
    normal = moving.T @ moving + still.T @ still / max(len(held), 1) * len(rows) + np.eye(EXPRESSION)
    return np.asarray(np.linalg.solve(normal, moving.T @ wanted / SIGMA))


def frontal(camera: Camera) -> Camera:
    """The camera without rotation; place and size stay."""
    return replace(camera, rotation=np.zeros(3, np.float32))


def relative(camera: Camera, first: Camera, source: Camera) -> Camera:
    """The movement of a driver since ``first`` carried to the head that ``source`` shows: R = R_t R_0^T R_source, sizes in shares,
    places in sizes of the head."""
    turn = rotation_matrix(camera.rotation) @ rotation_matrix(first.rotation).T @ rotation_matrix(source.rotation)
    share = source.scale / max(first.scale, 1e-6)
    moved = source.translation + share * (camera.translation - first.translation)
    return Camera(camera.scale * share, euler_angles(turn).astype(np.float32), moved.astype(np.float32))


REST = 0.1
"""Share of a performance's frames that its neutral is taken from."""


def own_neutral(model: FaceModel, identity: Floats, expressions: Floats) -> Floats:
    """(28,): the expression that the fit gives a person's face at rest, from (T, 28): the median of the frames nearest to zero.

    The identity cannot say all of a face at rest, and what is left stays in the expression, as long as the person is the same.
    Without smile and open mouth: who smiles throughout does so by intent. Zero where there are no frames.
    """
    if len(expressions) == 0:
        return np.zeros(EXPRESSION, np.float32)
    strength = np.square(expressions).mean(axis=1)
    calm = np.argsort(strength, kind="stable")[: max(1, round(REST * len(expressions)))]
    rest = np.median(expressions[calm], axis=0).astype(np.float64)
    shape = model.neutral(identity)
    acts = np.stack((smile(model, shape), open_mouth(model, shape)), axis=1)
    rest -= acts @ np.linalg.lstsq(acts, rest, rcond=None)[0]
    return np.asarray(rest, np.float32)
