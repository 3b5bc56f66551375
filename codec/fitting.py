"""Fitting the face model to landmarks: the 35 numbers of a frame, one identity for the session.

``Fitter`` is the live one: warm-started Gauss-Newton with a prior (``fit_solver``), and an identity that is solved from
the first frames and then held (``fit_identity``). The paper's Algorithm 1 is in ``fit_algorithm1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import GROUPS, OUTER_EYE_CORNERS, FaceModel, euler_angles, project
from codec.fit_confidence import Confidence
from codec.fit_identity import IdentityEstimate
from codec.fit_pose import first_pose
from codec.fit_solver import Modes, against, evaluate, modes, scratch, solve
from codec.parameters import EXPRESSION, SIZE, Camera, Floats, FrameParameters


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    sigma: noise of a landmark and kernel: where the robust kernel turns down, both in outer eye-corner distances.
    depth_weight: weight of the landmarks' z beside x and y. group_weights: of point groups, times 1.
    identity_at: frame counts at which the identity is solved anew; after the last it is held.
    frame_weight: see ``IdentityEstimate``. doubt: rms, in eye-corner distances, above which a fit from the last frame
    is compared with one from nothing. iterations: at most, from the last frame; cold_iterations: without one.
    """

    sigma: float = 0.004
    kernel: float = 0.1
    depth_weight: float = 0.002
    group_weights: tuple[tuple[str, float], ...] = (("lips", 2.0), ("eyelids", 2.0), ("irises", 5.0))
    identity_at: tuple[int, ...] = (1, 4, 10, 25, 50)
    frame_weight: float = 0.3
    doubt: float = 0.03
    iterations: int = 3
    cold_iterations: int = 12


@dataclass(frozen=True)
class FitResult:
    """One fitted frame.

    parameters: the 35 numbers and the confidence. identity: (K,) float32 they go with; identity_version counts its
    changes, from 0 for the mean face. residual_px: rms distance of the projected mesh to the landmarks, pixels;
    residual: the same over the outer eye-corner distance. lost: no usable landmarks; parameters are the last good ones.
    """

    parameters: FrameParameters
    identity: Floats
    identity_version: int
    residual_px: float
    residual: float
    lost: bool = False


class Fitter:
    """Fits frame after frame of one person.

    model: the face model. identity: (K,) if it is known already (it is then held), else it is solved on the way.
    Never raises on any landmarks, and never gives a non-finite number: what cannot be fitted has confidence 0.
    """

    def __init__(
        self, model: FaceModel | None = None, identity: Floats | None = None, settings: FitSettings | None = None
    ) -> None:
        self.model = model or FaceModel.load()
        self.settings = settings or FitSettings()
        weight = point_weights(self.settings)
        self._modes = modes(self.model.expression_basis, weight, self.settings.sigma)
        self._prior = np.zeros(EXPRESSION, np.float32)
        self._work = scratch(len(self.model.mean))
        self._confidence = Confidence()
        self._estimate: IdentityEstimate | None = None
        if identity is None:
            of_identity = modes(self.model.identity_basis, weight, self.settings.sigma)
            self._estimate = IdentityEstimate(of_identity, self._modes, self.settings.sigma, self.settings.frame_weight)
        self.identity_version = 0
        self.set_identity(np.zeros(self.model.identities, np.float32) if identity is None else identity)
        self._reset()
        self._last = self._parameters(0.0)
        self._warm = False

    def set_identity(self, identity: Floats) -> None:
        """Use this (K,) identity from now on. Raises ValueError for another length or non-finite numbers."""
        identity = np.array(identity, np.float32)
        if identity.shape != (self.model.identities,) or not np.isfinite(identity).all():
            raise ValueError(f"an identity of this model is {self.model.identities} finite numbers")
        self.identity: Floats = identity
        self._neutral = self.model.neutral(identity)
        self._neutral_planes = np.ascontiguousarray(self._neutral.T)
        self._neutral_moments = against(self._modes, self._neutral)

    def restart(self) -> None:
        """Forget the last frame (a cut, another place in the picture); keep the identity."""
        self._warm = False
        self._reset()

    def fit(self, landmarks: NDArray[Any]) -> FitResult:
        """(478, 3) or (478, 2) landmarks in pixels of the picture (z scaled like x) -> the frame's fit."""
        y, weight, depth = self._observe(landmarks)
        if y is None or not self._solve(y, weight, depth):
            self.restart()
            held = FrameParameters(self._last.expression, self._last.camera, confidence=0.0)
            return FitResult(held, self.identity, self.identity_version, float("inf"), float("inf"), lost=True)
        self._warm = True
        if self._estimate is not None:
            self._learn(self._estimate, y, weight, depth)
        return self._result(y)

    def vertices(self, parameters: FrameParameters) -> Floats:
        """(478, 3): the posed mesh of a frame with the present identity, as ``FaceModel.project`` gives it."""
        return project(self.model.express(self._neutral, parameters.expression), parameters.camera)

    def _reset(self) -> None:
        self._code = np.zeros(EXPRESSION, np.float32)
        self._rotation = np.eye(3)
        self._pose = np.array([SIZE / 3.6, SIZE / 2, SIZE / 2])

    def _observe(self, landmarks: NDArray[Any]) -> tuple[Floats | None, Floats, float]:
        """Landmarks as planes, the weights of the points that are usable, the weight of z; None if too few are."""
        weight = self._modes.weight
        points = np.asarray(landmarks, np.float32)
        count = len(weight)
        if points.ndim != 2 or points.shape[0] != count or points.shape[1] not in (2, 3):
            return None, weight, 0.0
        depth = self.settings.depth_weight if points.shape[1] == 3 else 0.0
        y = np.zeros((3, count), np.float32)
        y[: points.shape[1]] = points.T
        if not np.abs(y).max() < 1e5:
            good = (np.abs(y) < 1e5).all(axis=0)
            if good.sum() < count // 2:
                return None, weight, 0.0
            y[:, ~good] = 0.0
            weight = np.where(good, weight, 0.0).astype(np.float32)
        return y, weight, depth

    def _solve(self, y: Floats, weight: Floats, depth: float) -> bool:
        settings = self.settings
        warm = None
        if self._warm and self._run(y, weight, depth, settings.iterations, settings.kernel):
            if self._rms < settings.doubt:
                return True
            warm = (self._rms, self._code, self._rotation, self._pose)
        found = first_pose(y, weight, self._neutral, depth > 0.0)
        cold = False
        if found is not None:
            self._reset()
            self._rotation, self._pose = found
            cold = self._run(y, weight, depth, settings.cold_iterations, settings.kernel)
        if warm is not None and not (cold and self._rms < warm[0]):
            _, self._code, self._rotation, self._pose = warm
            return self._run(y, weight, depth, 1, settings.kernel)
        return cold

    def _run(self, y: Floats, weight: Floats, depth: float, iterations: int, kernel: float) -> bool:
        rms, sound = solve(
            self._modes, self._neutral_planes, self._neutral_moments, weight, y, depth, kernel, self._prior,
            self._code, self._rotation, self._pose, iterations, self._work,
        )  # fmt: skip
        self._rms = float(rms)
        return bool(
            sound
            and 4.0 < self._pose[0] < 1e4
            and abs(self._pose[1]) < 1e4
            and abs(self._pose[2]) < 1e4
            and float(np.abs(self._code).max()) < 40.0
            and self._rms < 1.0
        )

    def _learn(self, estimate: IdentityEstimate, y: Floats, weight: Floats, depth: float) -> None:
        gradient, _, _, rms = evaluate(
            self._modes, self._neutral_planes, weight, y, np.float32(depth), np.float32(self.settings.kernel),
            self._code, self._rotation.astype(np.float32), self._pose, self._work,
        )  # fmt: skip
        if estimate.frames > 0 and rms > 0.05:
            return
        estimate.add(self.identity, self._code, self._rotation, depth, self._neutral_moments, gradient, self._work)
        if estimate.frames in self.settings.identity_at:
            self.set_identity(estimate.solve())
            self.identity_version += 1
            self._run(y, weight, depth, self.settings.cold_iterations, self.settings.kernel)
            if estimate.frames >= self.settings.identity_at[-1]:
                self._estimate = None

    def _parameters(self, confidence: float) -> FrameParameters:
        scale, x, y = self._pose
        rotation = euler_angles(self._rotation).astype(np.float32)
        camera = Camera(float(scale), rotation, np.array([x, y, 0.0], np.float32))
        return FrameParameters(self._code.copy(), camera, confidence=confidence)

    def _result(self, y: Floats) -> FitResult:
        right, left = OUTER_EYE_CORNERS
        across = y[:2, right] - y[:2, left]
        residual_px = self._rms * float(self._pose[0])
        residual = residual_px / max(float(np.hypot(across[0], across[1])), 1.0)
        confidence = self._confidence.of(self._rms, self._code, self._rotation, self._work, y, self._pose)
        self._last = self._parameters(confidence)
        return FitResult(self._last, self.identity, self.identity_version, residual_px, residual)


def point_weights(settings: FitSettings, points: int = 478) -> Floats:
    """(478,) float32 of mean 1: how much each landmark counts."""
    weight = np.ones(points, np.float32)
    for name, value in settings.group_weights:
        weight[GROUPS[name]] = value
    return np.asarray(weight / weight.mean(), np.float32)


def expression_modes(model: FaceModel, settings: FitSettings | None = None) -> Modes:
    """The expression modes as ``Fitter`` weighs them."""
    settings = settings or FitSettings()
    return modes(model.expression_basis, point_weights(settings), settings.sigma)
