"""Learning how far what surrounds a face follows it, on pictures where that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from codec.errors import UsageError
from codec.face_model import FaceModel
from codec.parameters import Camera, Floats
from models.falloff import SHARES
from training import falloff
from training.falloff import FalloffSettings


def mesh(x: float, turn: float = 0.0) -> Floats:
    model = FaceModel.load()
    return model.project(
        model.mean, Camera(75.0, np.array((0.0, turn, 0.0), np.float32), np.array((x, 120, 0), np.float32))
    )


def test_a_face_that_shifts_has_one_motion() -> None:
    model = FaceModel.load()
    basis, free = falloff.motions(model, mesh(110), mesh(118))
    assert basis.shape == (64, 64, 2, 4)
    np.testing.assert_allclose(basis[free][:, 0, 0], 8, atol=0.05)
    assert np.abs(basis[free][:, :, 1:]).max() < 0.3
    assert not free[30, 28]


def test_a_place_is_found_in_the_table() -> None:
    row, column, inside = falloff.cells((128, 128, 0, 1, 100))
    assert (row[32, 32], column[32, 32]) == (13, 0)
    assert row[57, 32] == 13 + 10
    assert column[32, 42] == column[32, 21] == 4
    assert inside.all() == (row.min() >= 0 and row.max() < 26 and column.max() < 13)


def test_optical_flow_of_a_shift() -> None:
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 256, (64, 64)), np.ones((5, 5)))[:300, :300].astype(np.uint8)
    a, b = (np.stack([noise[20:276, x : x + 256]] * 3, -1) for x in (20, 23))
    moved, agree = falloff.optical_flow(a, b)
    assert agree.mean() > 0.5
    np.testing.assert_allclose(np.median(moved[agree], 0), (-3, 0), atol=0.2)


def test_shares_are_solved_for() -> None:
    """Everything follows the second motion by a half; what nothing is known of follows none."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4))
    square = np.zeros((26, 13, 4, 4)) + x.T @ x
    right = np.zeros((26, 13, 4)) + x.T @ (0.5 * x[:, 1])
    square[0], right[0] = 0, 0
    found = falloff.solved(square, right, 1e-6)
    np.testing.assert_allclose(found[5, 5], (0, 0.5, 0, 0), atol=1e-3)
    assert not found[0].any()


def test_widening_keeps_a_constant_and_spreads_a_point() -> None:
    flat = np.ones((26, 13, 4))
    assert (falloff.widened(flat) == 16).all()
    point = np.zeros((26, 13, 1))
    point[5, 5] = 1
    assert falloff.widened(point)[4:7, 4:7, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_the_text_is_what_the_table_is_read_from() -> None:
    blocks = falloff.as_text(SHARES).split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["_TRANSLATION", "_TURN", "_DEPTH", "_NEAR"]
    numbers = np.array([[line.split() for line in block.split("\n")[1:]] for block in blocks], np.float32)
    np.testing.assert_allclose(numbers.transpose(1, 2, 0) / 100, SHARES, atol=1e-6)


def test_no_clips(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train prepare"):
        falloff.run(FalloffSettings(store=tmp_path))
