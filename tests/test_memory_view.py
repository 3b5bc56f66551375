"""The memory in the film: read from the sender's log, drawn over the viewer's picture and beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from receiver.film_style import SIDE, TITLE, colour
from receiver.memory_view import COLUMN, MemoryEntry, MemoryLog, column, drawn

CORNERS = [[100.0, 150.0], [140.0, 150.0], [140.0, 180.0], [100.0, 180.0]]
GREY = np.full((SIDE, SIDE, 3), 100, np.uint8)


def looked(time_ms: int, moved: float = 0.0, **more: Any) -> dict[str, Any]:
    mouth = (np.array([CORNERS]) + moved).tolist()
    line = {"time_ms": time_ms, "photo": 2, "mouth": 9, "eyes": None, "outlines": {"mouth": mouth, "eyes": [CORNERS]}}
    return line | {"photos": 2, "patches": 1, "pictures_bytes": 8000} | more


def remembered(photo_id: int, level: int, size: int) -> dict[str, Any]:
    _, data = cv2.imencode(".jpg", np.full((64, 64, 3), level, np.uint8))
    jpeg = base64.b64encode(data.tobytes()).decode()
    return {"time_ms": 0, "remembered": {"id": photo_id, "region": "whole", "bytes": size, "jpeg": jpeg}}


def read(path: Path, *lines: object) -> MemoryLog:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return MemoryLog(path)


def known(log: MemoryLog, time_s: float) -> MemoryEntry:
    entry = log.at(time_s)
    assert entry is not None
    return entry


def test_outlines_move_between_the_frames_that_were_looked_at(tmp_path: Path) -> None:
    log = read(tmp_path / "log", looked(1000), looked(1200, 20.0), looked(4000, 60.0))
    assert log.at(0.9) is None
    assert known(log, 1.05).outlines["mouth"][0, 0] == pytest.approx([105, 155], abs=1e-3)
    assert known(log, 2.0).outlines["mouth"][0, 0] == pytest.approx([120, 170])
    assert known(log, 9.0).outlines["mouth"][0, 0] == pytest.approx([160, 210])


def test_what_is_remembered_is_what_came_before_until_another_viewer_comes(tmp_path: Path) -> None:
    first, again = remembered(2, 50, 7000), remembered(2, 200, 900)
    lines = (first, looked(1000), again, looked(2000), {"time_ms": 3000, "forgotten": True}, looked(3000))
    log = read(tmp_path / "log", *lines)
    assert known(log, 1.5).shelf[2].size == 7000
    assert known(log, 2.5).shelf[2].size == 900
    assert known(log, 2.5).shelf[2].picture.mean() == pytest.approx(200, abs=2)
    assert known(log, 3.5).shelf == {}


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[1]",
        {"time_ms": 2000, "state": "steady"},
        looked(2000, outlines={"mouth": [[1, 2]]}),
        looked(2000, outlines={"mouth": [[[float("nan"), 2]]]}),
        looked(2000, photo=None),
        {"time_ms": 2000, "remembered": {"id": 3, "bytes": 9, "jpeg": "AAAA"}},
        {"time_ms": 2000, "remembered": {"id": 3, "bytes": 9}},
    ],
)
def test_foreign_lines_are_left_out(tmp_path: Path, line: object) -> None:
    log = read(tmp_path / "log", looked(1000), line)
    assert known(log, 5.0).time_s == 1.0
    assert known(log, 5.0).shelf == {}


def test_a_region_with_a_picture_of_its_own_is_outlined_in_that_pictures_colour(tmp_path: Path) -> None:
    entry = known(read(tmp_path / "log", looked(1000)), 1.0)
    out = drawn(GREY, entry)
    assert tuple(out[SIDE // 2, 1]) == colour(2)
    side = round(120 * SIDE / 256), round(150 * SIDE / 256)
    assert np.abs(out[side[1], side[0]].astype(int) - colour(9)).max() < 40
    without = drawn(GREY, known(read(tmp_path / "log", looked(1000, mouth=None)), 1.0))
    assert (without[side[1] - 20 : side[1] + 20, side[0]] == 100).all()
    assert (drawn(GREY, None) == GREY).all()


def test_words_stay_in_the_picture(tmp_path: Path) -> None:
    for moved in (-500.0, 500.0):
        out = drawn(GREY, known(read(tmp_path / "log", looked(1000, moved)), 1.0))
        assert out.shape == GREY.shape
        assert (out[10:-10, 10:-10] != GREY[10:-10, 10:-10]).any()


def test_pictures_in_use_are_bright_and_framed(tmp_path: Path) -> None:
    lines = (remembered(2, 200, 7000), remembered(1, 200, 900), looked(1000))
    entry = known(read(tmp_path / "log", *lines), 1.0)
    height = SIDE + TITLE
    out, empty = column(entry, height), column(None, height)
    assert out.shape == empty.shape == (height, COLUMN, 3)
    used, other = out[30:60, 150:190], out[40:60, 80:120]
    assert np.median(used) == pytest.approx(200, abs=3)
    assert 60 < np.median(other) < 150
    assert (out == colour(2)).all(2).sum() > 100
    assert (out[150:] == empty[150:]).all()
