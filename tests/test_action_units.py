"""Action units of the mesh: what a known movement of the face model is called."""

import numpy as np
import pytest

from bench.action_units import UNITS, hamming, present
from codec.face_model import FaceModel


def _pulled(points: tuple[int, ...], origin: tuple[int, ...], axis: int, sign: int, deviations: float) -> np.ndarray:
    """The likeliest expression that moves these points so many standard deviations."""
    basis = FaceModel.load().expression_basis
    row = sign * (basis[:, list(points), axis].mean(1) - basis[:, list(origin), axis].mean(1))
    return deviations * row / np.linalg.norm(row)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_present_beyond_a_standard_deviation(name: str):
    at = list(UNITS).index(name)
    assert present(_pulled(*UNITS[name], 1.1))[at]
    assert not present(_pulled(*UNITS[name], 0.9))[at]
    assert not present(_pulled(*UNITS[name], -3.0))[at]


def test_a_neutral_face_shows_none():
    assert not present(np.zeros(28)).any()
    assert present(np.zeros((3, 28))).shape == (3, len(UNITS))


def test_units_are_present_as_often_as_a_normal_distribution_says():
    share = present(np.random.default_rng(1).normal(size=(20_000, 28))).mean(0)
    assert share == pytest.approx(np.full(len(UNITS), 0.1587), abs=0.015)


def test_an_open_mouth_and_shut_eyes_are_told_by_name():
    names = np.array(list(UNITS))
    opened = names[present(_pulled(*UNITS["lips parted"], 4.0))]
    assert {"lips parted", "jaw dropped"} <= set(opened)
    assert "eyes closed" not in opened
    shut = names[present(_pulled(*UNITS["eyes closed"], 4.0))]
    assert "eyes closed" in shut
    assert "upper lids raised" not in shut


def test_hamming_is_the_share_of_units_that_differ():
    opened, still = _pulled(*UNITS["lips parted"], 4.0), np.zeros(28)
    assert hamming(opened, opened) == 0
    assert hamming(still, opened) == pytest.approx(present(opened).sum() / len(UNITS))
    assert hamming(opened, still) == hamming(still, opened)
