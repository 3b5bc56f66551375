"""The character network: which letter is being said, for each 40 ms of sound. It is small and causal and runs on numpy.

Log-mel energies (40 bands, windows of 25 ms, 10 ms apart; four windows a part), a linear layer, two GRU layers of
256, 27 logits: the blank of CTC and the letters a-z. Spaces and apostrophes have no class, since no mouth shows them.
0.84 M parameters, 21 M multiply-accumulates a second of sound. Trained by ``training.characters``, which says on what
and how well it hears.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio_features import AHEAD, CLASSES, FEATURES, LOW, PART, PARTS, RATE, STEP, WINDOW, WINDOWS, Mix, low_level
from codec.errors import HeadwireError
from codec.parameters import Floats
from models import weights_file

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Class n is ``LETTERS[n - 1]``; class 0 is CTC's blank."""
FORMAT = "headwire-characters-1"
WEIGHTS = Path(__file__).with_name("weights") / "characters.safetensors"
BANDS = 40
MEL_WINDOW = 400
MEL_PAST = MEL_WINDOW - STEP
_POINTS = 512


def mel(samples: Floats, before: Floats | None = None) -> Floats:
    """(T 640,) samples in -1..1 -> (T, 160) float32: natural logarithm of the mel energies, four windows of 40 a part.

    before: the (240,) samples that came earlier, None for silence. A part needs no sample after its own.
    """
    past = np.zeros(MEL_PAST, np.float32) if before is None else before
    whole = np.concatenate((past, samples))
    x = np.lib.stride_tricks.sliding_window_view(whole, MEL_WINDOW)[::STEP]
    window, filters = _tables()
    power = np.abs(np.fft.rfft(x * window, _POINTS)) ** 2
    return np.log(power @ filters + 1e-5).astype(np.float32).reshape(-1, WINDOWS * BANDS)


@cache
def _tables() -> tuple[Any, Any]:
    """Hann window (400,) and triangles (257, 40) between 60 and 7,600 Hz, equal on the mel scale."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (60.0, 7600.0))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    at = np.arange(_POINTS // 2 + 1) * RATE / _POINTS
    rise = (at[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - at[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)
    return np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32), filters


class CharacterNet:
    """The network on numpy. weights: a file of ``training.characters_export``.

    Raises HeadwireError where the file is missing, damaged or of another network.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        found, self.notes = weights_file.read(weights, FORMAT, "the character network")
        try:
            self._inward = _transposed(found, "inward.weight", "inward.bias")
            self._layers = [
                (*_transposed(found, f"memory.weight_ih_l{n}", f"memory.bias_ih_l{n}"),
                 *_transposed(found, f"memory.weight_hh_l{n}", f"memory.bias_hh_l{n}"))
                for n in range(2)
            ]  # fmt: skip
            self._outward = _transposed(found, "outward.weight", "outward.bias")
            self._mean, self._deviation = found["mean"], found["deviation"]
            self.mix = Mix(found["mix.mean"], found["mix.deviation"], found["mix.quiet"])
        except KeyError as error:
            raise HeadwireError(f"{weights} lacks {error}: install headwire again") from error
        self.hidden = len(self._layers[0][3]) // 3
        if self._outward[0].shape != (self.hidden, CLASSES) or self.mix.mean.shape != (LOW + CLASSES,):
            raise HeadwireError(f"{weights} does not hold the character network: install headwire again")

    def begin(self) -> Floats:
        """(2, 256): what the network remembers before the first part."""
        return np.zeros((2, self.hidden), np.float32)

    def logits(self, mels: Floats, memory: Floats) -> Floats:
        """(T, 160) -> (T, 27) float32; ``memory`` goes on."""
        x = np.maximum((mels - self._mean) / self._deviation @ self._inward[0] + self._inward[1], 0)
        n = self.hidden
        for layer, (inward, inward_bias, back, back_bias) in enumerate(self._layers):
            given = x @ inward + inward_bias
            h = memory[layer].copy()
            x = np.empty((len(given), n), np.float32)
            for t, g in enumerate(given):
                r = h @ back + back_bias
                gates = 1 / (1 + np.exp(-(g[: 2 * n] + r[: 2 * n])))
                new = np.tanh(g[2 * n :] + gates[:n] * r[2 * n :])
                h = new + gates[n:] * (h - new)
                x[t] = h
            memory[layer] = h
        out: Floats = x @ self._outward[0] + self._outward[1]
        return out


def _transposed(found: weights_file.Tensors, weight: str, bias: str) -> tuple[Floats, Floats]:
    return np.ascontiguousarray(found[weight].T), found[bias]


class Ear:
    """Sound as it comes -> h_audio of each frame at 25 a second.

    ahead: parts of look-ahead, 0 (nothing is waited for) to 7; the paper's is 4. A frame's h comes ``ahead`` parts,
    40 ms each, after its own sound.
    """

    def __init__(self, net: CharacterNet | None = None, ahead: int = AHEAD) -> None:
        if not 0 <= ahead < PARTS:
            raise ValueError(f"there are {PARTS} parts around a frame: ahead is 0 to {PARTS - 1}")
        self.net = net or CharacterNet()
        self.ahead = ahead
        quiet = self.net.mix.scaled(self.net.mix.quiet)
        self._rows: deque[Floats] = deque([quiet] * (PARTS - 1 - ahead), maxlen=PARTS)
        self._memory = self.net.begin()
        self._tail = np.zeros(WINDOW, np.float32)
        self._rest = np.zeros(0, np.float32)

    @property
    def delay(self) -> float:
        """Seconds of sound after a frame's own that have to be there."""
        return self.ahead * PART / RATE

    def hear(self, samples: Floats) -> list[Floats]:
        """(N,) float32 mono at 16 kHz, -1..1, any N -> h, (300,) float32, of every frame that is now complete."""
        self._rest = np.concatenate((self._rest, samples))
        whole = self._rest[: len(self._rest) // PART * PART]
        self._rest = self._rest[len(whole) :]
        if not len(whole):
            return []
        low = low_level(whole, self._tail)
        logits = self.net.logits(mel(whole, self._tail[-MEL_PAST:]), self._memory)
        self._tail = whole[-WINDOW:].copy()
        return self._assembled(self.net.mix.scaled(np.concatenate((low, logits), 1)))

    def end(self) -> list[Floats]:
        """h of the last frames, for which silence is what follows."""
        quiet = self.net.mix.scaled(self.net.mix.quiet)
        return self._assembled(np.repeat(quiet[None], self.ahead, 0))

    def _assembled(self, rows: Floats) -> list[Floats]:
        out = []
        for row in rows:
            self._rows.append(row)
            if len(self._rows) == PARTS:
                own = self._rows[PARTS - 1 - self.ahead][:-CLASSES]
                out.append(np.concatenate((own, *(r[-CLASSES:] for r in self._rows))))
        return out


def heard(samples: Floats, net: CharacterNet, ahead: int = AHEAD) -> Floats:
    """(T 640,) samples -> (T, 300) float32: h_audio of T frames at once, silence before and after."""
    if not len(samples):
        return np.zeros((0, FEATURES), np.float32)
    return net.mix.frames(low_level(samples), net.logits(mel(samples), net.begin()), ahead)


__all__ = ["BANDS", "LETTERS", "WEIGHTS", "CharacterNet", "Ear", "heard", "mel"]
