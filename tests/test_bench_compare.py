"""Comparing two quality reports: what is seen, what is let pass, what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import compare, figures
from bench.quality import SCHEMA
from codec.errors import UsageError


def report(clips: int = 8) -> dict[str, Any]:
    """Made-up figures that differ from clip to clip as real ones do."""
    spread = np.random.default_rng(1).normal(0, 1, clips)
    cells = [
        {
            "clip": f"c{n}",
            "codec": codec,
            "rate": "normal",
            "wire_kbps": 10.0 + n,
            "figures": {"lpips": 0.15 + 0.03 * float(spread[n]), "psnr": 25 + float(spread[n]), "ssim": None},
        }
        for codec in ("warp", "av1")
        for n in range(clips)
    ]
    summary = [
        {"codec": codec, "rate": str(k), "wire_kbps": k * 5, "wire_kbps_60s": k * 2, "lpips": 1 / k, "psnr": 20 + k}
        for codec in ("warp", "av1")
        for k in (1, 2, 3)
    ]
    return {
        "schema": SCHEMA,
        "settings": {"every": 5, "metrics": 1, "seconds": 5.0},
        "clips": [{"name": f"c{n}", "sha256": f"hash {n}", "frames": 50, "fps": 25.0} for n in range(clips)],
        "codecs": [{"name": "warp", "missing": None}, {"name": "av1", "missing": None}],
        "cells": cells,
        "failures": [],
        "summary": summary,
    }


Compared = Callable[..., dict[str, Any]]


@pytest.fixture
def against(tmp_path: Path) -> Compared:
    """Compare the made-up report with a changed one."""

    def run(changed: dict[str, Any], **options: Any) -> dict[str, Any]:
        (tmp_path / "a.json").write_text(json.dumps(report()))
        (tmp_path / "b.json").write_text(json.dumps(changed))
        return compare.run(tmp_path / "a.json", tmp_path / "b.json", **options)

    return run


def shifted(metric: str, by: float, noise: float = 0.0) -> dict[str, Any]:
    changed = report()
    draws = np.random.default_rng(2).normal(0, noise, len(changed["cells"]))
    for cell, draw in zip(changed["cells"], draws, strict=True):
        if cell["codec"] == "warp":
            cell["figures"][metric] += by + float(draw)
    return changed


def verdict(compared: dict[str, Any], metric: str, codec: str = "warp") -> str:
    (row,) = (row for row in compared["rows"] if row["codec"] == codec and row["metric"] == metric)
    return str(row["verdict"])


def test_the_same_report_shows_no_change(against: Compared):
    compared = against(report())
    assert compared["cells"] == 16
    assert {row["verdict"] for row in compared["rows"]} == {"no change seen"}
    assert compared["exit_code"] == 0


def test_a_regression_of_one_codec(against: Compared):
    compared = against(shifted("lpips", 0.02, 0.004))
    assert verdict(compared, "lpips") == "regression"
    assert verdict(compared, "lpips", "av1") == "no change seen"
    assert compared["exit_code"] == 1
    assert "regression" in compare.text(compared)


def test_better_is_no_regression_in_either_direction(against: Compared):
    assert verdict(against(shifted("lpips", -0.02, 0.004)), "lpips") == "better"
    assert verdict(against(shifted("psnr", 1.0, 0.1)), "psnr") == "better"
    worse = against(shifted("psnr", -1.0, 0.1))
    assert verdict(worse, "psnr") == "regression"
    assert worse["exit_code"] == 1


def test_worse_within_the_margin_passes(against: Compared):
    changed = shifted("lpips", 0.002)
    assert verdict(against(changed), "lpips") == "worse, within the margin"
    assert against(changed)["exit_code"] == 0
    assert against(changed, margin=0.001)["exit_code"] == 1


def test_noise_alone_is_no_change(against: Compared):
    assert against(shifted("lpips", 0.0, 0.05))["exit_code"] == 0


def test_one_clip_says_nothing():
    low, high = compare.interval(np.array([0.5]))
    assert (low, high) == (-np.inf, np.inf)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        low, high = compare.interval(random.normal(1, 1, 20), 400)
        held += low <= 1 <= high
    assert 0.85 < held / 200 < 0.99


def test_what_fails_now_is_a_regression(against: Compared):
    changed = report()
    changed["cells"] = [cell for cell in changed["cells"] if cell["clip"] != "c3"]
    changed["failures"] = [{"clip": "c3", "codec": "warp", "rate": "normal", "why": "no face"}]
    compared = against(changed)
    assert compared["lost"] == [["c3", "warp", "normal"]]
    assert compared["exit_code"] == 1


def test_what_cannot_be_compared(against: Compared, tmp_path: Path):
    other = copy.deepcopy(report())
    other["settings"]["every"] = 10
    with pytest.raises(UsageError, match="'every'"):
        against(other)
    strangers = report()
    for clip in strangers["clips"]:
        clip["sha256"] += " of another"
    with pytest.raises(UsageError, match="in common"):
        against(strangers)
    for content in ("", "[]", '{"schema": "headwire-quality/0"}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UsageError):
            compare.read_report(tmp_path / "x.json")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plots(tmp_path: Path, ending: str):
    pytest.importorskip("matplotlib")
    target = tmp_path / f"plot.{ending}"
    figures.rate_quality(report(), target)
    head = target.read_bytes()[:400]
    assert b"PNG" in head if ending == "png" else b"<svg" in head + target.read_bytes()[:2000]
    assert target.stat().st_size > 5000
