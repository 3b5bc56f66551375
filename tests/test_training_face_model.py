"""Learning the face model, on faces whose model is known, and the index of the clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codec.errors import UsageError
from codec.face_model import FaceModel, project
from codec.parameters import EXPRESSION, Camera
from training import dataset
from training.face_model import Frames, TrainingSettings, finish, gaze_offset, learn, lid_opening
from training.topology import level, mirror_map, triangles

PEOPLE, EACH = 8, 12


def frames(seed: int) -> Frames:
    model, rng = FaceModel.load(), np.random.default_rng(seed)
    y = []
    for _ in range(PEOPLE):
        neutral = model.neutral(rng.normal(size=model.identities))
        for _ in range(EACH):
            angles = np.radians(rng.normal(size=3) * (6, 18, 6)).astype(np.float32)
            camera = Camera(float(rng.uniform(60, 80)), angles, np.array([128, 128, 0], np.float32))
            y.append(project(model.express(neutral, rng.normal(size=EXPRESSION)), camera))
    person = np.repeat(np.arange(PEOPLE), EACH)
    return Frames(np.stack(y), person, np.ones(len(person)), [str(n) for n in range(PEOPLE)])


def test_learning_explains_the_faces_and_is_deterministic() -> None:
    settings = TrainingSettings(identities=PEOPLE, rounds=2)
    lines: list[str] = []
    state, pairs = learn(frames(0), settings, lines.append)
    assert len(lines) == 2
    assert np.sqrt((state.rms**2).mean()) < 0.01
    assert abs(state.mean[33] - state.mean[pairs[33]] * (-1, 1, 1)).max() < 1e-9
    again, _ = learn(frames(0), settings)
    np.testing.assert_array_equal(state.expression_basis, again.expression_basis)
    model = finish(state, settings, "test")
    assert len(model.names) == EXPRESSION
    assert model.eye_distance == pytest.approx(1.0, abs=1e-6)


def test_triangles_are_the_ones_shipped() -> None:
    ours = {tuple(sorted(t)) for t in triangles().tolist()}
    assert ours == {tuple(sorted(t)) for t in FaceModel.load().triangles.tolist()}


def test_mirror_map_pairs_left_and_right() -> None:
    mean = level(FaceModel.load().mean.astype(np.float64))
    pairs = mirror_map(mean)
    assert (pairs[33], pairs[468], pairs[61], pairs[1]) == (263, 473, 291, 1)
    with pytest.raises(ValueError, match="lopsided"):
        mirror_map(np.random.default_rng(0).normal(size=mean.shape))


def test_lids_and_gaze_are_measured() -> None:
    mean = FaceModel.load().mean.astype(np.float64)
    shut = mean.copy()
    for top, bottom in (((158, 159, 160), (144, 145, 153)), ((385, 386, 387), (373, 374, 380))):
        shut[list(top)] = shut[list(bottom)]
    assert (lid_opening(mean) > 0.2).all()
    assert (lid_opening(shut) < 1e-6).all()
    looking = mean.copy()
    looking[[468, 473], 0] += 0.1
    np.testing.assert_allclose((gaze_offset(looking) - gaze_offset(mean))[:, 0], 0.1)


def test_index_is_split_by_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    header = "file\tidentity\tlicence\tsource\tstart_s\tseconds\tface_px\taudio\n"
    rows = ["a.mp4\tann\tMIT\ts\t0\t2.5\t200\t1\n", "b.mp4\tsky_5\tMIT\ts\t0\t1\t200\t0\n"]
    (folder / "index.tsv").write_text(header + "".join(rows))
    monkeypatch.setenv("HEADWIRE_DATA", str(tmp_path))
    every = dataset.clips()
    assert [(clip.identity, clip.split, clip.audio) for clip in every] == [
        ("ann", "train", True),
        ("sky_5", "validation", False),
    ]
    assert [clip.name for clip in dataset.clips(split="train")] == ["a"]
    assert set(dataset.by_identity(every)) == {"ann", "sky_5"}


def test_missing_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HEADWIRE_DATA"):
        dataset.clips(tmp_path / "none")
    with pytest.raises(UsageError, match="index"):
        dataset.clips(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(UsageError, match="cannot be read"):
        list(dataset.frames(tmp_path / "x.mp4"))


def test_held_out_people_are_never_trained_on() -> None:
    out = dataset.held_out()
    assert sum(name == "validation" for name in out.values()) == 12
    assert {"clm_cap", "hm_xzy", "st_obama"} <= set(out)
