"""The face model: its shipped file, Eq. 1, the camera, and what a bad file gives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from codec.errors import HeadwireError, UsageError
from codec.face_model import (
    DEFAULT,
    GROUPS,
    INNER_LIPS,
    LEFT_EYELIDS,
    OUTER_EYE_CORNERS,
    FaceModel,
    euler_angles,
    project,
    rotation_matrix,
)
from codec.parameters import EXPRESSION, Camera
from training.face_model import lid_opening
from training.topology import mirror_map


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load()


def test_shipped_file_is_small_and_says_where_it_comes_from(model: FaceModel) -> None:
    assert DEFAULT.stat().st_size <= 300_000
    assert "research-only" in model.provenance
    assert len(model.names) == EXPRESSION
    assert all(model.names)


def test_eye_corners_are_one_unit_apart(model: FaceModel) -> None:
    right, left = OUTER_EYE_CORNERS
    assert model.eye_distance == pytest.approx(1.0, abs=1e-4)
    assert model.mean[right, 0] < 0 < model.mean[left, 0]
    assert model.mean[1, 2] < model.mean[right, 2], "the nose is nearer to the viewer than the eyes"


def test_topology_is_the_canonical_face(model: FaceModel) -> None:
    assert model.triangles.shape == (898, 3)
    assert len({tuple(sorted(t)) for t in model.triangles.tolist()}) == 898
    edges: dict[tuple[int, int], int] = {}
    for a, b, c in model.triangles.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            edges[edge] = edges.get(edge, 0) + 1
    assert max(edges.values()) == 1, "neighbours are wound alike"
    border = {a for a, b in edges if (b, a) not in edges}
    assert border == set(GROUPS["face_oval"].tolist()), "only the face's oval is open"


def test_left_and_right_are_alike(model: FaceModel) -> None:
    pairs = mirror_map(model.mean.astype(np.float64))
    flip = np.array([-1.0, 1.0, 1.0])
    assert pairs[LEFT_EYELIDS[0]] == 33
    assert np.abs(model.mean - model.mean[pairs] * flip).max() < 2e-3
    for basis in (model.expression_basis, model.identity_basis):
        mirrored = basis[:, pairs] * flip
        same = np.abs(basis - mirrored).max(axis=(1, 2))
        opposite = np.abs(basis + mirrored).max(axis=(1, 2))
        size = np.abs(basis).max(axis=(1, 2))
        assert (np.minimum(same, opposite) < 0.03 * size).all()


def test_zero_is_a_neutral_face(model: FaceModel) -> None:
    upper, lower = model.mean[13], model.mean[14]
    assert abs(upper[1] - lower[1]) < 0.02
    assert (lid_opening(model.mean) > 0.2).all()
    assert set(INNER_LIPS.tolist()) <= set(GROUPS["lips"].tolist())


def test_equation_1(model: FaceModel) -> None:
    rng = np.random.default_rng(1)
    identity, expression = rng.normal(size=model.identities), rng.normal(size=EXPRESSION)
    expected = model.mean.astype(np.float64)
    expected = expected + np.einsum("k,kni->ni", identity, model.identity_basis.astype(np.float64))
    expected = expected + np.einsum("k,kni->ni", expression, model.expression_basis.astype(np.float64))
    shape = model.shape(identity, expression)
    assert shape.dtype == np.float32
    np.testing.assert_allclose(shape, expected, atol=1e-5)
    np.testing.assert_allclose(model.express(model.neutral(identity), expression), shape, atol=1e-6)


def test_camera_is_what_its_docstring_says() -> None:
    pitch, yaw, roll = 0.2, -0.5, 0.3
    rz = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rx = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    ry = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    matrix = rotation_matrix((pitch, yaw, roll))
    np.testing.assert_allclose(matrix, rz @ rx @ ry, atol=1e-12)
    np.testing.assert_allclose(euler_angles(matrix), (pitch, yaw, roll), atol=1e-12)
    points = np.array([[0.1, -0.4, 0.3], [0.5, 0.2, -0.3]], np.float32)
    camera = Camera(70.0, np.array([pitch, yaw, roll], np.float32), np.array([120.0, 130.0, 0.1], np.float32))
    turned = points @ matrix.T
    expected = 70.0 * turned[:, :2] / (1.0 + 0.1 * turned[:, 2:]) + (120.0, 130.0)
    seen = project(points, camera)
    np.testing.assert_allclose(seen[:, :2], expected, rtol=1e-5)
    np.testing.assert_allclose(seen[:, 2], 70.0 * turned[:, 2], rtol=1e-4)


def test_nose_goes_where_the_names_of_the_angles_say(model: FaceModel) -> None:
    def nose(*angles: float) -> np.ndarray:
        camera = Camera(70.0, np.array(angles, np.float32), np.zeros(3, np.float32))
        return np.asarray(project(model.mean, camera)[1])

    ahead = nose(0.0, 0.0, 0.0)
    assert nose(0.3, 0.0, 0.0)[1] > ahead[1]
    assert nose(0.0, 0.3, 0.0)[0] < ahead[0]


def test_saving_and_loading_keep_the_model(model: FaceModel, tmp_path: Path) -> None:
    model.save(tmp_path / "copy.npz")
    copy = FaceModel.load(tmp_path / "copy.npz")
    assert copy.names == model.names
    np.testing.assert_array_equal(copy.triangles, model.triangles)
    np.testing.assert_allclose(copy.identity_basis, model.identity_basis, atol=1e-4)
    assert len(model.digest) == 8


def _broken(kind: str, path: Path) -> None:
    model = FaceModel.load()
    if kind == "text":
        path.write_text("not a model")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(DEFAULT.read_bytes()[:5000])
    elif kind == "pickle":
        np.savez(path, mean=np.array([{"a": 1}], dtype=object))
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mean.npy", b"\x93NUMPY garbage")
    else:
        arrays = dict(np.load(DEFAULT))
        if kind == "nan":
            arrays["mean"] = arrays["mean"] * np.nan
        elif kind == "index":
            arrays["triangles"] = arrays["triangles"] + 60_000
        elif kind == "modes":
            arrays["expression_basis"] = arrays["expression_basis"][:5]
        elif kind == "missing":
            del arrays["identity_scale"]
        np.savez(path, **arrays)
    assert model.mean.shape == (478, 3)


@pytest.mark.parametrize(
    "kind", ["text", "empty", "truncated", "pickle", "archive", "nan", "index", "modes", "missing"]
)
def test_a_bad_file_gives_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.npz"
    _broken(kind, path)
    with pytest.raises(HeadwireError, match=kind) as caught:
        FaceModel.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="headwire train face-model"):
        FaceModel.load(tmp_path / "none.npz")
