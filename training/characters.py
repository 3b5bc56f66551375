"""Training the character network of ``models.characters``: CTC on synthesised speech, tested on real voices.

``python -m training.characters`` after ``python -m training.speech_store``. The loop, its checkpoints and its
averages are those of every network (``training.loop``). ``training.characters_export`` writes the file that ships.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as f

from codec.audio_features import CLASSES, WINDOWS
from codec.errors import UsageError
from models.characters import BANDS
from training import speech_store
from training.distributed import Group, group
from training.loop import LoopSettings, Source, Task
from training.loop import run as run_loop
from training.options import command

HIDDEN = 256
RUN = Path("runs/characters")
TESTS = ("read_test", "grid_test", "said_test")
"""An unseen speaker and text; a seen speaker's other sentences; synthesised voices and sentences that were kept out."""


class CharacterNet(nn.Module):
    """(B, T, 160) log-mels -> (B, T, 27) logits; see ``models.characters``, which runs it without torch."""

    def __init__(self, hidden: int = HIDDEN, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WINDOWS * BANDS))
        self.register_buffer("deviation", torch.ones(WINDOWS * BANDS))
        self.inward = nn.Linear(WINDOWS * BANDS, hidden)
        self.memory = nn.GRU(hidden, hidden, 2, batch_first=True, dropout=dropout)
        self.outward = nn.Linear(hidden, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.get_buffer("mean")) / self.get_buffer("deviation")
        out: Tensor = self.outward(self.memory(f.relu(self.inward(x)))[0])
        return out


@dataclass(frozen=True)
class CharacterSettings:
    """rate: of Adam at its highest (it rises for 200 steps and falls to a fiftieth). real: how often a batch's place
    has a real voice.

    store: the shards.
    """

    rate: float = 2e-3
    real: float = 0.08
    store: Path | None = None


@dataclass(frozen=True)
class SpeechBatch:
    """mels (B, T, 160), silent at their ends; parts (B,); letters (sum of lengths,); lengths (B,). step: of the run."""

    mels: Tensor
    parts: Tensor
    letters: Tensor
    lengths: Tensor
    step: int

    def to(self, device: torch.device) -> SpeechBatch:
        """The same on another device."""
        moved = {x.name: getattr(self, x.name).to(device) for x in fields(self) if x.name != "step"}
        return replace(self, **moved)


class SpeechSource:
    """Batches by (seed, step, place) alone. Utterances of a batch are of about the same length, so that little is
    padding.
    """

    def __init__(self, settings: CharacterSettings, seed: int = 0, batch: int = 16) -> None:
        folder = speech_store.store_directory(settings.store)
        paths = sorted(folder.glob("said_*.npz"))[:-1]
        if not paths:
            raise UsageError(f"no speech in {folder}: run `python -m training.speech_store` first")
        self.settings, self.seed, self.size = settings, seed, batch
        self.said = _sorted([speech_store.load(path) for path in paths])
        grid = folder / "grid_train.npz"
        self.real = _sorted([speech_store.load(grid)]) if grid.is_file() else None

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the mels, (160,) each, the same for all four windows."""
        some = np.concatenate(self.said.mels[:: max(1, len(self.said.mels) // 500)]).astype(np.float32)
        flat = some.reshape(-1, BANDS)
        return tuple(torch.from_numpy(np.tile(x, WINDOWS)) for x in (flat.mean(0), flat.std(0)))  # type: ignore[return-value]

    def batch(self, step: int, slots: Sequence[int]) -> SpeechBatch:
        start = int(np.random.default_rng((self.seed, step)).integers(len(self.said.mels) - 4 * self.size))
        rows = [self._draw(step, slot, start) for slot in slots]
        longest = max(len(mels) for mels, _ in rows)
        quiet = math.log(1e-5)
        mels = np.stack([np.pad(m, ((0, longest - len(m)), (0, 0)), constant_values=quiet) for m, _ in rows])
        return SpeechBatch(
            torch.from_numpy(mels),
            torch.tensor([len(m) for m, _ in rows]),
            torch.from_numpy(np.concatenate([x for _, x in rows]).astype(np.int64)),
            torch.tensor([len(x) for _, x in rows]),
            step,
        )

    def _draw(self, step: int, slot: int, start: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        rng = np.random.default_rng((self.seed, step, slot))
        if self.real is not None and rng.random() < self.settings.real:
            n, shard = int(rng.integers(len(self.real.mels))), self.real
        else:
            n, shard = start + int(rng.integers(4 * self.size)), self.said
        return masked(shard.mels[n].astype(np.float32), rng), shard.letters[n]


def masked(mels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another level, a floor of noise, and SpecAugment's masks: two of up to 6 bands, two of up to 5 parts."""
    x = mels.reshape(-1, BANDS) + np.float32(rng.normal(0, 1.0))
    if rng.random() < 0.3:
        x = np.logaddexp(x, np.float32(rng.uniform(-8, -3)) + rng.normal(0, 0.3, x.shape).astype(np.float32))
    mean = x.mean()
    for _ in range(2):
        band, width = int(rng.integers(BANDS)), int(rng.integers(7))
        x[:, band : band + width] = mean
        moment, length = int(rng.integers(len(x))), WINDOWS * int(rng.integers(6))
        x[moment : moment + length] = mean
    return np.ascontiguousarray(x.reshape(mels.shape), np.float32)


def _sorted(shards: Sequence[speech_store.Shard]) -> speech_store.Shard:
    """All utterances, shortest first; none over 10 s."""
    pairs = [pair for shard in shards for pair in zip(shard.mels, shard.letters, strict=True) if len(pair[0]) <= 250]
    pairs.sort(key=lambda pair: len(pair[0]))
    return speech_store.Shard([m for m, _ in pairs], [x for _, x in pairs])


class CharacterTask(Task):
    """The network, and how it learns."""

    averaged = ("net",)

    def __init__(
        self, settings: CharacterSettings, steps: int, statistics: tuple[Tensor, Tensor], seed: int = 0
    ) -> None:
        self.settings, self.steps, self.seed = settings, steps, seed
        self.net = CharacterNet()
        self.net.get_buffer("mean").copy_(statistics[0])
        self.net.get_buffer("deviation").copy_(statistics[1])
        self.modules = {"net": self.net}
        self.optimizers = {"net": torch.optim.Adam(self.net.parameters(), lr=settings.rate)}
        self.description = {"network": "characters", "hidden": HIDDEN}

    def step(self, batch: SpeechBatch, parallel: dict[str, Any]) -> dict[str, Tensor]:  # type: ignore[override]
        optimizer = self.optimizers["net"]
        for part in optimizer.param_groups:
            part["lr"] = self.settings.rate * schedule(batch.step, self.steps)
        # What dropout leaves out depends on the place in the run alone, so that a resumed one is the same.
        torch.manual_seed(1_000_003 * self.seed + batch.step)
        said = parallel["net"](batch.mels).float().log_softmax(2).transpose(0, 1)
        loss = f.ctc_loss(said, batch.letters, batch.parts, batch.lengths, zero_infinity=True)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        optimizer.step()
        return {"ctc": loss}

    def pictures(self, batch: Any, averages: dict[str, nn.Module]) -> Tensor:
        return averages["net"](batch.mels[:1]).softmax(2).mT.expand(3, -1, -1)

    def validate(self, averages: dict[str, nn.Module]) -> dict[str, float]:
        folder = speech_store.store_directory(self.settings.store)
        paths = {name: folder / f"{name}.npz" for name in TESTS[:2]} | {TESTS[2]: sorted(folder.glob("said_*.npz"))[-1]}
        return {f"cer_{name}": error_rate(averages["net"], path) for name, path in paths.items() if path.is_file()}


def schedule(step: int, steps: int, warm: int = 200) -> float:
    """Share of the highest rate: a line up, half a cosine down to a fiftieth."""
    rise = min(1.0, (step + 1) / warm)
    return rise * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))))


@torch.no_grad()
def error_rate(net: nn.Module, path: Path) -> float:
    """Letters put in, left out or mistaken, over the letters that were said; the likeliest class of every part, no
    language model.
    """
    shard = speech_store.load(path)
    wrong = total = 0
    for mels, letters in zip(shard.mels, shard.letters, strict=True):
        logits = net(torch.from_numpy(mels.astype(np.float32))[None])[0].numpy()
        wrong += distance(collapsed(logits), letters)
        total += len(letters)
    return wrong / total


def collapsed(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """(T, 27) -> the letters: repetitions once, blanks away."""
    best = logits.argmax(1)
    return best[(best > 0) & (np.diff(best, prepend=0) != 0)]


def distance(a: Any, b: Any) -> int:
    """Levenshtein's."""
    row = np.arange(len(b) + 1)
    across = np.arange(len(b) + 1)
    for x in a:
        new = np.minimum(row[1:] + 1, row[:-1] + (np.asarray(b) != x))
        new = np.concatenate(([row[0] + 1], new))
        row = np.minimum.accumulate(new - across) + across
    return int(row[-1])


def run(settings: CharacterSettings, loop: LoopSettings) -> dict[str, float]:
    """Train, or go on, and return the figures: ``cer_*`` beside the loop's. Raises UsageError where there is no
    speech.
    """
    torch.manual_seed(loop.seed)
    with group(loop.device) as parts:
        return _run(settings, loop, parts)


def _run(settings: CharacterSettings, loop: LoopSettings, parts: Group) -> dict[str, float]:
    source = SpeechSource(settings, loop.seed, loop.batch)
    task = CharacterTask(settings, loop.steps, source.statistics(), loop.seed)
    return run_loop(task, cast(Source, source), loop, parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.characters``."""
    loop = {"run": RUN, "steps": 6000, "picture_every": 0, "validate_every": 1000, "ema": 0.998}
    command("Train the character network.", (CharacterSettings, LoopSettings), run, arguments, **loop)


if __name__ == "__main__":
    main()
