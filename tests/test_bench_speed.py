"""The speed benchmark's networks: a floor that is arithmetic, rows for what is there, reasons for what is not. Nothing is timed."""

from dataclasses import replace

import numpy as np
import pytest

from bench import speed_networks
from codec import raster
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import ReferenceFrame
from models import inference
from models.generator import DrivingFrame
from sender.tracking import FaceTracker
from tests.test_bench_codecs import square_frames


def test_every_precision_of_this_cpu_has_a_row_with_its_picture(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speed_networks, "FLOOR_RUNS", 2)
    monkeypatch.setattr(speed_networks, "RUNS", 3)
    monkeypatch.setattr(speed_networks, "SLOW_RUNS", 1)
    model, pictures = FaceModel.load(), list(square_frames(12))
    fitter = Fitter(model)
    with FaceTracker("none") as tracker:
        seen = [tracker.track(picture).landmarks for picture in pictures]
    fits = [fitter.fit(points) for points in seen if points is not None]
    assert len(fits) == len(pictures)
    neutral = model.neutral(fits[-1].identity)
    driving = []
    for fit in fits:
        vertices = model.project(model.express(neutral, fit.parameters.expression), fit.parameters.camera)
        driving.append(DrivingFrame(fit.parameters, vertices, raster.rasterise(vertices, model.triangles)))
    reference = ReferenceFrame(0, pictures[0], replace(fits[0].parameters), fits[-1].identity)
    rows = speed_networks.run(reference, driving[1:], pictures[1:], threads=(1,))
    light = {row["precision"]: row for row in rows if row["network"] == "light" and row["device"] == "CPU"}
    assert set(light) == set(speed_networks.PRECISIONS)
    assert "ms" in light["f32"]
    for row in light.values():
        if "ms" in row:
            assert row["floor_ms"] == pytest.approx(1000 * row["gmac"] / row["floor_gmacs"], rel=0.02)
            assert row["times_floor"] == pytest.approx(row["ms"] / row["floor_ms"], rel=0.05)
            assert row["psnr"] == pytest.approx(light["f32"]["psnr"], abs=0.5)
        else:
            assert "no" in row["why"]
    (headgan,) = (row for row in rows if row["network"] == "headgan")
    assert headgan["why"]
    assert "psnr" not in headgan


def test_a_precision_that_is_not_here_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    class Core:
        """Stands for a CPU without 8 bits."""

        @staticmethod
        def get_property(_: str, __: str) -> list[str]:
            return ["FP32"]

    monkeypatch.setattr(inference, "core", Core)
    with pytest.raises(HeadwireError, match="no int8"):
        speed_networks.floor("int8", 1)


def test_the_median_is_of_all_runs():
    calls: list[int] = []
    assert speed_networks._median(lambda: calls.append(1), 5) >= 0
    assert len(calls) == 5
    assert np.isfinite(speed_networks._median(lambda: None, 1))
