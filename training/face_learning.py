"""Alternating least squares for the face model (Eq. 1), on what is *seen*.

Given the model, every frame is fitted with the live solver and every person's identity is solved over all their
frames; given cameras and coefficients, mean and bases solve one linear system, the same for all 478 points. z of the
landmarks has a low weight: depth comes from the agreement of many poses, not from the network's guess. Every frame
counts a second time mirrored, which makes the mean symmetric and each mode either symmetric or antisymmetric.
Deterministic: no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codec.face_model import OUTER_EYE_CORNERS, FaceModel, Indices
from codec.fit_identity import IdentityEstimate
from codec.fit_solver import against, evaluate, modes, scratch, solve
from codec.fitting import point_weights
from codec.parameters import EXPRESSION, Floats
from training.face_frames import Array, Frames, TrainingSettings
from training.topology import level, mirror_map

FLIP = np.array([-1.0, 1.0, 1.0])


def _align(points: Array, mean: Array) -> Array:
    """Each (478, 3) shape turned, scaled and moved onto the mean."""
    centred = points - points.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(np.einsum("tni,nj->tij", centred, mean, optimize=True))
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    scale = (s * flip).sum(axis=1) / (centred**2).sum(axis=(1, 2))
    aligned: Array = (centred @ ((u * flip[:, None]) @ vt)) * scale[:, None, None]
    return aligned


def _unit(mean: Array) -> Array:
    right, left = OUTER_EYE_CORNERS
    return mean / np.linalg.norm(mean[right] - mean[left])


def _principal(samples: Array, pairs: Indices, weight: Array, count: int) -> tuple[Array, Array]:
    """(S, N, 3) deviations, with their mirrors -> (count, N, 3) modes in standard deviations, (count,) parities."""
    modes, sizes, signs = [], [], []
    flat_weight = np.sqrt(weight)[:, None]
    for parity in (1.0, -1.0):
        half = 0.5 * (samples + parity * samples[:, pairs] * FLIP) * flat_weight
        flat = half.reshape(len(half), -1)
        values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
        keep = np.argsort(values)[::-1][:count]
        size = np.sqrt(np.maximum(values[keep], 1e-12))
        modes.append((vectors[:, keep] * size).T.reshape(-1, *samples.shape[1:]) / flat_weight)
        sizes.append(size)
        signs.append(np.full(len(keep), parity))
    order = np.argsort(np.concatenate(sizes))[::-1][:count]
    return np.concatenate(modes)[order], np.concatenate(signs)[order]


@dataclass
class State:
    """The model as it is being learned, and the coefficients and cameras of all frames. parities: +1 or -1 by mode."""

    mean: Array
    identity_basis: Array
    expression_basis: Array
    identity_parity: Array
    expression_parity: Array
    identity: Floats
    expression: Floats
    rotation: Array
    pose: Array
    rms: Array


def initialise(frames: Frames, settings: TrainingSettings, weight: Array) -> tuple[State, Indices]:
    """Procrustes in 3D, people's means -> identity basis, what is left -> expression modes. And the mirror map."""
    points = frames.y.astype(np.float64)
    mean = _unit(level(points[0].astype(np.float64)))
    for _ in range(3):
        mean = _unit(level(np.median(_align(points, mean), axis=0)))
    pairs = mirror_map(mean)
    for _ in range(4):
        mean = _unit(0.5 * (mean + mean[pairs] * FLIP))
        mean = level(np.median(_align(points, mean), axis=0))
    mean = _unit(0.5 * (mean + mean[pairs] * FLIP))
    shapes = _align(points, mean)
    count = len(frames.people)
    own = np.stack([shapes[frames.person == i].mean(axis=0) for i in range(count)])
    identity_basis, identity_parity = _principal(own - mean, pairs, weight, settings.identities)
    expression_basis, expression_parity = _principal(shapes - own[frames.person], pairs, weight, EXPRESSION)
    total = len(points)
    state = State(
        mean, identity_basis, expression_basis, identity_parity, expression_parity,
        np.zeros((count, settings.identities), np.float32), np.zeros((total, EXPRESSION), np.float32),
        np.zeros((total, 3, 3)), np.zeros((total, 3)), np.full(total, np.inf),
    )  # fmt: skip
    centred = points - points.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(np.einsum("tni,nj->tij", centred, mean, optimize=True))
    flip = np.ones((total, 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    state.rotation = (u * flip[:, None]) @ vt
    scale = (s * flip).sum(axis=1) / (mean**2).sum()
    state.pose = np.column_stack((scale, points[:, :, :2].mean(axis=1)))
    return state, pairs


def fit_all(state: State, frames: Frames, settings: TrainingSettings, passes: int = 2) -> None:
    """The E-step: cameras and expressions of all frames and identities of all people, for the present model."""
    fit = settings.fit
    model = FaceModel(
        state.mean.astype(np.float32),
        state.identity_basis.astype(np.float32),
        state.expression_basis.astype(np.float32),
        np.zeros((1, 3), np.int32),
    )
    weight = point_weights(fit)
    expression = modes(model.expression_basis, weight, fit.sigma)
    estimate = IdentityEstimate(modes(model.identity_basis, weight, fit.sigma), expression, fit.sigma, fit.frame_weight)
    prior = np.zeros(EXPRESSION, np.float32)
    depth, kernel = np.float32(fit.depth_weight), np.float32(fit.kernel)
    work = scratch(len(model.mean))
    for number in range(len(frames.people)):
        own = np.flatnonzero(frames.person == number)
        for attempt in range(passes):
            shape = model.neutral(state.identity[number])
            neutral, neutral_moments = np.ascontiguousarray(shape.T), against(expression, shape)
            estimate.restart()
            for f in own:
                y = np.ascontiguousarray(frames.y[f].T)
                code, rotation, pose = state.expression[f], state.rotation[f], state.pose[f]
                rms, sound = solve(
                    expression, neutral, neutral_moments, weight, y, depth, kernel, prior, code, rotation, pose, 4, work
                )
                state.rms[f] = rms if sound else np.inf
                if attempt < passes - 1 and sound and rms < 4 * settings.outlier:
                    gradient, _, _, _ = evaluate(
                        expression, neutral, weight, y, depth, kernel, code, rotation.astype(np.float32), pose, work
                    )
                    estimate.add(
                        state.identity[number], code, rotation, fit.depth_weight, neutral_moments, gradient, work
                    )
            if attempt < passes - 1:
                state.identity[number] = estimate.solve()


def refit_bases(state: State, frames: Frames, pairs: Indices, settings: TrainingSettings) -> None:
    """The M-step: mean and bases for the present coefficients and cameras, every frame counted also mirrored."""
    kept = np.flatnonzero(state.rms < settings.outlier)
    code = np.column_stack((np.ones(len(kept)), state.identity[frames.person[kept]], state.expression[kept])).astype(
        np.float64
    )
    parity = np.concatenate(([1.0], state.identity_parity, state.expression_parity))
    rotation = state.rotation[kept]
    share = frames.weight[kept]
    seen = np.array([1.0, 1.0, settings.fit.depth_weight])
    metric = np.einsum("fia,i,fib->fab", rotation, seen, rotation)
    scale, centre = state.pose[kept, 0], state.pose[kept, 1:3]
    y = frames.y[kept].astype(np.float64)
    size = code.shape[1]
    matrix = np.empty((3, size, 3, size))
    for a in range(3):
        for b in range(3):
            matrix[a, :, b, :] = (code * (share * metric[:, a, b])[:, None]).T @ code
    matrix *= 1.0 + (FLIP[:, None] * parity)[:, :, None, None] * (FLIP[:, None] * parity)[None, None]
    current = np.concatenate((state.mean[None], state.identity_basis, state.expression_basis))
    shapes = np.tensordot(code, current, 1)
    turned = np.einsum("fij,fnj->fni", rotation, shapes, optimize=True)
    target = np.empty_like(turned)
    target[..., :2] = (y[..., :2] - centre[:, None]) / scale[:, None, None]
    depth = y[..., 2] / scale[:, None]
    target[..., 2] = depth - (depth - turned[..., 2]).mean(axis=1, keepdims=True)
    pulled = np.einsum("fia,i,fni->fan", rotation, seen, target, optimize=True) * share[:, None, None]
    right = np.einsum("fc,fan->acn", code, pulled, optimize=True)
    right = right + (FLIP[:, None] * parity)[:, :, None] * right[:, :, pairs]
    flat = matrix.reshape(3 * size, 3 * size)
    pull = 1e-6 * np.trace(flat) / len(flat)
    solved = np.linalg.solve(
        flat + pull * np.eye(len(flat)),
        right.reshape(3 * size, -1) + pull * current.transpose(2, 0, 1).reshape(3 * size, -1),
    )
    bases = solved.reshape(3, size, -1).transpose(1, 2, 0)
    bases = 0.5 * (bases + parity[:, None, None] * bases[:, pairs] * FLIP)
    state.mean = bases[0]
    state.identity_basis = bases[1 : 1 + len(state.identity_parity)]
    state.expression_basis = bases[1 + len(state.identity_parity) :]


def normalise(state: State, frames: Frames, settings: TrainingSettings, weight: Array) -> None:
    """Fix what the data leave free: modes carry no rigid motion or scale, have unit variance and come in order."""
    kept = np.flatnonzero(state.rms < settings.outlier)
    mean_expression = np.average(state.expression[kept], axis=0, weights=frames.weight[kept]) * (
        state.expression_parity > 0
    )
    state.mean = state.mean + np.tensordot(mean_expression, state.expression_basis, 1)
    mean_identity = state.identity.mean(axis=0) * (state.identity_parity > 0)
    state.mean = state.mean + np.tensordot(mean_identity, state.identity_basis, 1)
    state.mean = _unit(level(state.mean))
    state.identity -= mean_identity.astype(np.float32)
    state.expression -= mean_expression.astype(np.float32)
    state.identity_basis = _without_rigid(state.identity_basis, state.mean, weight)
    state.expression_basis = _without_rigid(state.expression_basis, state.mean, weight)
    state.identity_basis, state.identity_parity, turn = _rotate(
        state.identity_basis, state.identity_parity, state.identity, np.ones(len(state.identity)), weight
    )
    state.identity = (state.identity @ turn).astype(np.float32)
    state.expression_basis, state.expression_parity, turn = _rotate(
        state.expression_basis, state.expression_parity, state.expression[kept], frames.weight[kept], weight
    )
    state.expression = (state.expression @ turn).astype(np.float32)


def _without_rigid(basis: Array, mean: Array, weight: Array) -> Array:
    x, y, z = mean.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    motions = np.array(
        [
            (x, y, z),
            (zero, -z, y),
            (z, zero, -x),
            (-y, x, zero),
            (one, zero, zero),
            (zero, one, zero),
            (zero, zero, one),
        ]
    ).transpose(0, 2, 1)
    root = np.sqrt(weight)[:, None]
    flat = (motions * root).reshape(len(motions), -1)
    orthonormal, _ = np.linalg.qr(flat.T)
    rows = (basis * root).reshape(len(basis), -1)
    rows = rows - rows @ orthonormal @ orthonormal.T
    cleaned: Array = rows.reshape(basis.shape) / root
    return cleaned


def _rotate(basis: Array, parity: Array, codes: Floats, share: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Principal axes of the codes' distribution as it is seen, parity by parity: new basis, parities, and the codes' map."""
    root = np.sqrt(weight)[:, None]
    columns, sizes, signs = [], [], []
    for sign in (1.0, -1.0):
        own = np.flatnonzero(parity == sign)
        code = codes[:, own].astype(np.float64)
        covariance = (code * share[:, None]).T @ code / share.sum() + 1e-9 * np.eye(len(own))
        lower = np.linalg.cholesky(covariance)
        flat = (basis[own] * root).reshape(len(own), -1)
        values, vectors = np.linalg.eigh(lower.T @ (flat @ flat.T) @ lower)
        column = np.zeros((len(basis), len(own)))
        column[own] = lower @ vectors
        columns.append(column)
        sizes.append(values)
        signs.append(np.full(len(own), sign))
    order = np.argsort(np.concatenate(sizes))[::-1]
    to_new = np.concatenate(columns, axis=1)[:, order]
    turned = np.einsum("ck,cna->kna", to_new, basis)
    return turned, np.concatenate(signs)[order], np.linalg.inv(to_new).T


def learn(
    frames: Frames, settings: TrainingSettings, log: Callable[[str], None] = lambda line: None
) -> tuple[State, Indices]:
    """Alternate E- and M-steps."""
    weight = point_weights(settings.fit).astype(np.float64)
    state, pairs = initialise(frames, settings, weight)
    fit_all(state, frames, settings, passes=3)
    for number in range(settings.rounds):
        refit_bases(state, frames, pairs, settings)
        normalise(state, frames, settings, weight)
        fit_all(state, frames, settings)
        good = state.rms < settings.outlier
        log(
            f"round {number + 1}: rms {np.sqrt((state.rms[good] ** 2).mean()):.5f}, {100 * good.mean():.1f} % of frames kept"
        )
    return state, pairs
