"""Speech with known text for the character network: synthesised by espeak-ng and flite in many voices, and roughened.

No registry carries much transcribed speech, so the bulk of it is made here: sentences of any English text
(``--text``; the shipped weights had Debian's ``fortunes``), strings of dictionary words and GRID's grammar, said by
espeak-ng (accents and variants) and flite, then resampled, filtered, reverberated, mixed with noise and sent through
Opus. Real voices (DATA's ``speech``) are for testing, but for GRID's first sentences.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio_features import RATE
from codec.errors import UsageError
from codec.parameters import Floats
from training.dataset import data_directory

_SENTENCE = re.compile(r"^[A-Za-z][A-Za-z ,'-]+$")
ACCENTS = (
    "en-us",
    "en-us",
    "en-gb",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
_NAMED = (
    "klatt klatt2 klatt4 Alex Andy Annie Gene Jacky Lee Mario Michael Mike adam anika belinda benjamin boris david ed edward iven"
    " linda marcelo max michel norbert paul quincy rob robert shelby steph travis victor zac"
)
VARIANTS = (
    "",
    *(f"+m{n}" for n in range(1, 9)),
    *(f"+f{n}" for n in range(1, 6)),
    *(f"+{name}" for name in _NAMED.split()),
)
FLITE = ("kal16", "awb", "rms", "slt")
GRID = tuple(
    tuple(options.split())
    for options in (
        "bin lay place set",
        "blue green red white",
        "at by in with",
        "a b c d e f g h i j k l m n o p q r s t u v x y z",
        "zero one two three four five six seven eight nine",
        "again now please soon",
    )
)


@dataclass(frozen=True)
class Spoken:
    """Sound and what is said in it. samples: (N,) float32, 16 kHz, -1..1. text: lower case words."""

    samples: Floats
    text: str
    speaker: str


def sentences(text: Path, words: frozenset[str]) -> list[str]:
    """Sentences of 3 to 14 words, each a word of the dictionary, from every file below ``text`` (or that file)."""
    files = [text] if text.is_file() else sorted(p for p in text.rglob("*") if p.is_file())
    found: dict[str, None] = {}
    for path in files:
        whole = path.read_text(encoding="utf-8", errors="ignore")
        for piece in re.split(r"[.?!;:()\n]{1,2}(?=\s)|\n%\n|--|\"", whole.replace("\n%\n", " . ")):
            line = " ".join(piece.split())
            said = line.lower().replace(",", " ").replace("-", " ").split()
            if _SENTENCE.match(line) and 3 <= len(said) <= 14 and all(word.strip("'") in words for word in said):
                found[line] = None
    return list(found)


def dictionary(path: Path) -> frozenset[str]:
    """The lower-case words of a word list, one a line."""
    if not path.is_file():
        raise UsageError(f"no word list at {path}: pass --words (Debian: apt install wamerican)")
    return frozenset(w for w in path.read_text(encoding="utf-8").split() if w.islower() and w.isascii())


def plain(text: str) -> str:
    """What the network should write: a-z alone."""
    return "".join(c for c in text.lower() if "a" <= c <= "z")


class Voices:
    """espeak-ng and flite as programs. Raises UsageError where one is missing."""

    def __init__(self) -> None:
        for program in ("espeak-ng", "flite"):
            if shutil.which(program) is None:
                raise UsageError(f"{program} is missing: apt install espeak-ng flite")
        self._folder = tempfile.TemporaryDirectory()

    def say(self, text: str, rng: np.random.Generator) -> Spoken | None:
        """A sentence in a voice of chance; None where the synthesiser fails."""
        path = Path(self._folder.name) / "said.wav"
        if rng.random() < 0.5:
            speaker = str(rng.choice(FLITE))
            command = ["flite", "-voice", speaker, "--setf", f"duration_stretch={rng.uniform(0.85, 1.3):.2f}"]
            command += ["--setf", f"int_f0_target_mean={rng.uniform(85, 210):.0f}", "-t", text, "-o", str(path)]
        else:
            speaker = str(rng.choice(ACCENTS)) + str(rng.choice(VARIANTS))
            command = [
                "espeak-ng",
                "-v",
                speaker,
                "-s",
                str(int(rng.integers(115, 190))),
                "-p",
                str(int(rng.integers(20, 80))),
            ]
            command += ["-g", str(int(rng.integers(0, 4))), "-w", str(path), text]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        with wave.open(str(path), "rb") as file:
            data = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
            rate = file.getframerate()
        # The voice box, too: played faster or slower.
        samples = resampled(data, rate * float(rng.uniform(0.88, 1.14)))
        return Spoken(samples, text, speaker)


def resampled(samples: Floats, rate: float) -> Floats:
    """From ``rate`` to 16 kHz, linear between samples after a low pass where the rate falls."""
    if rate > RATE:
        from scipy.signal import firwin

        samples = np.convolve(samples, firwin(31, RATE / rate * 0.95), "same")
    at = np.arange(0, len(samples) - 1, rate / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def roughened(samples: Floats, rng: np.random.Generator) -> Floats:
    """As a microphone, a room and a codec leave it: pauses, reverberation, a band, noise, Opus, level."""
    from scipy.signal import butter, fftconvolve, lfilter

    pauses = [np.zeros(int(rng.uniform(0.05, 0.5) * RATE), np.float32) for _ in range(2)]
    x = np.concatenate((pauses[0], samples, pauses[1]))
    if rng.random() < 0.5:
        length = int(rng.uniform(0.08, 0.35) * RATE)
        tail = rng.standard_normal(length) * np.exp(-5 * np.arange(length) / length)
        tail[0] = 0
        x = x + rng.uniform(0.1, 0.8) * fftconvolve(x, tail / np.sqrt((tail**2).sum()))[: len(x)]
    # Every microphone has its own slope.
    slope = rng.uniform(-0.5, 0.5)
    x = lfilter([1, slope], [1], x) / (1 + abs(slope))
    if rng.random() < 0.25:
        x = lfilter(*butter(2, (rng.uniform(60, 300), rng.uniform(3000, 6500)), "bandpass", fs=RATE), x)
    level = np.sqrt((x**2).mean()) + 1e-6
    noise = rng.standard_normal(len(x))
    if rng.random() < 0.6:
        noise = lfilter([1], [1, -rng.uniform(0.7, 0.97)], noise)
    x = x + noise / noise.std() * level * 10 ** (-rng.uniform(8, 45) / 20)
    x = x / np.abs(x).max() * 10 ** (-rng.uniform(0.5, 18) / 20)
    out = x.astype(np.float32)
    return through_opus(out, int(rng.integers(10, 32)) * 1000) if rng.random() < 0.3 else out


def through_opus(samples: Floats, rate: int) -> Floats:
    """Coded at ``rate`` bits a second and decoded."""
    import av

    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "mono", "flt", rate
    encoder.options = {"application": "voip"}
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE, "mono"
    resampler = av.AudioResampler("flt", "mono", RATE)
    out = []
    padded = np.pad(samples, (0, -len(samples) % 320))
    for n in range(0, len(padded), 320):
        frame = av.AudioFrame.from_ndarray(padded[None, n : n + 320].astype(np.float32), "flt", "mono")
        frame.sample_rate, frame.pts = RATE, n
        for packet in encoder.encode(frame):
            for heard in decoder.decode(av.Packet(bytes(packet))):
                out += [piece.to_ndarray()[0] for piece in resampler.resample(heard)]
    joined = np.concatenate(out) if out else samples
    return joined[: len(samples)].astype(np.float32)


def real(data: Path | None = None) -> Iterator[tuple[Path, str, str, str]]:
    """The transcribed clips of real voices: file, speaker, text, word times (``word:start-end;...`` or empty)."""
    folder = data_directory(data) / "speech"
    with (folder / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield folder / row["file"], row["speaker"], row["text"], row["word_times_s"] or ""


def lines(found: Sequence[str], words: Sequence[str], rng: np.random.Generator) -> str:
    """What to say next: a sentence, strung words, or GRID's grammar."""
    kind = rng.random()
    if kind < 0.75:
        return str(rng.choice(found))
    if kind < 0.92:
        return " ".join(str(w) for w in rng.choice(words, int(rng.integers(3, 7))))
    return " ".join(str(rng.choice(options)) for options in GRID)
