"""The quality benchmark as one HTML page that needs nothing else: plots, tables, pictures, the worst frames first.

The page is ``report.html`` with the figures put in as JSON and the pictures as WebP in base64. Its own script draws the
plots; no network, no library. Pictures are left out from the last clip on where the page would grow beyond ``LARGEST``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.quality_metrics import BETTER_HIGH, BETTER_LOW, CANONICAL, METRICS, SETS
from codec.errors import UsageError

LARGEST = 25_000_000
"""Bytes of the page."""
WORST = 24
"""Frames of the list of the worst ones."""

PAPER: tuple[dict[str, Any], ...] = (
    {
        "table": "Table 1: reconstruction (self-reenactment)",
        "published": {"l1": 11.32, "psnr": 21.46, "lpips": 0.112, "fid": 36.1, "fvd": 254, "csim": 0.807},
        "ours": ("l1", "psnr", "lpips", "fid_vgg", "csim_dlib"),
    },
    {
        "table": "Table 2: reenactment of one person by another",
        "task": "reenactment",
        "published": {"fid": 58.0, "csim": 0.688, "ard": 1.35, "au_h": 0.326},
        "ours": (),
    },
    {
        "table": "Table 3: frontalisation",
        "task": "frontalisation",
        "published": {"fid": 30.1, "csim": 0.766, "are": 0.76},
        "ours": (),
    },
)
"""HeadGAN on VoxCeleb as published: other data, other people. ours: what the one-photo mode is shown with; a stand-in under
its own name. task: where ``headwire bench paper`` has ours."""

SECTIONS = ("paper", "rate", "face", "speed", "latency", "call")
"""Other benchmarks whose JSON the page may show, in this order; further ones follow."""
_LONGEST_TABLE = 400


def page(report: dict[str, Any], strips: dict[tuple[str, str, str], Path], beside: Sequence[Path] = ()) -> str:
    """The page.

    strips: (clip, codec, rate) -> pictures side by side; (clip, "", ""): of the original. beside: JSON files of other
    benchmarks, each a section named as its file. Raises UsageError for one that cannot be read.
    """
    shown = json.loads(json.dumps(report))
    for cell in shown["cells"]:
        cell["frames"] = {}
    worst = _worst(report, strips)
    data = {
        "report": shown,
        "pictures": {},
        "worst": [list(key) for key in worst],
        "metrics": (*METRICS, *SETS, *CANONICAL),
        "low": (*BETTER_LOW, *SETS, "au_h"),
        "high": (*BETTER_HIGH, "csim"),
    }
    other = sections(beside)
    data["paper"] = [table | {"here": _measured_here(table, other)} for table in PAPER]
    data["sections"] = [section for section in other if section["name"] != "paper"]
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


def sections(files: Sequence[Path]) -> list[dict[str, Any]]:
    """[{"name", "tables": [{"title", "columns", "rows"}]}]: any JSON of figures as tables. Raises UsageError for what is none."""
    out = []
    for path in files:
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read as JSON: --with takes what 'headwire bench NAME --json' wrote"
            ) from error
        if not isinstance(figures, dict):
            raise UsageError(f"{path} holds no figures by name: --with takes what 'headwire bench NAME --json' wrote")
        schema = str(figures.get("schema", "")).removeprefix("headwire-").partition("/")[0]
        name = schema or next((kind for kind in SECTIONS if kind in path.stem), path.stem)
        out.append({"name": name, "tables": list(_tables("", figures))})
    order = {name: n for n, name in enumerate(SECTIONS)}
    return sorted(out, key=lambda section: order.get(section["name"], len(order)))


def _measured_here(table: dict[str, Any], other: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ``headwire bench paper`` for one of the paper's tables."""
    rows = [
        row
        for section in other
        if section["name"] == "paper"
        for found in section["tables"]
        if found["title"] == table.get("task")
        for row in found["rows"]
    ]
    return [
        {"what": row["figure"]} | {name: value for name, value in row.items() if name != "figure"}
        for row in rows
        if not row["figure"].startswith("published")
    ]


def _tables(title: str, figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Numbers and words side by side become one table, what holds more its own below."""

    def table(title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"title": title, "columns": list(dict.fromkeys(key for row in rows for key in row)), "rows": rows}

    plain = {name: value for name, value in figures.items() if not isinstance(value, dict | list)}
    alike = {name: value for name, value in figures.items() if isinstance(value, dict) and _is_row(value)}
    if plain:
        yield table(title, [{"figure": name, "value": value} for name, value in plain.items()])
    if alike:
        yield table(title, [{"figure": name} | value for name, value in alike.items()])
    for name, value in figures.items():
        below = f"{title} / {name}" if title else name
        if isinstance(value, dict) and name not in alike:
            yield from _tables(below, value)
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            rows = [{k: v for k, v in row.items() if not isinstance(v, dict | list)} for row in value]
            yield table(below, rows[:_LONGEST_TABLE])
        elif isinstance(value, list) and value:
            rows = [{"n": n, "value": _word(entry)} for n, entry in enumerate(value)]
            yield table(below, rows[:_LONGEST_TABLE])


def _is_row(value: dict[str, Any]) -> bool:
    return bool(value) and not any(isinstance(entry, dict | list) for entry in value.values())


def _word(entry: Any) -> Any:
    return json.dumps(entry) if isinstance(entry, dict | list) else entry


def _embedded(data: dict[str, Any]) -> str:
    """JSON that may stand in a page."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True).replace("</", "<\\/")


def _worst(report: dict[str, Any], strips: dict[tuple[str, str, str], Path]) -> dict[tuple[str, str, str], Path]:
    """Cells by the LPIPS of their worst frame; the picture shows the original and what was shown."""
    chosen: dict[tuple[str, str], tuple[str, str, str]] = {}
    for cell in sorted(report["cells"], key=lambda cell: -cell["worst_lpips"]):
        # one frame for a codec and clip: at its other rates it looks much the same
        chosen.setdefault((cell["clip"], cell["codec"]), (cell["clip"], cell["codec"], cell["rate"]))
    return {key: strips[key].with_suffix(".worst.webp") for key in list(chosen.values())[:WORST] if key in strips}
