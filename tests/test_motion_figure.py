"""The motion field's curve: whose cells it is made of, and how their bytes are counted."""

from pathlib import Path
from typing import Any

import pytest

from bench import motion_figure
from codec.errors import UsageError


def cells(clips: str = "ab") -> list[dict[str, Any]]:
    """Made-up: 5 s, a photo of 6,000 B and 1,000 B a second."""
    return [
        {
            "clip": clip,
            "codec": codec,
            "rate": rate,
            "bytes": {"photo": 6000, "parameters": 5000},
            "payload_kbps": 11000 * 0.008 / 5,
            "figures": {"lpips": 0.1 + 0.1 * (clip == "b"), "psnr": 20.0},
        }
        for clip in clips
        for codec, rates in motion_figure.CURVES.values()
        for rate in rates
    ]


def test_a_photo_is_counted_once_in_a_minute():
    assert motion_figure.payload_kbps(cells()[0]) == pytest.approx(6000 * 0.008 / 60 + 8.0)


def test_every_point_is_of_the_same_clips():
    lacking = [c for c in cells("abc") if not (c["clip"] == "c" and c["rate"] == "20")]
    for rows in motion_figure.points(lacking).values():
        assert [row["clips"] for row in rows] == [2] * len(rows)
        assert rows[0]["lpips"] == pytest.approx(0.15)
    with pytest.raises(UsageError, match="no clip"):
        motion_figure.points([c for c in lacking if c["clip"] == "c"])


def test_the_picture_is_the_same_twice(tmp_path: Path):
    pytest.importorskip("matplotlib")
    curves = motion_figure.points(cells())
    for name in ("one.png", "two.png"):
        motion_figure.draw(curves, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
