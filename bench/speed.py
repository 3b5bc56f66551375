"""``headwire bench speed``: ms per frame of every stage of the path, in one process and one run.

The floors beside them are what this machine does at the same moment: a memory copy of one picture, and dense 3x3 convolutions
for the networks (``bench.speed_networks``). Timings are medians and 95th percentiles over the demo clip's frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from bench import speed_networks
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import ReferenceFrame
from codec.raster import flow, pncc, pncc_colours, rasterise
from codec.seen_points import SeenPoints
from models.generator import DrivingFrame
from models.zoo import ZOO, create
from sender.capture import open_source
from sender.demo_clip import CLIPS, demo_clip
from sender.tracking import FaceTracker

FRAMES = 200


def run() -> dict[str, Any]:
    """Stage -> {median, p95, cpu} in ms; ``cpu`` is the mean of all threads' time per frame. ``networks``: a row for each network,
    number of threads and precision, with its floor and its picture.
    """
    import cv2

    cv2.setNumThreads(1)
    model = FaceModel.load()
    clip = demo_clip()
    with open_source(clip, None, realtime=False, start=CLIPS["wolfgang"].start_s) as source:
        pictures = [frame.picture for frame, _ in zip(source, range(FRAMES), strict=False)]
    figures: dict[str, Any] = {"frames": len(pictures)}

    def stage(name: str, work: Callable[[Any], Any], inputs: Iterable[Any], keep: bool = True) -> list[Any]:
        # what is kept makes every allocation a new page: pictures are not, as in a call
        results, walls, cpus = [], [], []
        for item in inputs:
            wall, cpu = time.perf_counter(), time.process_time()
            result = work(item)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            results += [result] if keep else []
        p50, p95 = 1000 * np.percentile(walls[10:], (50, 95))
        figures[name] = {
            "median": round(float(p50), 4),
            "p95": round(float(p95), 4),
            "cpu": round(1000 * float(np.mean(cpus[10:])), 4),
        }
        return results

    with FaceTracker("auto") as tracker:
        tracked = [t for t in stage("crop and landmarks", tracker.track, pictures) if t.landmarks is not None]
    opening = Fitter(model)
    for seen in tracked[:25]:
        opening.fit(seen.landmarks)
    fitter = Fitter(model, identity=opening.identity)
    fits = [result.parameters for result in stage("fit", fitter.fit, [seen.landmarks for seen in tracked])]
    neutral = model.neutral(fitter.identity)
    encoder = ParameterEncoder("normal", points=SeenPoints(model, neutral))
    coded = stage("encode", encoder.encode, [p.vector() for p in fits])
    stage("decode", ParameterDecoder().decode, [data for data in coded if data is not None])
    meshes = stage("mesh", lambda p: model.project(model.express(neutral, p.expression), p.camera), fits)
    colours, source_points = pncc_colours(model), meshes[0]

    def pncc_and_flow(vertices: Any) -> None:
        visibility = rasterise(vertices, model.triangles)
        pncc(visibility, colours)
        flow(visibility, model.triangles, source_points)

    stage("PNCC and flow", pncc_and_flow, meshes, keep=False)
    driving = [DrivingFrame(p, v, rasterise(v, model.triangles)) for p, v in zip(fits, meshes, strict=True)]
    for name in ZOO:
        generator = create(name, model)
        start = time.perf_counter()
        generator.prepare(ReferenceFrame(0, tracked[0].picture, replace(fits[0]), fitter.identity))
        figures[f"{name}: prepare, once a photo"] = {"median": round(1000 * (time.perf_counter() - start), 3)}
        stage(f"{name}: generate", generator.generate, driving, keep=False)
    stage("floor: copy of a picture", np.copy, [t.picture for t in tracked], keep=False)
    reference = ReferenceFrame(0, tracked[0].picture, replace(fits[0]), fitter.identity)
    figures["networks"] = speed_networks.run(reference, driving[1:], [t.picture for t in tracked[1:]])
    return figures
