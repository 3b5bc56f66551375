"""The film of the demo: matched by time stamp, a freeze stays a freeze."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from codec.errors import HeadwireError
from receiver.film_style import GAP, SIDE
from receiver.memory_view import COLUMN
from receiver.side_by_side import CallLog, ErrorLog, compose
from receiver.sinks import open_sink


def level(k: int) -> NDArray[np.uint8]:
    return np.full((256, 256, 3), 2 * k + 20, np.uint8)


@pytest.mark.parametrize("suffix", [".rec", ".mkv"])
def test_compose(tmp_path: Path, suffix: str) -> None:
    sent, shown, log, out = (tmp_path / name for name in (f"sent{suffix}", f"shown{suffix}", "log.jsonl", "call.mp4"))
    arrived = [k for k in range(75) if k >= 5 and not 30 <= k < 40]
    with open_sink(str(sent), 25, wait=True) as one, open_sink(str(shown), 25, wait=True) as other:
        for k in range(75):
            one.show(level(k), 3 + k / 25)
            if k in arrived:
                other.show(level(k), 3 + k / 25)
    lines = [
        {
            "time_ms": 3000 + 40 * k,
            "at": 500 + k / 25,
            "latency_ms": 10,
            "lost": 10 if k >= 40 else 0,
            "payload_bytes": 12 * k,
        }
        for k in arrived
    ]
    log.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"time_ms": 30')
    assert compose(sent, shown, log, out, wire={"wire_kbps_forward": 12.0}) == 75
    with av.open(str(out)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 75
    assert float(frames[0].time or 0) == 0
    middle = slice(GAP + 20 + 100, GAP + 20 + 200)
    for k, frame in enumerate(frames):
        picture = frame.to_ndarray(format="rgb24").astype(float)
        left = picture[middle, GAP + 100 : GAP + 200].mean()
        right = picture[middle, 2 * GAP + SIDE + 100 : 2 * GAP + SIDE + 200].mean()
        held = max((j for j in arrived if j <= k), default=2)
        assert left == pytest.approx(2 * k + 20, abs=2.5)
        assert right == pytest.approx(2 * held + 20, abs=2.5)
    figures = CallLog(log).figures(3 + 70 / 25, 12.0)
    assert figures.payload_kbps == pytest.approx(12 * 8 * 25 / 1000, rel=0.03)
    assert figures.fps == pytest.approx(25 * 39 / 49, rel=0.03)
    assert figures.latency_ms == 10
    assert figures.lost_percent == pytest.approx(20, abs=1)
    assert CallLog(log).figures(3.0, None).fps is None


def test_a_call_without_a_picture_makes_no_film(tmp_path: Path) -> None:
    for name in ("sent.rec", "shown.rec"):
        open_sink(str(tmp_path / name), 25).close()
    with pytest.raises(HeadwireError, match="receiver recorded no picture"):
        compose(tmp_path / "sent.rec", tmp_path / "shown.rec", tmp_path / "none", tmp_path / "call.mp4")
    assert not (tmp_path / "call.mp4").exists()


def test_where_the_sender_is_unsure_the_picture_is_reddened(tmp_path: Path) -> None:
    unsure = np.ones((8, 8))
    unsure[:2] = 0.1
    steady = {"time_ms": 1000, "state": "steady", "confidence": unsure.tolist()}
    covered = {"time_ms": 2000, "state": "covered", "confidence": np.ones((8, 8)).tolist()}
    log = tmp_path / "sent.jsonl"
    log.write_text("\n".join(map(json.dumps, (covered, steady))) + '\n{"time_ms": 3000, "confidence": 1}\nno JSON')
    grey = np.full((256, 256, 3), 100, np.uint8)
    errors = ErrorLog(log)
    assert (errors.drawn(grey, 0.5) == grey).all()
    drawn = errors.drawn(grey, 1.5).astype(int)
    assert drawn[10, 10, 0] > 150 > 80 > drawn[10, 10, 1]
    assert (drawn[128:] == 100).all()
    said = errors.drawn(grey, 5.0)
    assert 50 < (said != grey).any(2).sum() < 20_000
    assert (ErrorLog(tmp_path / "none").drawn(grey, 5.0) == grey).all()


def test_the_film_of_the_memory_is_wider_and_counts_its_bytes(tmp_path: Path) -> None:
    sent, shown, log, errors, out = (
        tmp_path / name for name in ("sent.rec", "shown.rec", "log", "sent.jsonl", "call.mp4")
    )
    with open_sink(str(sent), 25, wait=True) as one, open_sink(str(shown), 25, wait=True) as other:
        for k in range(20):
            one.show(level(k), k / 25)
            other.show(level(k), k / 25)
    look: dict[str, object] = {
        "photo": 0,
        "mouth": None,
        "eyes": None,
        "outlines": {},
        "photos": 1,
        "patches": 0,
        "pictures_bytes": 7000,
    }
    steady = {"time_ms": 0, "state": "steady", "confidence": np.ones((8, 8)).tolist()}
    errors.write_text(json.dumps(steady | look))
    lines = [{"time_ms": 40 * k, "at": k / 25, "latency_ms": 9, "lost": 0, "payload_bytes": 10 * k} for k in range(20)]
    log.write_text("\n".join(map(json.dumps, lines)))
    assert compose(sent, shown, log, out, errors=errors, memory=True) == 20
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.width == 2 * SIDE + COLUMN + 4 * GAP
    figures = CallLog(log).figures(19 / 25, None, 7000)
    assert figures.pictures_kb == 7.0
    assert figures.total_kb == pytest.approx(7.19)
    assert CallLog(log).figures(19 / 25, None).total_kb is None
