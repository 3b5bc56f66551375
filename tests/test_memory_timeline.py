"""The timeline of the memory: read from the packets of an encoded clip, and drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench.codecs import Encoded, Packet
from bench.memory_timeline import (
    RATES,
    Remembered,
    Run,
    Timeline,
    Use,
    bands,
    by_second,
    draw,
    kbps_so_far,
    memory_of,
)
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.motion import NONE, Change, encode_motion
from codec.motion_grid import POINTS
from codec.parameters import Region
from codec.photo import Photo, encode_identity, encode_photo
from tests.test_live_memory import PARAMETERS, scene

MODEL = FaceModel.load()
FPS = Fraction(25)


def motion(frame: int, mouth: int) -> Packet:
    field = encode_motion(Change(np.zeros((POINTS, 2), np.int32), 4, mouth=mouth), frame, 0)
    return Packet("motion", bytes((frame % 256,)) + field, 0.0, frame)


def encoded() -> Encoded:
    def photo(kind: str, number: int, frame: int) -> list[Packet]:
        messages = Photo(number, 0, encode_photo(scene(number), 3000), PARAMETERS).messages()
        return [Packet(kind, data, 0.0, frame) for data in messages]

    identity = encode_identity(np.zeros(MODEL.identities, np.float32), 0)
    packets = [Packet("photo", identity, 0.0), *photo("photo", 0, 0), *photo("photos", 1, 400)]
    packets += [motion(300, NONE), motion(500, 1), motion(502, 1), motion(600, NONE)]
    return Encoded(tuple(packets), FPS, 700)


def test_what_came_and_what_is_used_is_read_from_the_packets() -> None:
    clip = encoded()
    remembered, uses = memory_of(clip, MODEL)
    assert [(r.time_s, r.photo_id, r.region) for r in remembered] == [(0.0, 0, Region.WHOLE), (16.0, 1, Region.WHOLE)]
    photos = sum(len(p.data) for p in clip.packets if p.kind != "motion")
    assert sum(r.size for r in remembered) == photos
    assert uses == [Use(0.0, 0), Use(20.0, 0, 1), Use(24.0, 0)]
    assert bands(uses, "photo", 28.0) == [(0.0, 28.0, 0)]
    assert bands(uses, "mouth", 28.0) == [(20.0, 24.0, 1)]
    assert bands(uses, "eyes", 28.0) == []


def test_rate_since_the_start() -> None:
    clip = encoded()
    kbps = kbps_so_far(clip)
    assert kbps.shape == (700,)
    assert kbps[-1] == pytest.approx(sum(len(p.data) for p in clip.packets) * 8 / 1000 / 28)
    assert kbps[400] > kbps[399]


def test_means_of_seconds() -> None:
    assert by_second(np.array([1.0, 3.0, 10.0]), [0, 10, 25], 25.0).tolist() == [2.0, 10.0]


def test_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    some = np.linspace(0.02, 0.1, 28)
    run = Run(kbps_so_far(encoded()), np.arange(28) + 0.5, some, 30 - some)
    remembered, uses = memory_of(encoded(), MODEL)
    patch = Remembered(20.0, 8, Region.MOUTH, 210, remembered[0].picture)
    timeline = Timeline("nobody", 25.0, 700, dict.fromkeys(RATES, run), [*remembered, patch], uses)
    draw(timeline, tmp_path / "new" / "timeline.png")
    with Image.open(tmp_path / "new" / "timeline.png") as image:
        assert image.width > 1000
        colours = image.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 1000
    (tmp_path / "file").write_text("")
    with pytest.raises(HeadwireError, match="choose another place"):
        draw(timeline, tmp_path / "file" / "timeline.png")
