"""The sender's log: what the memory does, in a call whose pictures travel."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.parameters import Region
from codec.photo import encode_identity
from receiver.memory_view import MemoryLog
from sender.loop_log import CORNERS, PARTS, THUMBS, outlines
from tests.test_live_memory import CAMERA, MODEL, Call, changing


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Call, list[dict[str, Any]], Path]:
    path = tmp_path_factory.mktemp("log") / "sent.jsonl"
    call = Call(12.0, late=6, log=path)
    for n in range(150):
        call.frame(changing(n))
    call.settle(changing(149))
    call.live.close()
    return call, [json.loads(line) for line in path.read_text().splitlines()], path


def test_every_picture_that_came_is_in_the_log_with_its_bytes(logged: Any) -> None:
    call, lines, _ = logged
    came = {line["remembered"]["id"]: line["remembered"] for line in lines if "remembered" in line}
    assert set(came) == set(call.ours)
    assert len(came) > 2
    for number, kept in came.items():
        region = call.ours[number].reference.region
        assert kept["region"] == region.name.lower()
        assert 60 < kept["bytes"] < 20_000
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(kept["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1::-1] == THUMBS[region]


def test_bytes_so_far_are_those_of_the_messages(logged: Any) -> None:
    call, lines, _ = logged
    totals = [line["pictures_bytes"] for line in lines if "pictures_bytes" in line]
    assert totals == sorted(totals)
    sizes = [line["remembered"]["bytes"] for line in lines if "remembered" in line]
    assert call.bytes == sum(sizes[1:])
    identity = encode_identity(np.zeros(MODEL.identities, np.float32), 0)
    assert totals[-1] == len(identity) + sum(sizes)


def test_frames_say_what_they_are_painted_from(logged: Any) -> None:
    call, lines, path = logged
    looks = [line for line in lines if "photo" in line]
    assert len(looks) > 50
    last = looks[-1]
    whole = sum(photo.reference.region is Region.WHOLE for photo in call.ours.values())
    assert (last["photos"], last["patches"]) == (whole, len(call.ours) - whole)
    known = set(call.ours) | {None}
    assert {line[name] for line in looks for name in ("photo", "mouth", "eyes")} <= known
    assert {line["mouth"] for line in looks} - {None}
    entry = MemoryLog(path).at(1e6)
    assert entry is not None
    assert set(entry.shelf) == set(call.ours)
    assert entry.photo == last["photo"]


def test_outlines_lie_around_their_region() -> None:
    model = FaceModel.load()
    vertices = model.project(model.mean, CAMERA)
    for region, parts in PARTS.items():
        around = outlines(region, vertices)
        assert around.shape == (len(parts), CORNERS, 2)
        for corners, part in zip(around, parts, strict=True):
            for point in vertices[model.groups[part], :2]:
                assert cv2.pointPolygonTest(corners, [float(x) for x in point], False) > 0
    assert outlines(Region.MOUTH, vertices)[..., 1].min() > outlines(Region.EYES, vertices)[..., 1].max()
    assert MODEL.mean.shape == model.mean.shape
