"""The quality benchmark as one HTML page that needs nothing else: plots, tables, pictures, the worst frames first.

The page is ``report.html`` with the figures put in as JSON and the pictures as WebP in base64. Its own script draws the
plots; no network, no library. Pictures are left out from the last clip on where the page would grow beyond ``LARGEST``.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from bench.quality_metrics import BETTER_HIGH, BETTER_LOW, METRICS

LARGEST = 25_000_000
"""Bytes of the page."""
WORST = 24
"""Frames of the list of the worst ones."""

_ROOM = 0.72
"""Of the page's bytes that pictures may take before base64."""

PAPER: tuple[dict[str, Any], ...] = (
    {
        "table": "Reconstruction (self-reenactment), HeadGAN on VoxCeleb",
        "figures": {"l1": 11.32, "psnr": 21.46, "lpips": 0.112, "fid": 36.1, "fvd": 254, "csim": 0.807},
    },
    {
        "table": "Reenactment, HeadGAN on VoxCeleb",
        "figures": {"fid": 58.0, "csim": 0.688, "ard": 1.35, "au_h": 0.326},
    },
    {"table": "Frontalisation, HeadGAN on VoxCeleb", "figures": {"fid": 30.1, "csim": 0.766, "are": 0.76}},
)
"""Published in the paper: other data, other people."""


def page(report: dict[str, Any], strips: dict[tuple[str, str, str], Path]) -> str:
    """The page. strips: (clip, codec, rate) -> pictures side by side; (clip, "", ""): of the original."""
    shown = json.loads(json.dumps(report))
    worst = _worst(report, strips)
    for cell in shown["cells"]:
        cell["frames"] = {key: cell["frames"].get(key, []) for key in ("index", "second", "lpips", "psnr")}
    pictures: dict[str, str] = {}
    room = LARGEST * _ROOM - len(json.dumps(shown)) * 0.75
    for place, clip in (("worst", None), *(("strip", clip["name"]) for clip in report["clips"])):
        chosen = worst if place == "worst" else {k: p for k, p in strips.items() if k[0] == clip}
        files = {f"{place}|{'|'.join(key)}": path.read_bytes() for key, path in chosen.items() if path.is_file()}
        size = sum(map(len, files.values()))
        if size > room:
            break
        room -= size
        pictures |= {name: base64.b64encode(data).decode() for name, data in files.items()}
    data = {
        "report": shown,
        "pictures": pictures,
        "worst": [list(key) for key in worst],
        "metrics": METRICS,
        "low": BETTER_LOW,
        "high": BETTER_HIGH,
        "paper": PAPER,
    }
    text = json.dumps(data, separators=(",", ":"), sort_keys=True).replace("</", "<\\/")
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return template.replace('"DATA"', text, 1)


def _worst(report: dict[str, Any], strips: dict[tuple[str, str, str], Path]) -> dict[tuple[str, str, str], Path]:
    """Cells by the LPIPS of their worst frame; the picture shows the original and what was shown."""
    cells = sorted(report["cells"], key=lambda cell: -max(cell["frames"]["lpips"]))
    keys = [(cell["clip"], cell["codec"], cell["rate"]) for cell in cells]
    # the worst of every codec's best rate is of more use than the same frame at each of its rates
    seen: set[tuple[str, str]] = set()
    chosen = [key for key in keys if not (key[:2] in seen or seen.add(key[:2]))][:WORST]  # type: ignore[func-returns-value]
    return {key: strips[key].with_suffix(".worst.webp") for key in chosen if key in strips}
