"""``python -m bench.motion_call``: the motion field in real calls: what it costs there, and how near the viewer's picture comes.

Each call records both ends' pictures; a shown one is compared with what the camera saw at the same time stamp. The first
seconds, while photo and field arrive, are left out. Both ends run on this machine: latencies are only as good as it is free.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import metrics
from bench.call import DemoSettings, record_call
from codec.parameters import Picture
from receiver.recording import read_recording

NEAR_S = 0.0025
"""Time stamps nearer than this are the same frame's: in a call they count in 4 ms."""

WARM_S = 4.0
"""Seconds after the first shown picture that do not count."""

NAMES = (
    "payload_kbps",
    "motion_kbps",
    "wire_kbps_steady",
    "wire_kbps_return_steady",
    "frames_shown",
    "fields",
    "fields_dropped",
    "lost",
)


def pairs(folder: Path, warm: float = WARM_S) -> Iterator[tuple[Picture, Picture]]:
    """(camera, viewer) for every picture that was shown of a frame that the sender recorded, after the first ``warm`` seconds."""
    sent = iter(read_recording(folder / "sent.rec"))
    camera = next(sent, None)
    began: float | None = None
    for shown in read_recording(folder / "shown.rec"):
        began = shown.time_s if began is None else began
        while camera is not None and camera.time_s < shown.time_s - NEAR_S:
            camera = next(sent, None)
        if camera is not None and abs(camera.time_s - shown.time_s) <= NEAR_S and shown.time_s >= began + warm:
            yield camera.picture, shown.picture


def measured(settings: DemoSettings, start: float | None = None, lpips: metrics.Lpips | None = None) -> dict[str, Any]:
    """One call's figures: bytes, and picture against picture. flicker: the shown frames' mean difference over the camera's."""
    with tempfile.TemporaryDirectory(prefix="headwire-motion-") as name:
        figures = record_call(settings, Path(name), start)
        psnr, l1, distances = [], [], []
        changes = np.zeros(2)
        before: tuple[Picture, Picture] | None = None
        for number, (camera, viewer) in enumerate(pairs(Path(name))):
            psnr.append(float(metrics.psnr(camera[None], viewer[None])[0]))
            l1.append(float(metrics.l1(camera[None], viewer[None])[0]))
            if lpips is not None and number % 5 == 0:
                distances.append(float(lpips(camera[None], viewer[None])[0]))
            if before is not None:
                changes += [
                    np.abs(a.astype(np.int16) - b).mean() for a, b in zip((viewer, camera), before[::-1], strict=True)
                ]
            before = (camera, viewer)
    if not psnr:
        return {"pairs": 0} | figures
    kept = {key: figures[key] for key in NAMES}
    kept["latency_p50_ms"], kept["loop_ms"] = figures["latency_ms"]["p50"], figures["stages_ms"]["motion"]
    kept["field_ms"], kept["generate_ms"] = figures["stages_ms"].get("field", 0.0), figures["stages_ms"]["generate"]
    kept |= {"psnr": round(float(np.mean(psnr)), 2), "l1": round(float(np.mean(l1)), 2), "pairs": len(psnr)}
    kept["flicker"] = round(float(changes[0] / changes[1]), 3)
    if distances:
        kept["lpips"] = round(float(np.mean(distances)), 4)
    return kept


def main() -> None:
    """All calls that were asked for, one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", default="wolfgang,franck")
    parser.add_argument("--rates", default="normal,low,lowest")
    parser.add_argument("--motions", default="off,auto")
    parser.add_argument("--links", default="", help="emulated links, with semicolons between them; empty: none")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lpips", action="store_true")
    arguments = parser.parse_args()
    lpips = metrics.Lpips("alex") if arguments.lpips else None
    for clip in arguments.clips.split(","):
        for rate in arguments.rates.split(","):
            for link in arguments.links.split(";"):
                for motion in arguments.motions.split(","):
                    settings = DemoSettings(
                        clip=clip, seconds=arguments.seconds, rate=rate, photos_kbps=0, motion=motion, link=link or None
                    )
                    names = {"clip": clip, "rate": rate, "motion": motion, "link": link}
                    print(json.dumps(names | measured(settings, lpips=lpips)), flush=True)


if __name__ == "__main__":
    main()
