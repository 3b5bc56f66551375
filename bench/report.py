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
    for cell in shown["cells"]:
        cell["frames"] = {key: cell["frames"].get(key, []) for key in ("index", "second", "lpips", "psnr")}
    worst = _worst(report, strips)
    data = {
        "report": shown,
        "pictures": {},
        "worst": [list(key) for key in worst],
        "metrics": METRICS,
        "low": BETTER_LOW,
        "high": BETTER_HIGH,
        "paper": PAPER,
    }
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    room = LARGEST - len(template.encode()) - len(_embedded(data).encode())
    groups = [{f"worst|{'|'.join(key)}": path for key, path in worst.items()}]
    for clip in report["clips"]:
        groups.append({f"strip|{'|'.join(key)}": path for key, path in strips.items() if key[0] == clip["name"]})
    pictures: dict[str, str] = {}
    for group in groups:
        coded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in group.items() if path.is_file()}
        size = len(_embedded(coded).encode())
        if size > room:
            break
        room -= size
        pictures |= coded
    return template.replace('"DATA"', _embedded(data | {"pictures": pictures}), 1)


def _embedded(data: dict[str, Any]) -> str:
    """JSON that may stand in a page."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True).replace("</", "<\\/")


def _worst(report: dict[str, Any], strips: dict[tuple[str, str, str], Path]) -> dict[tuple[str, str, str], Path]:
    """Cells by the LPIPS of their worst frame; the picture shows the original and what was shown."""
    chosen: dict[tuple[str, str], tuple[str, str, str]] = {}
    for cell in sorted(report["cells"], key=lambda cell: -max(cell["frames"]["lpips"])):
        # one frame for a codec and clip: at its other rates it looks much the same
        chosen.setdefault((cell["clip"], cell["codec"]), (cell["clip"], cell["codec"], cell["rate"]))
    return {key: strips[key].with_suffix(".worst.webp") for key in list(chosen.values())[:WORST] if key in strips}
