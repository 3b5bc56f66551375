"""The paper's tables here: what is compared with whom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import paper
from bench.paper import PUBLISHED, Seen, figures
from codec.errors import UsageError
from codec.parameters import Camera, FrameParameters


def seen(turn: float = 0.0, smile: float = 0.0, face: float = 1.0) -> Seen:
    """Two frames of a head that is turned so many radians."""
    expression = np.zeros(28, np.float32)
    expression[0] = smile
    fit = FrameParameters(expression, Camera(100.0, np.full(3, turn, np.float32), np.zeros(3, np.float32)))
    faces = (np.array([1.0, face - 1.0]),) * 2
    return Seen((np.zeros((478, 3), np.float32),) * 2, (fit, fit), np.zeros((2, 512)), faces)


def test_reenactment_is_judged_by_driver_and_person():
    perfect = figures("reenactment", seen(), seen(0.3, 1.0), seen(0.3, 1.0))
    assert perfect["ard"] == pytest.approx(0)
    assert perfect["au_mesh_hamming"] == 0
    assert perfect["csim_dlib"] == pytest.approx(1)
    assert perfect["face_found"] == 1
    stiff = figures("reenactment", seen(), seen(0.3, 1.0), seen(0.0, 0.0, 2.0))
    assert stiff["ard"] == pytest.approx(np.degrees(0.3), rel=1e-5)
    assert stiff["aed_mesh"] == pytest.approx(1 / 28)
    assert stiff["csim_dlib"] == pytest.approx(np.sqrt(0.5))
    assert "are" not in stiff


def test_frontalisation_is_judged_by_the_turn_that_is_left():
    found = figures("frontalisation", seen(), seen(0.5), seen(0.1))
    assert found["are"] == pytest.approx(np.degrees(0.1), rel=1e-5)
    assert "ard" not in found


def test_a_face_that_is_lost_is_counted():
    lost = replace(seen(), fits=(None, seen().fits[0]), faces=(None, seen().faces[0]))
    assert figures("reenactment", seen(), seen(), lost)["face_found"] == 0.5


def test_stand_ins_never_bear_the_canonical_name():
    for task, published in PUBLISHED.items():
        ours = figures(task, seen(), seen(), seen())
        assert not set(ours) & {"fid", "csim", "au_h", "fvd"}
        assert set(ours) & set(published) == ({"ard"} if task == "reenactment" else {"are"})


def test_nobody_to_drive(tmp_path: Path):
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="no video clips"):
        paper.run(tmp_path)
