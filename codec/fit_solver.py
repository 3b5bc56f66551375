"""Gauss-Newton on one frame: camera and expression from landmarks, the identity held.

Minimised, in model units (pixels over the scale), with sigma the noise of a landmark:

    sum_n w_n rho(|y_n - x_n(camera, p_exp)|^2) + sigma^2 |(p_exp - prior) / spread|^2

rho is the Geman-McClure kernel: a point that lies far off pulls no more. The expression's part of the normal matrix is a sum of
six precomputed 28x28 matrices weighted by the entries of R^T R's visible part; the kernel only lowers weights, so that matrix
is an upper bound of the true one and every step descends. The camera moves by (d scale / scale, a small rotation from the
left, d translation / scale).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec.parameters import Floats

RIGID = 6
"""Camera unknowns: scale, three of rotation, two of translation. Perspective is held."""

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def gram(left: Floats, right: Floats, weight: Floats) -> Floats:
    """(A, N, 3), (B, N, 3), (N,) -> (6, A, B) float32: weighted products of the bases by pair of axes, made symmetric.

    For a symmetric M (3, 3), sum_ab M_ab <left_a, right_b> = sum over PAIRS of M_ab * gram (off-diagonal pairs hold both).
    """
    out = []
    for a, b in PAIRS:
        product = (left[:, :, a] * weight).astype(np.float64) @ right[:, :, b].T.astype(np.float64)
        if a != b:
            product = product + (left[:, :, b] * weight).astype(np.float64) @ right[:, :, a].T.astype(np.float64)
        out.append(product)
    return np.stack(out).astype(np.float32)


def planes(basis: Floats) -> Floats:
    """(A, N, 3) -> (A, 3, N) contiguous: x, y and z apart, as the kernels want them."""
    return np.ascontiguousarray(basis.transpose(0, 2, 1), np.float32)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True)  # type: ignore[untyped-decorator]
def evaluate(neutral, basis, weight, y, depth_weight, kernel, coefficients, rotation, scale, tx, ty, perspective, out):  # type: ignore[no-untyped-def]  # numba infers these
    """Residuals and gradients at a state; fills ``out`` and returns (weighted energy, rms in model units).

    neutral (3, N), basis (A, 3, N), weight (N,), y (3, N) pixels, kernel: width of rho in model units.
    out (9 + RIGID * 3, N): rows 0-2 turned shape, 3-5 weighted residual as seen, 6-8 the same in model axes,
    the rest the camera's Jacobian transposed into model axes (d log scale, rotation x, y, z, translation x, y).
    """
    count = neutral.shape[1]
    inverse = 1.0 / scale
    v0 = out[6]
    v1 = out[7]
    v2 = out[8]
    for n in range(count):
        v0[n] = neutral[0, n]
        v1[n] = neutral[1, n]
        v2[n] = neutral[2, n]
    for a in range(basis.shape[0]):
        c = coefficients[a]
        if c != 0.0:
            for n in range(count):
                v0[n] += c * basis[a, 0, n]
                v1[n] += c * basis[a, 1, n]
                v2[n] += c * basis[a, 2, n]
    r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    depth = np.float32(0.0)
    total = np.float32(1e-9)
    for n in range(count):
        t0 = r00 * v0[n] + r01 * v1[n] + r02 * v2[n]
        t1 = r10 * v0[n] + r11 * v1[n] + r12 * v2[n]
        t2 = r20 * v0[n] + r21 * v1[n] + r22 * v2[n]
        out[0, n] = t0
        out[1, n] = t1
        out[2, n] = t2
        depth += weight[n] * (y[2, n] * inverse - t2)
        total += weight[n]
    depth /= total
    energy = np.float32(0.0)
    squares = np.float32(0.0)
    width = 1.0 / (kernel * kernel)
    for n in range(count):
        t0 = out[0, n]
        t1 = out[1, n]
        t2 = out[2, n]
        g = 1.0 / max(1.0 + perspective * t2, np.float32(0.25))
        x0 = t0 * g
        x1 = t1 * g
        e0 = (y[0, n] - tx) * inverse - x0
        e1 = (y[1, n] - ty) * inverse - x1
        e2 = y[2, n] * inverse - t2 - depth
        s = e0 * e0 + e1 * e1
        k = 1.0 / (1.0 + s * width)
        w = weight[n] * k * k
        squares += weight[n] * s
        energy += weight[n] * s * k
        wz = w * depth_weight
        e0 *= w
        e1 *= w
        e2 *= wz
        out[3, n] = e0
        out[4, n] = e1
        out[5, n] = e2
        w = weight[n]
        # d(x0, x1, t2) / d(t0, t1, t2), transposed, applied to the weighted residual
        q = perspective * g
        b0 = g * e0
        b1 = g * e1
        b2 = e2 - q * (x0 * e0 + x1 * e1)
        out[6, n] = r00 * b0 + r10 * b1 + r20 * b2
        out[7, n] = r01 * b0 + r11 * b1 + r21 * b2
        out[8, n] = r02 * b0 + r12 * b1 + r22 * b2
        wz = w * depth_weight
        # camera Jacobian: w * (dx0, dx1, sqrt-free depth row), carried to model axes; rows 9.. in threes
        for j in range(6):
            if j == 0:
                j0, j1, j2 = x0, x1, t2
            elif j == 1:
                j0, j1, j2 = np.float32(0.0) - x0 * q * t1, -t2 * g - x1 * q * t1, t1
            elif j == 2:
                j0, j1, j2 = t2 * g + x0 * q * t0, x1 * q * t0, -t0
            elif j == 3:
                j0, j1, j2 = -t1 * g, t0 * g, np.float32(0.0)
            elif j == 4:
                j0, j1, j2 = np.float32(1.0), np.float32(0.0), np.float32(0.0)
            else:
                j0, j1, j2 = np.float32(0.0), np.float32(1.0), np.float32(0.0)
            j0 *= w * g
            j1 *= w * g
            j2 *= wz
            row = 9 + 3 * j
            out[row, n] = r00 * j0 + r10 * j1 + r20 * j2
            out[row + 1, n] = r01 * j0 + r11 * j1 + r21 * j2
            out[row + 2, n] = r02 * j0 + r12 * j1 + r22 * j2
    return energy, np.sqrt(squares / total)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True)  # type: ignore[untyped-decorator]
def assemble(basis, grams, weight, depth_weight, rotation, perspective, out, matrix, vector):  # type: ignore[no-untyped-def]
    """Normal equations at the state that ``evaluate`` left in ``out``: fills matrix (A+6, A+6) and vector (A+6,)."""
    size = basis.shape[0]
    count = basis.shape[2]
    mean_g = np.float32(0.0)
    total = np.float32(1e-9)
    for n in range(count):
        g = 1.0 / max(1.0 + perspective * out[2, n], np.float32(0.25))
        mean_g += weight[n] * g * g
        total += weight[n]
    mean_g /= total
    m = np.empty(6, np.float32)
    k = 0
    for a in range(3):
        for b in range(a, 3):
            m[k] = (
                mean_g * (rotation[0, a] * rotation[0, b] + rotation[1, a] * rotation[1, b])
                + depth_weight * rotation[2, a] * rotation[2, b]
            )
            k += 1
    for a in range(size):
        for b in range(a + 1):
            value = np.float32(0.0)
            for k in range(6):
                value += m[k] * grams[k, a, b]
            matrix[a, b] = value
        s = np.float32(0.0)
        for i in range(3):
            for n in range(count):
                s += basis[a, i, n] * out[6 + i, n]
        vector[a] = s
    for a in range(size):
        c0 = np.float32(0.0)
        c1 = np.float32(0.0)
        c2 = np.float32(0.0)
        c3 = np.float32(0.0)
        c4 = np.float32(0.0)
        c5 = np.float32(0.0)
        for i in range(3):
            for n in range(count):
                u = basis[a, i, n]
                c0 += u * out[9 + i, n]
                c1 += u * out[12 + i, n]
                c2 += u * out[15 + i, n]
                c3 += u * out[18 + i, n]
                c4 += u * out[21 + i, n]
                c5 += u * out[24 + i, n]
        matrix[size, a] = c0
        matrix[size + 1, a] = c1
        matrix[size + 2, a] = c2
        matrix[size + 3, a] = c3
        matrix[size + 4, a] = c4
        matrix[size + 5, a] = c5
    for j in range(6):
        vector[size + j] = 0.0
        for l in range(j + 1):
            matrix[size + j, size + l] = 0.0
    gradient = np.zeros(6, np.float32)
    block = np.zeros((6, 6), np.float32)
    jac = np.empty((6, 3), np.float32)
    for n in range(count):
        t0 = out[0, n]
        t1 = out[1, n]
        t2 = out[2, n]
        g = 1.0 / max(1.0 + perspective * t2, np.float32(0.25))
        x0 = t0 * g
        x1 = t1 * g
        q = perspective * g
        jac[0, 0] = x0
        jac[0, 1] = x1
        jac[0, 2] = t2
        jac[1, 0] = -x0 * q * t1
        jac[1, 1] = -t2 * g - x1 * q * t1
        jac[1, 2] = t1
        jac[2, 0] = t2 * g + x0 * q * t0
        jac[2, 1] = x1 * q * t0
        jac[2, 2] = -t0
        jac[3, 0] = -t1 * g
        jac[3, 1] = t0 * g
        jac[3, 2] = 0.0
        jac[4, 0] = 1.0
        jac[4, 1] = 0.0
        jac[4, 2] = 0.0
        jac[5, 0] = 0.0
        jac[5, 1] = 1.0
        jac[5, 2] = 0.0
        w = weight[n]
        for j in range(6):
            gradient[j] += jac[j, 0] * out[3, n] + jac[j, 1] * out[4, n] + jac[j, 2] * out[5, n]
            for l in range(j + 1):
                block[j, l] += w * (
                    jac[j, 0] * jac[l, 0] + jac[j, 1] * jac[l, 1] + depth_weight * jac[j, 2] * jac[l, 2]
                )
    for j in range(6):
        vector[size + j] = gradient[j]
        for l in range(j + 1):
            matrix[size + j, size + l] = block[j, l]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cholesky_solve(matrix, vector):  # type: ignore[no-untyped-def]
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
def turn(rotation, x, y, z):  # type: ignore[no-untyped-def]
    """exp of the small rotation (x, y, z), times ``rotation``, made orthonormal by construction (Rodrigues)."""
    angle = np.sqrt(x * x + y * y + z * z)
    if angle < 1e-9:
        return rotation.copy()
    c = np.cos(angle)
    s = np.sin(angle) / angle
    k = (1.0 - c) / (angle * angle)
    e = np.empty((3, 3), np.float64)
    e[0, 0] = c + k * x * x
    e[0, 1] = k * x * y - s * z
    e[0, 2] = k * x * z + s * y
    e[1, 0] = k * x * y + s * z
    e[1, 1] = c + k * y * y
    e[1, 2] = k * y * z - s * x
    e[2, 0] = k * x * z - s * y
    e[2, 1] = k * y * z + s * x
    e[2, 2] = c + k * z * z
    out = np.zeros((3, 3), np.float64)
    for i in range(3):
        for j in range(3):
            for m in range(3):
                out[i, j] += e[i, m] * rotation[m, j]
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def solve(
    neutral, basis, grams, weight, y, depth_weight, kernel, prior, ridge, coefficients, rotation, pose, iterations, out
):  # type: ignore[no-untyped-def]
    """Iterate from (coefficients, rotation, pose) until the step is small; changes them in place.

    pose (4,) float64: scale, x, y, perspective. prior (A,): where the coefficients are drawn; ridge (A,): how strongly.
    Returns (rms in model units, iterations used, ok).
    """
    size = basis.shape[0]
    matrix = np.empty((size + 6, size + 6), np.float32)
    vector = np.empty(size + 6, np.float32)
    rms = np.float32(0.0)
    used = 0
    for step in range(iterations + 1):
        r = rotation.astype(np.float32)
        _, rms = evaluate(
            neutral, basis, weight, y, np.float32(depth_weight), np.float32(kernel), coefficients, r,
            np.float32(pose[0]), np.float32(pose[1]), np.float32(pose[2]), np.float32(pose[3]), out,
        )  # fmt: skip
        if step == iterations:
            break
        assemble(basis, grams, weight, np.float32(depth_weight), r, np.float32(pose[3]), out, matrix, vector)
        for a in range(size):
            matrix[a, a] += ridge[a]
            vector[a] += ridge[a] * (prior[a] - coefficients[a])
        for j in range(6):
            matrix[size + j, size + j] *= np.float32(1.00001)
        if not cholesky_solve(matrix, vector):
            return rms, used, False
        used += 1
        largest = 0.0
        for a in range(size):
            coefficients[a] += vector[a]
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
            return rms, used, False
        if largest < 2e-4:
            break
    return rms, used, True


def scratch(points: int) -> Floats:
    """The work array that ``solve`` wants for a model of so many points."""
    return np.empty((9 + 3 * RIGID, points), np.float32)


Matrix = NDArray[np.float64]
