"""What HeadGAN hears, h_audio in R^300: 84 low-level numbers of a frame's own sound, and the character logits of the
eight parts around it.

Sound is cut into parts of 40 ms, one a frame at 25 frames a second. A part's low-level numbers are 21 short-term
features (8 of spectrum and energy, 13 MFCC) of the four windows of 20 ms that end in it, 10 ms apart. They are those
of pyAudioAnalysis 0.3.14, which the paper names, its filter bank (whose bins it takes to reach the sampling rate
rather than half of it) included; only its scaling of a whole recording to a peak of one is left out, because a call
has no end to wait for.

Layout of h: the oldest window's 21 numbers first, then the logits, the oldest part's 27 first. ``Mix`` brings all of
them to mean 0 and deviation 1 over speech. The parts around frame t are t - 3 to t + 4: four parts of look-ahead, 160
ms. With ``ahead=0`` they are t - 7 to t, and nothing has to be waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from codec.parameters import Floats

RATE = 16_000
"""Samples a second."""
PART = 640
"""Samples in a part: 40 ms."""
STEP = 160
WINDOW = 320
WINDOWS = PART // STEP
SHORT = 21
LOW = WINDOWS * SHORT
CLASSES = 27
PARTS = 8
AHEAD = 4
"""Parts of look-ahead, L in the paper."""
FEATURES = LOW + PARTS * CLASSES

_BLOCKS = 10
_MFCC = 13
_BINS = WINDOW // 2
_EPSILON = float(np.finfo(np.float64).eps)

Array = NDArray[np.float64]


def short_term(samples: Floats, before: Floats | None = None) -> Floats:
    """(N 160,) mono samples in -1..1 at 16 kHz -> (N, 21) float32: the features of the windows that end after each 160.

    before: the (320,) samples that came earlier, None for silence. In order: zero crossings, energy, entropy of
    energy, spectral centroid, spread, entropy, flux and roll-off (90 %), 13 MFCC. Raises ValueError for another
    number of samples.
    """
    if len(samples) % STEP:
        raise ValueError(f"{len(samples)} samples are no multiple of {STEP}")
    past = np.zeros(WINDOW, np.float32) if before is None else before
    whole = np.concatenate((past, samples)).astype(np.float64)
    # One window more than asked for: the flux of the first is against the one before it.
    x = np.lib.stride_tricks.sliding_window_view(whole, WINDOW)[::STEP]
    spectrum = np.abs(np.fft.fft(x)[:, :_BINS]) / _BINS
    flux = _flux(spectrum)
    x, spectrum = x[1:], spectrum[1:]
    crossings = np.abs(np.diff(np.sign(x))).sum(1) / 2 / (WINDOW - 1)
    power = spectrum**2
    columns = (crossings, (x**2).mean(1), _entropy(x**2), *_centroid(spectrum), _entropy(power), flux, _rolloff(power))
    return np.column_stack((*columns, _cepstrum(spectrum))).astype(np.float32)


def low_level(samples: Floats, before: Floats | None = None) -> Floats:
    """(T 640,) samples -> (T, 84) float32: the four windows of each part. Raises ValueError for another number of
    samples.
    """
    if len(samples) % PART:
        raise ValueError(f"{len(samples)} samples are no multiple of {PART}")
    return short_term(samples, before).reshape(-1, LOW)


@dataclass(frozen=True)
class Mix:
    """How low-level numbers and logits become h.

    mean, deviation: (111,) float32, of the 84 and the 27 over speech. quiet: (111,) of digital silence, before scaling.
    """

    mean: Floats
    deviation: Floats
    quiet: Floats

    def silence(self) -> Floats:
        """(300,) float32: h of silence."""
        row = self.scaled(self.quiet)
        return np.concatenate((row[:LOW], np.tile(row[LOW:], PARTS)))

    def scaled(self, rows: Floats) -> Floats:
        """(..., 111) -> the same shape, mean 0 and deviation 1 over speech, no further than 6 away."""
        out: Floats = ((rows - self.mean) / self.deviation).clip(-6, 6).astype(np.float32)
        return out

    def frames(self, low: Floats, logits: Floats, ahead: int = AHEAD) -> Floats:
        """(T, 84) and (T, 27) of T parts -> (T, 300) float32, silence before the first and after the last. ahead:
        0..7 parts.
        """
        rows = self.scaled(np.concatenate((low, logits), 1))
        quiet = self.scaled(self.quiet)[None, LOW:]
        padded = np.concatenate((np.repeat(quiet, PARTS - 1 - ahead, 0), rows[:, LOW:], np.repeat(quiet, ahead, 0)))
        around = np.lib.stride_tricks.sliding_window_view(padded, PARTS, axis=0).transpose(0, 2, 1)
        return np.concatenate((rows[:, :LOW], around.reshape(len(rows), PARTS * CLASSES)), 1)


def _entropy(power: Array) -> Array:
    """(N, M) -> (N,): of the shares of ten blocks, bits."""
    width = power.shape[1] // _BLOCKS
    blocks = power[:, : width * _BLOCKS].reshape(len(power), _BLOCKS, width).sum(2)
    share = blocks / (power.sum(1, keepdims=True) + _EPSILON)
    out: Array = -(share * np.log2(share + _EPSILON)).sum(1)
    return out


def _centroid(spectrum: Array) -> tuple[Array, Array]:
    """(N, 160) -> centroid and spread, (N,) each, in halves of the sampling rate."""
    at = np.arange(1, _BINS + 1) / _BINS
    peak = spectrum.max(1, keepdims=True)
    weight = spectrum / np.where(peak == 0, _EPSILON, peak)
    total = weight.sum(1) + _EPSILON
    centroid = (at * weight).sum(1) / total
    spread = np.sqrt(((at - centroid[:, None]) ** 2 * weight).sum(1) / total)
    return centroid, spread


def _flux(spectrum: Array) -> Array:
    """(N + 1, 160) -> (N,): squared change of the normalised spectrum from window to window."""
    share = spectrum / (spectrum + _EPSILON).sum(1, keepdims=True)
    out: Array = (np.diff(share, axis=0) ** 2).sum(1)
    return out


def _rolloff(power: Array) -> Array:
    """(N, 160) -> (N,): below which share of the bins 90 % of the energy lies."""
    above = np.cumsum(power, 1) + _EPSILON > 0.9 * power.sum(1, keepdims=True)
    out: Array = np.where(above.any(1), above.argmax(1), 0) / _BINS
    return out


def _cepstrum(spectrum: Array) -> Array:
    """(N, 160) -> (N, 13) MFCC."""
    filters, transform = _tables()
    out: Array = np.log10(spectrum @ filters + _EPSILON) @ transform
    return out


@cache
def _tables() -> tuple[Array, Array]:
    """Filters (160, 40), 13 linear and 27 logarithmic triangles, and the first 13 columns of an orthonormal cosine
    transform (40, 13).
    """
    linear, logarithmic = 13, 27
    count = linear + logarithmic
    edges = 133.33 + 200 / 3 * np.arange(linear)
    edges = np.concatenate((edges, edges[-1] * 1.0711703 ** np.arange(1, logarithmic + 3)))
    at = np.arange(_BINS) / _BINS * RATE
    first = np.floor(edges * _BINS / RATE).astype(int) + 1
    filters = np.zeros((_BINS, count))
    for n in range(count):
        low, middle, high = edges[n : n + 3]
        height = 2 / (high - low)
        rise, fall = slice(first[n], first[n + 1]), slice(first[n + 1], first[n + 2])
        filters[rise, n] = height / (middle - low) * (at[rise] - low)
        filters[fall, n] = height / (high - middle) * (high - at[fall])
    phase = np.pi / count * (np.arange(count)[:, None] + 0.5)
    transform = np.sqrt(2 / count) * np.cos(phase * np.arange(_MFCC))
    transform[:, 0] /= np.sqrt(2)
    return filters, transform
