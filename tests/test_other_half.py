"""Skin that a photo of a turned head hides comes from the face's other half."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from codec.parameters import ReferenceFrame
from codec.raster import rasterise
from models.warp import Warp
from tests.test_warp import IDENTITY, MODEL, driving, mesh, parameters

SKIN, ROOM = (60, 180, 60), (200, 20, 20)


def turned_photo(yaw, shade=None):
    """A head of one colour before a room of another; its rim belongs to the room, as where a fit is a little off."""
    of = parameters(yaw=yaw)
    head = (rasterise(mesh(of), MODEL.triangles).triangle >= 0).astype(np.uint8)
    inside = cv2.erode(head, np.ones((9, 9), np.uint8)).astype(bool)
    picture = np.where(inside[..., None], np.array(SKIN), np.array(ROOM)).astype(np.uint8)
    if shade is not None:
        picture = np.rint(picture * shade[..., None]).astype(np.uint8)
    return ReferenceFrame(0, picture, of, IDENTITY)


def painted(reference, frame, whole=True):
    generator = Warp(MODEL)
    generator.prepare(reference)
    photo = generator.photo
    return generator.painted(frame, photo if whole else replace(photo, half=None))


@pytest.mark.parametrize("yaw", [0.7, -0.7])
def test_a_hidden_cheek_is_painted_with_skin(yaw):
    frame = driving(parameters())
    face = cv2.erode((frame.visibility.triangle >= 0).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)

    def room(picture):
        return float((picture[face][:, 0] > 120).mean())

    reference = turned_photo(yaw)
    assert room(painted(reference, frame, whole=False)) > 0.03
    assert room(painted(reference, frame)) < 0.25 * room(painted(reference, frame, whole=False))


def test_what_the_photo_shows_stays_as_it_is():
    reference = turned_photo(0.7)
    same = driving(reference.parameters)
    assert (painted(reference, same) == painted(reference, same, whole=False)).all()
    generator = Warp(MODEL)
    generator.prepare(turned_photo(0.0))
    assert generator.photo.half is None


def test_the_other_half_is_painted_in_the_light_of_the_hidden_one():
    """The hidden side lies in the shade: what is put there does, too."""
    of = parameters(yaw=0.7)
    triangle = rasterise(mesh(of), MODEL.triangles).triangle
    left = MODEL.mean[MODEL.triangles].mean(1)[:, 0] < 0
    # The hidden side's outline lies nearer to the nose.
    reach = np.abs(mesh(of)[[234, 454], 0] - mesh(of)[1, 0])
    hidden = left if (MODEL.mean[234, 0] < 0) == (reach[0] < reach[1]) else ~left
    shade = np.where((triangle >= 0) & hidden[triangle], 0.7, 1.0)
    reference = turned_photo(0.7, shade)
    generator = Warp(MODEL)
    generator.prepare(reference)
    assert generator.photo.half is not None
    assert generator.photo.half.gain[1] == pytest.approx(0.7, abs=0.06)
