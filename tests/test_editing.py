"""The editing tasks on a real face: what is asked for happens, the rest stays, and mistakes are said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.controls import Edit, lid_gap, lip_gap
from codec.errors import UsageError
from codec.face_model import GROUPS, FaceModel
from codec.fitting import Fitter
from codec.parameters import SIZE, Region
from models.warp import Warp
from sender.capture import open_source
from sender.editing import ReenactSettings, RotationLeft, Studio, edit, frontalise, reenact, view
from sender.landmarks import Landmarker
from sender.subject import PHOTOS, distance, is_picture, local_shapes, person_of, read_performance, read_photo
from tests.videos import clip_frames, numbered, write_video

MODEL = FaceModel.load()
FRAMES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photo and a video of the demo clip's woman, and a video of nobody."""
    path = tmp_path_factory.mktemp("people")
    frames = clip_frames(60)
    Image.fromarray(frames[0]).save(path / "photo.png")
    write_video(path / "clip.mp4", frames[:: len(frames) // FRAMES][:FRAMES], fps=12)
    write_video(path / "nobody.mp4", numbered(5, 320, 240))
    return path


@pytest.fixture(scope="module")
def person(folder):
    return read_photo(folder / "photo.png", MODEL)


@pytest.fixture(scope="module")
def performance(folder):
    return read_performance(folder / "clip.mp4", MODEL)


def frames_of(path: Path):
    with open_source(path, None, realtime=False) as source:
        return [frame.picture for frame in source], source.fps


def shape_seen(picture, identity):
    """(478, 3): the face in a painted picture, fitted anew, unposed."""
    landmarker = Landmarker()
    try:
        landmarks = landmarker.detect(picture)
    finally:
        landmarker.close()
    assert landmarks is not None
    return MODEL.shape(identity, Fitter(MODEL, identity=identity).fit(landmarks).parameters.expression)


def difference(one, other):
    return float(np.abs(one.astype(np.int16) - other).mean())


def test_no_edit_is_the_photo(folder, person, tmp_path):
    edit(folder / "photo.png", tmp_path / "out.png", Edit(), "warp")
    painted = np.asarray(Image.open(tmp_path / "out.png"))
    assert painted.shape == (SIZE, SIZE, 3)
    assert difference(painted, person.base.picture) < 1.0


def test_an_edit_is_seen_in_the_picture_and_only_there(folder, person, tmp_path):
    before = shape_seen(person.base.picture, person.identity)
    edit(folder / "photo.png", tmp_path / "shut.png", Edit(close_eyes=1.0), "warp")
    shut = np.asarray(Image.open(tmp_path / "shut.png"))
    after = shape_seen(shut, person.identity)
    assert lid_gap(after) < 0.6 * lid_gap(before)
    assert abs(lip_gap(after) - lip_gap(before)) < 0.02
    posed = MODEL.project(
        MODEL.shape(person.identity, person.base.parameters.expression), person.base.parameters.camera
    )
    lids = posed[GROUPS["eyelids"], :2]
    left, top = np.floor(lids.min(0)).astype(int)
    right, bottom = np.ceil(lids.max(0)).astype(int)
    eyes = np.s_[top:bottom, left:right]
    assert difference(shut[-60:], person.base.picture[-60:]) < 0.5 * difference(shut[eyes], person.base.picture[eyes])
    edit(folder / "photo.png", tmp_path / "open.jpg", Edit(open_mouth=0.6), "warp")
    opened = shape_seen(np.asarray(Image.open(tmp_path / "open.jpg")), person.identity)
    assert lip_gap(opened) > lip_gap(before) + 0.05


def test_a_video_goes_from_the_photo_to_the_edit(folder, person, tmp_path):
    figures = edit(folder / "photo.png", tmp_path / "out.mkv", Edit(smile=1.0, yaw=8.0), "warp", seconds=0.4)
    shown, fps = frames_of(tmp_path / "out.mkv")
    assert (len(shown), fps, figures["frames"]) == (10, 25.0, 10)
    edit(folder / "photo.png", tmp_path / "out.png", Edit(smile=1.0, yaw=8.0), "warp")
    assert difference(shown[0], person.base.picture) < 2.0
    assert difference(shown[-1], np.asarray(Image.open(tmp_path / "out.png"))) < 2.0
    away = [difference(picture, shown[0]) for picture in shown]
    assert away == sorted(away)


def test_a_view_sweeps_both_ways_and_comes_back(folder, person, tmp_path):
    figures = view(folder / "photo.png", tmp_path / "out.mkv", Edit(), "warp", seconds=1.0, turn=20.0, nod=10.0)
    shown, _ = frames_of(tmp_path / "out.mkv")
    assert figures["frames"] == len(shown) == 25
    with RotationLeft(MODEL, person.identity) as look:
        for picture in shown:
            look.look(picture)
        yaw = np.degrees([fit.camera.rotation[1] for fit in look.fits])
    own = np.degrees(person.base.parameters.camera.rotation[1])
    assert yaw.max() > own + 12
    assert yaw.min() < own - 12
    assert difference(shown[0], shown[-1]) < 2.0


def test_a_photo_is_turned_to_the_front(folder, tmp_path):
    view(folder / "photo.png", tmp_path / "turned.png", Edit(yaw=15.0), "warp")
    figures = frontalise(tmp_path / "turned.png", tmp_path / "front.png", "warp")
    assert figures["rotation_before"] > 4.0
    assert figures["are"] < 0.5 * figures["rotation_before"]
    assert figures["faces_not_found"] == 0


def test_a_video_is_turned_to_the_front(folder, tmp_path):
    figures = frontalise(folder / "clip.mp4", tmp_path / "front.mkv", "warp")
    shown, fps = frames_of(tmp_path / "front.mkv")
    assert (len(shown), fps) == (FRAMES, 12.0)
    assert figures["are"] < figures["rotation_before"]
    assert figures["lost"] == figures["faces_not_found"] == 0


def test_a_face_driven_by_its_own_video_is_that_video(folder, performance, tmp_path):
    settings = ReenactSettings(folder / "clip.mp4", folder / "clip.mp4", tmp_path / "out.mkv", "warp", absolute=True)
    figures = reenact(settings)
    shown, fps = frames_of(tmp_path / "out.mkv")
    assert (len(shown), fps, figures["frames"], figures["lost"]) == (FRAMES, 12.0, FRAMES, 0)
    assert figures["photos"] > 1
    truth = [picture for picture, _ in performance.candidates.values()]
    frozen = [difference(truth[0], picture) for picture in truth]
    assert np.mean([difference(a, b) for a, b in zip(shown, truth, strict=True)]) < 0.7 * np.mean(frozen)


def test_movement_is_relative_to_the_drivers_first_frame(folder, person, tmp_path):
    photo, clip = folder / "photo.png", folder / "clip.mp4"
    settings = ReenactSettings(photo, clip, tmp_path / "relative.mkv", "warp", own_neutral=False)
    reenact(settings)
    reenact(replace(settings, target=tmp_path / "ablation.mkv", driver_identity=True))
    shown, _ = frames_of(tmp_path / "relative.mkv")
    assert difference(shown[0], person.base.picture) < 5.0
    other, _ = frames_of(tmp_path / "ablation.mkv")
    assert difference(shown[0], other[0]) > 0.0


def test_photos_of_a_video_differ_and_the_nearest_is_taken(performance):
    person = person_of(performance, MODEL)
    assert 2 <= len(person.photos) <= PHOTOS
    assert [p.photo_id for p in person.photos] == list(range(len(person.photos)))
    shapes = [local_shapes(MODEL, person.identity, p.parameters) for p in person.photos]
    assert all(
        max(distance(shapes[i][r], shapes[j][r]) for r in (Region.MOUTH, Region.EYES)) > 0
        for i in range(len(shapes))
        for j in range(i)
    )
    studio = Studio(person, Warp(MODEL), MODEL)
    wanted = person.photos[1]
    painted = studio.paint(wanted.parameters)
    without = Studio(replace(person, photos=person.photos[:1]), Warp(MODEL), MODEL).paint(wanted.parameters)
    assert difference(painted, wanted.picture) < difference(without, wanted.picture)


def test_frames_without_a_face_are_held(folder, tmp_path):
    frames = clip_frames(60)
    grey = np.full_like(frames[0], 90)
    write_video(tmp_path / "gap.mp4", [grey] * 4 + list(frames[:16]) + [grey] * 2, fps=12)
    found = read_performance(tmp_path / "gap.mp4", MODEL)
    assert len(found.parameters) == len(found.squares) == 22
    sure = [p.confidence > 0 for p in found.parameters]
    assert not any(sure[:4])
    assert any(sure[4:20])
    assert found.lost >= 6
    np.testing.assert_array_equal(found.parameters[0].expression, found.parameters[1].expression)


def test_pictures_are_told_from_videos(folder, tmp_path):
    assert is_picture(folder / "photo.png")
    assert not is_picture(folder / "clip.mp4")
    with pytest.raises(UsageError, match="no such file"):
        is_picture(tmp_path / "none.png")


def test_mistakes_are_said_before_anything_is_painted(folder, tmp_path):
    photo, clip, nobody = folder / "photo.png", folder / "clip.mp4", folder / "nobody.mp4"
    for call in (
        lambda: edit(photo, tmp_path / "out.gif", Edit(), "warp"),
        lambda: edit(photo, tmp_path / "none" / "out.png", Edit(), "warp"),
        lambda: edit(photo, tmp_path / "out.png", Edit(smile=50), "warp"),
        lambda: edit(clip, tmp_path / "out.png", Edit(), "warp"),
        lambda: edit(photo, tmp_path / "out.png", Edit(), "nope"),
        lambda: edit(photo, tmp_path / "out.png", Edit(), "warp", seconds=3.0),
        lambda: view(photo, tmp_path / "out.png", Edit(), "warp"),
        lambda: view(photo, tmp_path / "out.mp4", Edit(), "warp", turn=170.0),
        lambda: frontalise(photo, tmp_path / "out.mp4", "warp"),
        lambda: frontalise(clip, tmp_path / "out.png", "warp"),
        lambda: frontalise(nobody, tmp_path / "out.mp4", "warp"),
        lambda: reenact(ReenactSettings(photo, clip, tmp_path / "out.png", "warp")),
        lambda: reenact(ReenactSettings(photo, photo, tmp_path / "out.mp4", "warp")),
        lambda: reenact(ReenactSettings(nobody, clip, tmp_path / "out.mp4", "warp")),
        lambda: reenact(ReenactSettings(photo, nobody, tmp_path / "out.mp4", "warp")),
    ):
        with pytest.raises(UsageError) as said:
            call()
        assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []
