"""Figures of ``light`` beside ``warp`` on the validation people, and sheets to look at: warp, light, truth.

``python -m training.light_evaluation`` paints with the network in torch from a run's averaged weights, or with the shipped
generator's own code (``--weights``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.metrics import Lpips, l1, psnr
from codec.errors import HeadwireError, UsageError
from training import checkpoints
from training.light_data import LightSource
from training.light_network import LightConfig, LightNet, in_cells, painted
from training.light_triples import KINDS, Triples, open_triples
from training.options import parsed

MOUTH, MOUTH_WINDOW = (13, 14, 61, 291), (64, 64)
EYES, EYES_WINDOW = (33, 133, 263, 362), (48, 128)
BATCH = 4

Paint = Callable[[Triples, int], Any]
"""A frame of a clip -> (256, 256, 3) uint8."""


@dataclass(frozen=True)
class EvaluationSettings:
    """run: a run's folder. weights: a file of shipped weights instead. precision: of OpenVINO, with those. step: every so many of the
    kept frames. triples: folder. sheet: a picture to write. rows: its rows. kind: of its frames.
    """

    run: Path = Path("runs/light")
    weights: Path | None = None
    precision: str = "auto"
    step: int = 4
    triples: Path | None = None
    sheet: Path | None = None
    rows: int = 12
    kind: str = "motion"


def load_run(run: Path) -> LightNet:
    """The averaged network of a run. Raises UsageError where there is none."""
    state = checkpoints.load(run)
    if state is None:
        raise UsageError(f"no checkpoint in {run}: train with `headwire train light` first")
    said = dict(state["description"])
    if said.pop("network") != "light":
        raise UsageError(f"{run} is not a run of light: choose another folder")
    net = LightNet(LightConfig(**said))
    net.load_state_dict(state["averages"]["light"])
    return net.eval()


def torch_paint(net: nn.Module, source: LightSource) -> Paint:
    """Paint with the network in torch, float32, where it is."""
    numbers = {id(t): n for n, t in enumerate(source.triples)}
    device = next(net.parameters()).device

    @torch.no_grad()
    def paint(t: Triples, index: int) -> Any:
        batch = source.whole(numbers[id(t)], index).to(device)
        out = painted(batch.shown, *net(in_cells(batch.shown), batch.geometry))
        return ((out[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()

    return paint


def measure(
    paint: Paint, triples: Sequence[Triples], step: int, nets: dict[str, Lpips] | None = None
) -> dict[str, dict[str, float]]:
    """``KIND/warp`` and ``KIND/light`` -> l1, psnr, lpips_alex, lpips_vgg, and lpips of mouth and eyes; mean over people."""
    nets = nets or {"alex": Lpips("alex"), "vgg": Lpips("vgg")}
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for t in triples:
        kinds = t.frames["kind"]
        for kind in np.unique(kinds):
            index = np.flatnonzero(kinds == kind)[::step]
            truth = np.stack([t.truth[i] for i in index])
            pictures = {"warp": np.stack([t.shown[i] for i in index]), "light": np.stack([paint(t, i) for i in index])}
            for name, shown in pictures.items():
                found = _figures(truth, shown, t.frames["vertices"][index], nets)
                people = rows.setdefault(f"{KINDS[kind]}/{name}", {})
                people.setdefault(t.identity, []).append(found)
    return {name: _mean_over_people(people) for name, people in rows.items()}


def _figures(truth: Any, shown: Any, vertices: Any, nets: dict[str, Lpips]) -> dict[str, Any]:
    out = {"l1": l1(truth, shown), "psnr": psnr(truth, shown)}
    for net, lpips in nets.items():
        out[f"lpips_{net}"] = lpips(truth, shown)
        for name, points, window in (("mouth", MOUTH, MOUTH_WINDOW), ("eyes", EYES, EYES_WINDOW)):
            a, b = (_windows(x, vertices, points, window) for x in (truth, shown))
            out[f"{name}_{net}"] = lpips(a, b)
    return out


def _windows(pictures: Any, vertices: Any, points: tuple[int, ...], window: tuple[int, int]) -> Any:
    cuts = []
    for picture, mesh in zip(pictures, vertices, strict=True):
        x, y = mesh[list(points), :2].mean(0)
        top = round(float(np.clip(y - window[0] / 2, 0, 256 - window[0])))
        left = round(float(np.clip(x - window[1] / 2, 0, 256 - window[1])))
        cuts.append(picture[top : top + window[0], left : left + window[1]])
    return np.stack(cuts)


def _mean_over_people(people: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    names = next(iter(people.values()))[0]
    each = [{k: float(np.concatenate([row[k] for row in rows]).mean()) for k in names} for rows in people.values()]
    return {k: float(np.mean([row[k] for row in each])) for k in names}


def validation_figures(net: nn.Module, triples: Path | None, step: int) -> dict[str, float]:
    """``measure``, flat, of the network on the validation triples; nothing where there are none."""
    try:
        clips = open_triples(triples, "validation")
    except UsageError:
        return {}
    found = measure(torch_paint(net, LightSource(clips)), clips, step)
    return {f"{setting}/{name}": value for setting, row in found.items() for name, value in row.items()}


def sheet(paint: Paint, triples: Sequence[Triples], kind: str, rows: int) -> Any:
    """(rows x 256, 2 x 3 x 256, 3): per row two frames of a clip, each as warp, light, truth."""
    out = []
    for t in triples:
        index = np.flatnonzero(t.frames["kind"] == KINDS.index(kind))
        if len(index):
            chosen = [int(index[len(index) // 3]), int(index[-2])]
            out.append(np.hstack([x for i in chosen for x in (t.shown[i], paint(t, i), t.truth[i])]))
    return np.vstack(out[:rows])


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown rows: setting, then figures, light's change in per cent (dB for PSNR)."""
    names = list(next(iter(found.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for setting, row in sorted(found.items()):
        cells = []
        for name in names:
            text = f"{row[name]:.2f}" if name in ("l1", "psnr") else f"{row[name]:.4f}"
            before = found.get(setting.replace("/light", "/warp"), row)[name]
            if setting.endswith("/light"):
                text += (
                    f" ({row[name] - before:+.2f})" if name == "psnr" else f" ({100 * (row[name] / before - 1):+.1f} %)"
                )
            cells.append(text)
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and its JSON; write a sheet."""
    (said,) = parsed("Measure light beside warp.", (EvaluationSettings,), arguments)
    torch.set_num_threads(1)
    try:
        clips = open_triples(said.triples, "validation")
        source = LightSource(clips)
        if said.weights is None:
            paint = torch_paint(load_run(said.run), source)
        else:
            from models.light import LightPainter

            painter = LightPainter(said.weights, said.precision)

            def paint(t: Triples, index: int) -> Any:
                return painter.paint(t.shown[index], source.geometry(t, index))

        if said.sheet is not None:
            from PIL import Image

            Image.fromarray(sheet(paint, clips, said.kind, said.rows)).save(said.sheet)
        if said.step > 0:
            found = measure(paint, clips, said.step)
            print(table(found))
            print(json.dumps(found))
    except HeadwireError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
