"""One look at a frame: which photo its field belongs to, and in which light that is searched."""

from dataclasses import replace

import numpy as np

from codec.light import light_message, lit
from codec.motion import no_motion
from models.generator import DrivingFrame
from sender.closed_loop import ClosedLoop
from sender.judgement import Judgement
from sender.motion import MotionSettings
from tests.test_memory import FIRST, opened, parameters, scene, update

DARK = (-8, -8, -8)


def two_photos():
    """A memory whose first photo is seen in a darker light, and another photo that frames are painted from."""
    memory, _ = opened()
    other = np.rint(0.8 * FIRST + 0.2 * scene(2)).astype(np.uint8)
    for message in [light_message(0, DARK), *update(memory, other)]:
        memory.add(message)
    return memory


def looks(memory, picture, count=40):
    """The reports of a sender who sees one picture again and again, and sends nothing."""
    judgement = Judgement(ClosedLoop(MotionSettings(reliable=True)), memory, 2.3)
    judgement.came(memory.warp.photos[1].reference)
    frame: DrivingFrame = memory.driving(parameters())
    return [judgement.look(picture, frame, 2 * n, 0.08 * n, 0, may_send=False).report for n in range(count)]


def test_the_photo_that_looks_most_like_the_camera_takes_over_in_its_own_light():
    memory = two_photos()
    frame = replace(memory.driving(parameters()), motion=no_motion(0, 0))
    picture = lit(memory.warp.painted(frame, memory.warp.photos[0]), DARK)
    reports = looks(memory, picture)
    switched = next(report for report in reports if report.field is not None and report.field.photo_id == 0)
    assert switched.error < 1.0
    assert np.abs(switched.field.displacement()).mean() < 0.3
    assert reports[-1].field is not None
    assert reports[-1].field.photo_id == 0


def test_the_photo_stays_where_the_other_is_no_better():
    memory = two_photos()
    frame = replace(memory.driving(parameters()), motion=no_motion(0, 1))
    picture = memory.warp.painted(frame, memory.warp.photos[1])
    assert all(report.field is None or report.field.photo_id == 1 for report in looks(memory, picture))
