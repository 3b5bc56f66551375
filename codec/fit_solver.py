"""Gauss-Newton on one frame: camera and expression from landmarks, the identity held.

Minimised, in model units (pixels over the scale), with sigma the noise of a landmark and D = diag(1, 1, depth weight):

    sum_n w_n rho(|y_n - x_n(camera, p_exp)|^2) + sigma^2 |p_exp - prior|^2

rho is the Geman-McClure kernel: a point that lies far off pulls no more. The camera is weak perspective (a perspective
term, tried, made the projection of FaceMesh's landmarks worse at every yaw) and moves by (d scale / scale, a small
rotation from the left, d translation / scale). Then every entry of the normal matrix is a fixed 3x3 matrix, applied to
moments of the modes that are precomputed; only residuals and gradients visit the points. The kernel lowers weights
alone, so the matrix without it bounds the true one from above and every step descends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from codec.parameters import Floats

FAST = {"reassoc", "contract", "nsz", "arcp"}


class Modes(NamedTuple):
    """A basis and its moments, ready for ``solve``.

    basis (A, 3, N), weight (N,), moments (A, A, 3, 3): sum_n w u_a u_b^T, sums (A, 3): sum_n w u_a, ridge (A,).
    """

    basis: Floats
    weight: Floats
    moments: Floats
    sums: Floats
    ridge: Floats


def planes(basis: Floats) -> Floats:
    """(A, N, 3) -> (A, 3, N) contiguous: x, y and z apart, as the kernels want them."""
    return np.ascontiguousarray(basis.transpose(0, 2, 1), np.float32)


def moments(left: Floats, right: Floats, weight: Floats) -> Floats:
    """(A, 3, N), (B, 3, N), (N,) -> (A, B, 3, 3) float32: sum_n w left_a right_b^T."""
    a, b = len(left), len(right)
    weighted = (left * weight).reshape(3 * a, -1).astype(np.float64)
    product = (weighted @ right.reshape(3 * b, -1).T.astype(np.float64)).reshape(a, 3, b, 3).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(product, np.float32)


def modes(basis: Floats, weight: Floats, sigma: float) -> Modes:
    """(A, N, 3) basis, (N,) weights, the noise of a landmark in model units -> ``Modes``."""
    flat = planes(basis)
    ridge = np.full(len(basis), sigma * sigma, np.float32)
    sums = np.ascontiguousarray(flat @ weight, np.float32)
    return Modes(flat, np.asarray(weight, np.float32), moments(flat, flat, weight), sums, ridge)


def against(modes: Modes, shape: Floats) -> Floats:
    """(N, 3) -> (A, 3, 3) float32: the modes' moments with a shape, which ``solve`` wants of the neutral face."""
    return np.ascontiguousarray(moments(modes.basis, planes(shape[None]), modes.weight)[:, 0])


@njit(cache=True, fastmath=FAST, nogil=True)  # type: ignore[untyped-decorator]
def evaluate(
    modes: Any, neutral: Any, weight: Any, y: Any, depth: Any, width: Any, code: Any, r: Any, pose: Any, out: Any
) -> Any:
    """Residuals and gradients at a state.

    neutral (3, N), weight (N,) of this frame's points, y (3, N) pixels, depth: weight of z, width of rho, code (A,),
    r (3, 3), pose (3,): scale, x, y. out (9, N): the shape, the shape turned, the weighted residual in model axes.
    Returns the gradient (A + 6,), the shape's weighted second moments (3, 3) and sums (3,), and the rms residual,
    unweighted, in model units.
    """
    size, count = modes.basis.shape[0], modes.basis.shape[2]
    zero, one = np.float32(0.0), np.float32(1.0)
    inverse = one / np.float32(pose[0])
    tx, ty = np.float32(pose[1]), np.float32(pose[2])
    for i in range(3):
        for n in range(count):
            out[i, n] = neutral[i, n]
    for a in range(size):
        c = code[a]
        for i in range(3):
            for n in range(count):
                out[i, n] += c * modes.basis[a, i, n]
    r00, r01, r02 = r[0, 0], r[0, 1], r[0, 2]
    r10, r11, r12 = r[1, 0], r[1, 1], r[1, 2]
    r20, r21, r22 = r[2, 0], r[2, 1], r[2, 2]
    offset, total, seen = zero, np.float32(1e-9), np.float32(1e-9)
    for n in range(count):
        v0, v1, v2 = out[0, n], out[1, n], out[2, n]
        out[3, n] = r00 * v0 + r01 * v1 + r02 * v2
        out[4, n] = r10 * v0 + r11 * v1 + r12 * v2
        t2 = r20 * v0 + r21 * v1 + r22 * v2
        out[5, n] = t2
        offset += weight[n] * (y[2, n] * inverse - t2)
        total += weight[n]
    offset /= total
    squares = zero
    sharp = one / (width * width)
    g0, g1, g2, g3, g4, g5 = zero, zero, zero, zero, zero, zero
    for n in range(count):
        t0, t1, t2 = out[3, n], out[4, n], out[5, n]
        e0 = (y[0, n] - tx) * inverse - t0
        e1 = (y[1, n] - ty) * inverse - t1
        e2 = y[2, n] * inverse - t2 - offset
        s = e0 * e0 + e1 * e1
        k = one / (one + s * sharp)
        w = weight[n] * k * k
        present = one if weight[n] > zero else zero
        squares += present * s
        seen += present
        e0 *= w
        e1 *= w
        e2 *= w * depth
        g0 += e0 * t0 + e1 * t1 + e2 * t2
        g1 += t1 * e2 - t2 * e1
        g2 += t2 * e0 - t0 * e2
        g3 += t0 * e1 - t1 * e0
        g4 += e0
        g5 += e1
        out[6, n] = r00 * e0 + r10 * e1 + r20 * e2
        out[7, n] = r01 * e0 + r11 * e1 + r21 * e2
        out[8, n] = r02 * e0 + r12 * e1 + r22 * e2
    gradient = np.empty(size + 6, np.float32)
    for a in range(size):
        s = zero
        for i in range(3):
            for n in range(count):
                s += modes.basis[a, i, n] * out[6 + i, n]
        gradient[a] = s
    gradient[size : size + 6] = (g0, g1, g2, g3, g4, g5)
    second = np.empty((3, 3), np.float32)
    first = np.empty(3, np.float32)
    for i in range(3):
        s = zero
        for n in range(count):
            s += modes.weight[n] * out[i, n]
        first[i] = s
        for j in range(i + 1):
            s = zero
            for n in range(count):
                s += modes.weight[n] * out[i, n] * out[j, n]
            second[i, j] = s
            second[j, i] = s
    return gradient, second, first, np.sqrt(squares / seen)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def camera_matrices(r: Any, depth: Any) -> Any:
    """(7, 3, 3): R^T D R; R^T D R and R^T D [e_i]x R of scale and rotation; D R's first two rows as (2, 3) in the last two.

    With them d x . D . d x' is a contraction with moments: rows 1-4 act on the shape, 5 and 6 hold translation in row 0.
    """
    out = np.zeros((7, 3, 3), np.float32)
    for i in range(3):
        for j in range(3):
            out[0, i, j] = r[0, i] * r[0, j] + r[1, i] * r[1, j] + depth * r[2, i] * r[2, j]
            out[1, i, j] = out[0, i, j]
            out[2, i, j] = -r[1, i] * r[2, j] + depth * r[2, i] * r[1, j]
            out[3, i, j] = r[0, i] * r[2, j] - depth * r[2, i] * r[0, j]
            out[4, i, j] = -r[0, i] * r[1, j] + r[1, i] * r[0, j]
        out[5, 0, i] = r[0, i]
        out[6, 0, i] = r[1, i]
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def camera_block(r: Any, depth: Any, second: Any, first: Any, total: Any, matrix: Any, at: Any) -> None:
    """Fill matrix[at:at+6, at:at+6] (lower half) with the camera's own part of the normal matrix."""
    m = np.zeros((3, 3), np.float32)
    f = np.zeros(3, np.float32)
    for i in range(3):
        for k in range(3):
            f[i] += r[i, k] * first[k]
        for j in range(3):
            for k in range(3):
                for h in range(3):
                    m[i, j] += r[i, k] * second[k, h] * r[j, h]
    x, y, z = f[0], f[1], f[2]
    full = np.zeros((6, 6), np.float32)
    full[0, 0] = m[0, 0] + m[1, 1] + depth * m[2, 2]
    full[1, 0] = -m[1, 2] + depth * m[2, 1]
    full[2, 0] = m[0, 2] - depth * m[2, 0]
    full[1, 1] = m[2, 2] + depth * m[1, 1]
    full[2, 1] = -depth * m[0, 1]
    full[2, 2] = m[2, 2] + depth * m[0, 0]
    full[3, 1] = -m[2, 0]
    full[3, 2] = -m[2, 1]
    full[3, 3] = m[0, 0] + m[1, 1]
    full[4, 0], full[4, 2], full[4, 3], full[4, 4] = x, z, -y, total
    full[5, 0], full[5, 1], full[5, 3], full[5, 5] = y, -z, x, total
    for i in range(6):
        for j in range(i + 1):
            matrix[at + i, at + j] = full[i, j]
        matrix[at + i, at + i] *= np.float32(1.00001)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cholesky_solve(matrix: Any, vector: Any) -> Any:
    """Solve in place with the lower half of a positive definite matrix; False if it is not one."""
    size = len(vector)
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for k in range(j):
                s -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not s > 0.0:
                    return False
                matrix[i, i] = np.sqrt(s)
            else:
                matrix[i, j] = s / matrix[j, j]
    for i in range(size):
        s = vector[i]
        for k in range(i):
            s -= matrix[i, k] * vector[k]
        vector[i] = s / matrix[i, i]
    for i in range(size - 1, -1, -1):
        s = vector[i]
        for k in range(i + 1, size):
            s -= matrix[k, i] * vector[k]
        vector[i] = s / matrix[i, i]
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def turn(rotation: Any, x: Any, y: Any, z: Any) -> Any:
    """The rotation by the vector (x, y, z) (Rodrigues), after ``rotation``, made orthonormal again."""
    angle = np.sqrt(x * x + y * y + z * z)
    s = np.sin(angle) / angle if angle > 1e-9 else 1.0
    k = (1.0 - np.cos(angle)) / (angle * angle) if angle > 1e-6 else 0.5
    e = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    out = np.zeros((3, 3), np.float64)
    for i in range(3):
        for j in range(3):
            for m in range(3):
                square = e[i, 0] * e[0, m] + e[i, 1] * e[1, m] + e[i, 2] * e[2, m]
                out[i, j] += ((1.0 if i == m else 0.0) + s * e[i, m] + k * square) * rotation[m, j]
    out[0] /= np.sqrt(out[0] @ out[0])
    out[1] -= (out[1] @ out[0]) * out[0]
    out[1] /= np.sqrt(out[1] @ out[1])
    out[2] = np.cross(out[0], out[1])
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def solve(
    modes: Any, neutral: Any, neutral_moments: Any, weight: Any, y: Any, depth: Any, kernel: Any, prior: Any,
    code: Any, rotation: Any, pose: Any, iterations: Any, out: Any,
) -> Any:  # fmt: skip
    """Iterate from (code, rotation, pose) until the step is small; changes them in place.

    The first step is taken with a kernel ten times as wide, so that a face that has moved is not taken for outliers.
    neutral_moments (A, 3, 3): ``against`` of the neutral. prior (A,): where the code is drawn. pose (3,) float64: scale,
    x, y. out: see ``evaluate``; it stands at the solution up to the last, small step.
    Returns (rms in model units, ok).
    """
    size = len(code)
    matrix = np.empty((size + 6, size + 6), np.float32)
    mixed = np.empty((3, 3), np.float32)
    depth = np.float32(depth)
    total = modes.weight.sum()
    for step in range(iterations + 1):
        r = rotation.astype(np.float32)
        width = np.float32(kernel if step > 0 else 10.0 * kernel)
        vector, second, first, rms = evaluate(modes, neutral, weight, y, depth, width, code, r, pose, out)
        if step == iterations:
            return rms, True
        c = camera_matrices(r, depth)
        for a in range(size):
            for b in range(a + 1):
                s = np.float32(0.0)
                for i in range(3):
                    for j in range(3):
                        s += c[0, i, j] * modes.moments[a, b, i, j]
                matrix[a, b] = s
            matrix[a, a] += modes.ridge[a]
            vector[a] += modes.ridge[a] * (prior[a] - code[a])
            for i in range(3):
                for j in range(3):
                    s = neutral_moments[a, i, j]
                    for b in range(size):
                        s += code[b] * modes.moments[a, b, i, j]
                    mixed[i, j] = s
            for k in range(4):
                s = np.float32(0.0)
                for i in range(3):
                    for j in range(3):
                        s += c[k + 1, i, j] * mixed[i, j]
                matrix[size + k, a] = s
            for k in range(2):
                s = np.float32(0.0)
                for i in range(3):
                    s += c[5 + k, 0, i] * modes.sums[a, i]
                matrix[size + 4 + k, a] = s
        camera_block(r, depth, second, first, total, matrix, size)
        if not cholesky_solve(matrix, vector):
            return rms, False
        largest = 0.0
        for a in range(size):
            code[a] += vector[a]
            largest = max(largest, 0.02 * abs(vector[a]))
        growth = min(max(vector[size], -0.5), 0.5)
        norm = np.sqrt(vector[size + 1] ** 2 + vector[size + 2] ** 2 + vector[size + 3] ** 2)
        limit = 0.5 / norm if norm > 0.5 else 1.0
        rotation[:] = turn(rotation, limit * vector[size + 1], limit * vector[size + 2], limit * vector[size + 3])
        pose[1] += pose[0] * vector[size + 4]
        pose[2] += pose[0] * vector[size + 5]
        pose[0] *= np.exp(growth)
        largest = max(largest, abs(growth), norm, abs(vector[size + 4]), abs(vector[size + 5]))
        if not np.isfinite(largest):
            return rms, False
        if step > 0 and largest < 3e-4:
            return rms, True
    return np.float32(0.0), False


def scratch(points: int) -> Floats:
    """The work array that ``solve`` wants for a model of so many points."""
    return np.empty((9, points), np.float32)
