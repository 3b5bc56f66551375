"""Batches for ``full``: ``light``'s crops, with the pictures from further photos and what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.full_triples import FullTriples
from training.light_data import CROP, LightSource, varied


@dataclass(frozen=True)
class FullBatch:
    """B crops of S x S. shown, truth: (B, 3, S, S), others: (B, K, 3, S, S), -1..1; geometry: (B, 12, S/4, S/4); audio: (B, 300).
    step: of the run.
    """

    shown: Tensor
    truth: Tensor
    others: Tensor
    geometry: Tensor
    audio: Tensor
    step: int = 0

    def to(self, device: torch.device) -> FullBatch:
        """The same on another device."""
        names = [field.name for field in fields(self) if field.name != "step"]
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


class FullSource(LightSource):
    """Makes batches. A sample depends on seed, step and slot, and on what has been prepared. alone: how often the further photos are
    taken away, as in a call that has only begun.
    """

    def __init__(
        self,
        triples: Sequence[FullTriples],
        seed: int = 0,
        weights: Sequence[float] = (1, 1, 1),
        crop: int = CROP,
        alone: float = 0.1,
    ) -> None:
        super().__init__(triples, seed, weights, crop)
        self.full, self.alone = list(triples), alone

    def batch(self, step: int, slots: Sequence[int]) -> FullBatch:  # type: ignore[override]
        """The samples of these slots of a step."""
        rows = [self._drawn(np.random.default_rng((self.seed, step, slot))) for slot in slots]
        pictures, geometry, audio = (np.stack(x) for x in zip(*rows, strict=True))
        return _batch(pictures, geometry, audio, step)

    def whole(self, number: int, index: int) -> FullBatch:  # type: ignore[override]
        """One frame as it is."""
        t = self.full[number]
        pictures = np.concatenate((t.shown[index][None], t.truth[index][None], t.other[index]))
        return _batch(pictures[None], self.geometry(t, index)[None], t.audio[index][None], 0)

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[Any], Any, Any]:
        number, index = self._chosen(rng)
        t = self.full[number]
        part, cells = self._window(t.frames["vertices"][index], rng)
        shown = t.shown[index][part]
        others = t.other[index][:, *part]
        if rng.random() < self.alone:
            others = np.repeat(shown[None], len(others), 0)
        pictures = np.concatenate((shown[None], t.truth[index][part][None], others))
        return *varied(pictures, self.geometry(t, index)[:, *cells], rng), t.audio[index]


def _batch(pictures: NDArray[Any], geometry: Any, audio: Any, step: int) -> FullBatch:
    """(B, 2 + K, S, S, 3) uint8: shown, truth, others."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    return FullBatch(x[:, 0], x[:, 1], x[:, 2:], torch.from_numpy(geometry), torch.from_numpy(np.array(audio)), step)
