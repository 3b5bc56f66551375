"""Fitting the face model to landmarks: the 35 numbers of a frame, one identity for the session.

``Fitter`` is the live one: warm-started Gauss-Newton with a prior (``fit_solver``), and an identity that is solved from the
first frames and then held (``fit_identity``). The paper's Algorithm 1 is in ``fit_algorithm1``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.face_model import GROUPS, OUTER_EYE_CORNERS, FaceModel, euler_angles, project, rotation_matrix
from codec.fit_identity import IdentityEstimate
from codec.fit_solver import gram, planes, scratch, solve
from codec.parameters import EXPRESSION, SIZE, Camera, Floats, FrameParameters


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    sigma: noise of a landmark and kernel: where the robust kernel turns down, both in outer eye-corner distances.
    depth_weight: weight of the landmarks' z beside x and y. group_weights: of point groups, times 1.
    identity_at: frame counts at which the identity is solved anew; after the last it is held.
    frame_weight: see ``IdentityEstimate``. perspective: of the camera, per model unit, held for the session.
    """

    sigma: float = 0.004
    kernel: float = 0.06
    depth_weight: float = 0.01
    group_weights: tuple[tuple[str, float], ...] = (("lips", 2.0), ("eyelids", 2.0), ("irises", 3.0))
    identity_at: tuple[int, ...] = (1, 4, 10, 25, 50)
    frame_weight: float = 0.3
    perspective: float = 0.0
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
        weight = np.ones(len(self.model.mean), np.float32)
        for name, value in self.settings.group_weights:
            weight[GROUPS[name]] = value
        self._weight = weight / weight.mean()
        self._basis = planes(self.model.expression_basis)
        self._grams = gram(self.model.expression_basis, self.model.expression_basis, self._weight)
        self._total = float(self._weight.sum())
        self._ridge = np.full(EXPRESSION, self.settings.sigma**2, np.float32)
        self._prior = np.zeros(EXPRESSION, np.float32)
        self._work = scratch(len(self.model.mean))
        self._known = identity is not None
        self.identity_version = 0
        self.set_identity(np.zeros(self.model.identities, np.float32) if identity is None else identity)
        self._estimate = (
            None
            if self._known
            else IdentityEstimate(self.model, self._weight, self.settings.sigma, self.settings.frame_weight)
        )
        self.restart()

    def set_identity(self, identity: Floats) -> None:
        """Use this (K,) identity from now on. Raises ValueError for another length or non-finite numbers."""
        identity = np.asarray(identity, np.float32).copy()
        if identity.shape != (self.model.identities,) or not np.isfinite(identity).all():
            raise ValueError(f"an identity of this model is {self.model.identities} finite numbers")
        self.identity = identity
        self._neutral = self.model.neutral(identity)
        self._neutral_planes = np.ascontiguousarray(self._neutral.T)

    def restart(self) -> None:
        """Forget the last frame (a cut, another place in the picture); keep the identity."""
        self._warm = False
        self._coefficients = np.zeros(EXPRESSION, np.float32)
        self._rotation = np.eye(3)
        self._pose = np.array([SIZE / 3.6, SIZE / 2, SIZE / 2, self.settings.perspective])
        self._last = self._parameters(0.0)

    def fit(self, landmarks: NDArray[np.floating]) -> FitResult:
        """(478, 3) or (478, 2) landmarks in pixels of the picture (z scaled like x) -> the frame's fit."""
        y, weight, depth_weight = self._observe(landmarks)
        if y is None or not self._solve(y, weight, depth_weight):
            self._warm = False
            lost = FrameParameters(self._last.expression, self._last.camera, self._last.window, 0.0)
            return FitResult(lost, self.identity, self.identity_version, float("inf"), float("inf"), lost=True)
        self._warm = True
        if self._estimate is not None:
            self._learn(y, weight, depth_weight)
        return self._result(y, weight)

    def vertices(self, parameters: FrameParameters) -> Floats:
        """(478, 3): the posed mesh of a frame with the present identity, as ``FaceModel.project`` gives it."""
        return project(self.model.express(self._neutral, parameters.expression), parameters.camera)

    def _observe(self, landmarks: NDArray[np.floating]) -> tuple[Floats | None, Floats, float]:
        points = np.asarray(landmarks, np.float32)
        count = len(self.model.mean)
        if points.ndim != 2 or points.shape[0] != count or points.shape[1] not in (2, 3):
            return None, self._weight, 0.0
        depth_weight = self.settings.depth_weight if points.shape[1] == 3 else 0.0
        y = np.zeros((3, count), np.float32)
        y[: points.shape[1]] = points.T
        weight = self._weight
        good = np.isfinite(y).all(axis=0) & (np.abs(y) < 1e5).all(axis=0)
        if not good.all():
            if good.sum() < count // 2:
                return None, weight, 0.0
            y[:, ~good] = 0.0
            weight = np.where(good, weight, 0.0).astype(np.float32)
        spread = np.sqrt((weight * ((y[:2] - (y[:2] @ weight / weight.sum())[:, None]) ** 2).sum(axis=0)).mean())
        if not 1.0 < spread < 1e4:
            return None, weight, 0.0
        return y, weight, depth_weight

    def _solve(self, y: Floats, weight: Floats, depth_weight: float) -> bool:
        if self._warm and self._run(y, weight, depth_weight, self.settings.iterations, self.settings.kernel):
            return True
        self._start(y, weight, depth_weight > 0)
        iterations = self.settings.cold_iterations
        return self._run(y, weight, depth_weight, iterations, 3 * self.settings.kernel) and self._run(
            y, weight, depth_weight, iterations, self.settings.kernel
        )

    def _run(self, y: Floats, weight: Floats, depth_weight: float, iterations: int, kernel: float) -> bool:
        grams = self._grams
        rms, _, sound = solve(
            self._neutral_planes, self._basis, grams, weight, y, depth_weight, kernel, self._prior, self._ridge,
            self._coefficients, self._rotation, self._pose, iterations, self._work,
        )  # fmt: skip
        inside = 4.0 < self._pose[0] < 1e4 and np.abs(self._pose[1:3]).max() < 1e4
        finite = np.isfinite(self._coefficients).all() and np.isfinite(self._rotation).all() and np.isfinite(rms)
        if not (sound and inside and finite and np.abs(self._coefficients).max() < 30.0):
            self.restart_state()
            return False
        return True

    def restart_state(self) -> None:
        """Back to a neutral face in the middle of the picture, without forgetting the last result."""
        self._coefficients[:] = 0.0
        self._rotation = np.eye(3)
        self._pose = np.array([SIZE / 3.6, SIZE / 2, SIZE / 2, self.settings.perspective])

    def _start(self, y: Floats, weight: Floats, depth: bool) -> None:
        """A first pose: similarity in 3D where there is depth, else from the affine camera."""
        self.restart_state()
        share = (weight / weight.sum()).astype(np.float64)
        model = self._neutral.astype(np.float64)
        model = model - share @ model
        seen = y.T.astype(np.float64)
        centre = share @ seen
        seen = seen - centre
        if not depth:
            seen = np.column_stack((seen[:, :2], _affine_depth(seen[:, :2], model, share)))
        covariance = (seen * share[:, None]).T @ model
        u, s, vt = np.linalg.svd(covariance)
        flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
        self._rotation = np.ascontiguousarray(u * flip @ vt)
        scale = float((s * flip).sum() / (share @ (model**2).sum(axis=1)))
        offset = self._rotation @ (share @ self._neutral.astype(np.float64))
        self._pose = np.array([max(scale, 5.0), *(centre[:2] - scale * offset[:2]), self.settings.perspective])

    def _learn(self, y: Floats, weight: Floats, depth_weight: float) -> None:
        estimate = self._estimate
        assert estimate is not None
        estimate.add(
            self.identity,
            self._work,
            weight,
            self._rotation,
            float(self._pose[3]),
            depth_weight,
            self._ridge,
            self._basis.reshape(EXPRESSION, -1),
            self._coefficients,
        )
        if estimate.frames in self.settings.identity_at:
            self.set_identity(estimate.solve())
            self.identity_version += 1
            self._run(y, weight, depth_weight, self.settings.cold_iterations, self.settings.kernel)
            if estimate.frames >= self.settings.identity_at[-1]:
                self._estimate = None

    def _parameters(self, confidence: float) -> FrameParameters:
        scale, x, y, perspective = self._pose
        rotation = euler_angles(self._rotation).astype(np.float32)
        camera = Camera(float(scale), rotation, np.array([x, y, perspective], np.float32))
        return FrameParameters(self._coefficients.copy(), camera, confidence=confidence)

    def _result(self, y: Floats, weight: Floats) -> FitResult:
        parameters = self._parameters(1.0)
        difference = (self.vertices(parameters)[:, :2] - y[:2].T)[weight > 0]
        residual_px = float(np.sqrt((difference**2).sum(axis=1).mean()))
        right, left = OUTER_EYE_CORNERS
        distance = max(float(np.linalg.norm(y[:2, right] - y[:2, left])), 1.0)
        residual = residual_px / distance
        confidence = float(np.clip(1.5 - residual_px / parameters.camera.scale / 0.02, 0.0, 1.0))
        self._last = FrameParameters(parameters.expression, parameters.camera, confidence=confidence)
        return FitResult(self._last, self.identity, self.identity_version, residual_px, residual)


def _affine_depth(
    seen: NDArray[np.float64], model: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) depth that the least-squares affine camera implies, its third row the cross product of the first two."""
    normal = (model * share[:, None]).T @ model
    affine = np.linalg.solve(normal + 1e-9 * np.eye(3), (model * share[:, None]).T @ seen).T
    scale = np.sqrt(max(np.linalg.norm(affine[0]) * np.linalg.norm(affine[1]), 1e-12))
    depth: NDArray[np.float64] = model @ (np.cross(affine[0], affine[1]) / scale)
    return depth


__all__ = ["FitResult", "FitSettings", "Fitter", "rotation_matrix"]
