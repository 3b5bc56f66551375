"""The latency benchmark: a real call over an emulated link, and what is told of one that fails."""

from __future__ import annotations

import pytest

from bench import latency
from codec.errors import UsageError


def test_a_delayed_link_is_seen_in_the_figures():
    told: list[str] = []
    report = latency.run(
        8.0, ("delay=150",), ("normal",), "warp", lambda what, done, total: told.append(f"{what} {done}")
    )
    (call,) = report["calls"]
    assert report["schema"] == latency.SCHEMA
    assert "failed" not in call, call
    assert (call["link"], call["rate"], call["model"]) == ("delay=150", "normal", "warp")
    assert call["latency_ms_p95"] >= call["latency_ms_p50"] > 150
    assert 0 < call["shown"] <= 1
    assert call["wire_kbps_forward"] > call["wire_kbps_return"] > 0
    assert min(call["rss_mb_sender"], call["rss_mb_receiver"]) > 50
    assert call["pairs"] > 1
    assert call["psnr"] > 15, "the pictures of the same moment are compared"
    assert call["lpips"] is None or 0 < call["lpips"] < 0.4
    assert told == ["delay=150, normal 0", " 1"]


def test_a_call_that_fails_does_not_end_the_grid():
    report = latency.run(3.0, ("nonsense=1",), ("normal", "lowest"), "warp", lambda *_: None)
    assert [call["rate"] for call in report["calls"]] == ["normal", "lowest"]
    assert all("nonsense" in call["failed"] for call in report["calls"])


def test_too_short_a_call_is_refused():
    with pytest.raises(UsageError, match="before it opens"):
        latency.run(0.5)
