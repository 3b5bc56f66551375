"""Learns the parameter codec's tables from the training people: what is seen, how faces move, how often each number comes.

``run`` fits the face model to every training clip (kept in ``cache/fits``), then finds, one after the other,
1. weights of the mesh's points such that none errs more than another for equal bits (D-optimal design, multiplicative updates);
2. the directions in which faces move, from frame to frame and away from a key, under that metric;
3. by running the encoder itself, the class of every number, the shift of every context and the ladder of distributions.
The same clips give the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.entropy import CLASS_OF_ONE, CLASSES, DIRECT, FREQUENCY_BITS, TOKENS, code_lengths
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.frame_syntax import CAP, START
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import PARAMETERS, Floats, FrameParameters
from codec.quantiser import CONTEXTS, ROLES, TABLES, TURNED, UNIT, Tables, Vectors, unturned
from codec.reconstruction import ON_DRIFT, ON_P, ON_Y
from codec.seen_points import SeenPoints
from codec.smoothing import Smoother
from training.dataset import Split, by_identity, cache_directory, clips, landmarks

DESIGN_STEPS = 20
KEY_AGE = 13
ACKNOWLEDGED_AFTER = 8
"""Frames until a key is acknowledged: a round trip and the rarity of acknowledgements."""

DRIFTING = 9
GOES_ON = 0.8
"""Of the correlation of two movements in a row that is counted on."""

SHORTEST = 50
BAD_FIT_PX = 1.2
PRIOR = 200.0
I_STEP = 16
"""Step of a fit that is coded from nothing, in UNITs."""


@dataclass(frozen=True, eq=False)
class Sequence35:
    """An unbroken run of fits of one person. vectors: (T, 35) float32. neutral: (478, 3) float32."""

    clip: str
    identity: str
    neutral: Floats
    vectors: Floats


@dataclass(frozen=True)
class Rung:
    """frames in a bundle; gain of P; error: pixels of y for one step of P; that times
    ``coarser`` for M and Q (0: not coded). trade, bound: see ``Tables``."""

    name: str
    frames: int
    gain: float
    error: float
    coarser: tuple[float, float] = (1.0, 1.0)
    trade: float = 8.0
    bound: float = 4.0
    lean: int = ON_Y


RUNGS = (
    Rung("normal", 1, 35 / 64, 0.172, trade=14, bound=2.5, lean=ON_P),
    Rung("normal-clean", 1, 3 / 64, 0.1685, trade=14, bound=2.6, lean=ON_DRIFT),
    Rung("normal-coarse", 1, 3 / 64, 0.314, trade=9.5, bound=6, lean=ON_DRIFT),
    Rung("low", 2, 54 / 64, 0.3, (1.2, 1.0)),
    Rung("low-fine", 2, 0.5, 0.17, trade=14, bound=2.5),
    Rung("lowest", 4, 1.0, 0.5, (1.4, 1.8)),
    Rung("lowest-mid", 4, 1.0, 0.28, (1.2, 1.5)),
    Rung("lowest-fine", 4, 1.0, 0.164, trade=10, bound=2.5),
    Rung("robust", 1, 1.0, 0.31),
    Rung("tiny", 4, 1.0, 0.9, (1.2, 0.0)),
)


def fitted(split: Split, model: FaceModel | None = None, cache: Path | None = None) -> list[Sequence35]:
    """Every unbroken run of at least two seconds of that split's clips, fitted with one identity for each person."""
    model = model or FaceModel.load()
    folder = cache_directory(cache) / "fits"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.digest.hex()}_{split}.npz"
    if not path.exists():
        arrays: dict[str, Any] = {}
        for identity, members in by_identity(clips(split=split)).items():
            points = [landmarks(clip) for clip in members]
            person = _identity(model, points)
            for clip, seen in zip(members, points, strict=True):
                arrays[f"{clip.name}|{identity}|vectors"] = _fit(model, person, seen)
                arrays[f"{clip.name}|{identity}|identity"] = person
        with path.open("wb") as file:
            np.savez(file, **arrays)
    found = []
    with np.load(path) as file:
        for name in [n for n in file.files if n.endswith("vectors")]:
            clip, identity, _ = name.split("|")
            neutral = model.neutral(file[f"{clip}|{identity}|identity"])
            vectors = file[name]
            good = np.flatnonzero(~np.isnan(vectors[:, 0]))
            for run in np.split(good, np.flatnonzero(np.diff(good) > 1) + 1):
                if len(run) >= SHORTEST:
                    found.append(Sequence35(clip, identity, neutral, vectors[run]))
    return found


def steadied(sequences: Sequence[Sequence35]) -> list[Sequence35]:
    """The same runs as the sender sends them: after ``codec.smoothing``."""
    out = []
    for sequence in sequences:
        smoother = Smoother()
        frames = [smoother.smooth(FrameParameters.from_vector(v)).vector() for v in sequence.vectors]
        out.append(replace(sequence, vectors=np.array(frames, np.float32)))
    return out


def _identity(model: FaceModel, sequences: Sequence[Floats]) -> Floats:
    fitter = Fitter(model)
    frames = [frame for seen in sequences for frame in seen[:: max(1, len(seen) // 60)]]
    for frame in frames:
        if fitter.fit(frame).residual_px > BAD_FIT_PX:
            fitter.restart()
    return fitter.identity


def _fit(model: FaceModel, identity: Floats, seen: Floats) -> Floats:
    fitter = Fitter(model, identity=identity)
    out = np.full((len(seen), PARAMETERS), np.nan, np.float32)
    for t, frame in enumerate(seen):
        result = fitter.fit(frame)
        if not result.lost and result.residual_px > BAD_FIT_PX:
            fitter.restart()
            result = fitter.fit(frame)
        if not result.lost:
            out[t] = result.parameters.vector()
    return out


def metric(model: FaceModel, sequences: Sequence[Sequence35]) -> tuple[Vectors, NDArray[np.float64]]:
    """(34, 34) G and (478,) weights: |du|^2 under G is the weighted mean square movement of the points, pixels."""
    grams = np.zeros((len(model.mean), TURNED, TURNED))
    count = 0
    for sequence in sequences:
        points = _AllPoints(model, sequence.neutral)
        for t in np.linspace(0, len(sequence.vectors) - 1, 3).astype(int)[1:]:
            j = points.jacobian(sequence.vectors[t]).astype(np.float64)
            grams += np.einsum("adn,bdn->nab", j, j)
            count += 1
    grams /= count
    weight = np.full(len(grams), 1 / len(grams))
    for _ in range(DESIGN_STEPS):
        inverse = np.linalg.inv(np.tensordot(weight, grams, 1))
        variance = np.einsum("nab,ab->n", grams, inverse)
        weight *= (variance / TURNED) ** 0.7
        weight /= weight.sum()
    return np.tensordot(weight, grams, 1), weight


class _AllPoints(SeenPoints):
    def __init__(self, model: FaceModel, neutral: Floats) -> None:
        self._neutral = np.ascontiguousarray(neutral.T, np.float32)
        self._basis = np.ascontiguousarray(model.expression_basis.transpose(0, 2, 1), np.float32)
        self._back = np.eye(TURNED, dtype=np.float32)


def transform(model: FaceModel, sequences: Sequence[Sequence35]) -> tuple[Vectors, Vectors, Vectors]:
    """mean (34,), turn and back (34, 34) of ``Tables``."""
    gram, _ = metric(model, sequences)
    half = np.linalg.cholesky(gram)
    us = [unturned(s.vectors) for s in sequences]
    mean = np.concatenate(us).mean(axis=0)
    step, away = np.zeros((TURNED, TURNED)), np.zeros((TURNED, TURNED))
    steps = aways = 0
    for u in us:
        z = u @ half
        d = _bounded(np.diff(z, axis=0), 4.0)
        step, steps = step + d.T @ d, steps + len(d)
        sofar = np.cumsum(z, axis=0) / np.arange(1, len(z) + 1)[:, None]
        d = _bounded(z[KEY_AGE:] - sofar[:-KEY_AGE], 12.0)
        away, aways = away + d.T @ d, aways + len(d)
    values, vectors = np.linalg.eigh(0.1 * away / aways + 0.7 * step / steps)
    vectors = vectors[:, np.argsort(-values)]
    vectors *= np.where(np.abs(vectors).max(axis=0) == vectors.max(axis=0), 1.0, -1.0)
    turn = (half @ vectors).astype(np.float32).astype(np.float64)
    return mean.astype(np.float32).astype(np.float64), turn, np.linalg.inv(turn)


def _bounded(d: Vectors, limit: float) -> Vectors:
    size = np.sqrt((d * d).sum(axis=1))
    return np.asarray(d * np.minimum(1.0, limit / np.maximum(size, 1e-9))[:, None])


def laplace_ladder() -> NDArray[np.int64]:
    """The ladder to start from: two-sided geometric distributions."""
    return np.stack([_cumulative(_laplace(c)) for c in range(CLASSES)])


def _laplace(number: int) -> NDArray[np.float64]:
    mean = 2.0 ** ((number - CLASS_OF_ONE) / 3)
    theta = mean / (1 + np.sqrt(1 + mean**2))
    p = np.empty(TOKENS)
    edges = np.concatenate((np.arange(DIRECT), DIRECT - 1 + 2.0 ** np.arange(TOKENS - DIRECT + 1)))
    tail = theta ** np.maximum(edges, 1)
    p[0] = (1 - theta) / (1 + theta)
    p[1:] = 2 / (1 + theta) * (tail[1:-1] - tail[2:])
    return np.maximum(p, 1e-12)


def _cumulative(p: NDArray[np.float64]) -> NDArray[np.int64]:
    whole = 1 << FREQUENCY_BITS
    frequency = np.maximum(1, np.floor(p / p.sum() * whole)).astype(np.int64)
    frequency[np.argmax(frequency)] += whole - frequency.sum()
    return np.concatenate(([0], np.cumsum(frequency)))


def tokens(values: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The token of each whole number."""
    magnitude = np.abs(values).astype(np.int64)
    rest = np.maximum(magnitude - DIRECT + 1, 1)
    return np.where(magnitude < DIRECT, magnitude, DIRECT + np.floor(np.log2(rest)).astype(np.int64))


def contexts(values: NDArray[np.int64], base: NDArray[np.int64], tables: Tables) -> NDArray[np.int64]:
    """(F, N) values of frames -> (F, N) context of each, as ``frame_syntax`` finds it."""
    a = np.full(len(values), START, np.int64)
    x = START
    out = np.zeros(values.shape, np.int64)
    for i in range(values.shape[1]):
        out[:, i] = sum((8 * a >= k * x).astype(np.int64) for k in (4, 6, 10, 16))
        a = a - (a >> 3) + np.minimum(np.abs(values[:, i]) * tables.weight[base[i]], CAP)
        x = x - (x >> 3) + int(tables.expected[base[i]])
    return out


def drifts(z: Sequence[Vectors]) -> NDArray[np.int64]:
    """(34,) in 1/64: which part of a number's movement goes on with the next frame, less what coding's noise hides of it; of
    the first DRIFTING numbers, for the others move too little.

    z: (T, 34) runs of frames."""
    moves = [np.diff(run, axis=0) for run in z]
    energy = sum((d**2).sum(axis=0) for d in moves)
    together = sum((d[1:] * d[:-1]).sum(axis=0) for d in moves)
    drift = np.clip(np.rint(64 * GOES_ON * together / energy), 0, 63)
    return np.asarray(np.where(np.arange(TURNED) < DRIFTING, drift, 0), np.int64)


def initial(
    mean: Vectors, turn: Vectors, back: Vectors, drift: NDArray[np.int64], rungs: Sequence[Rung], digest: str
) -> Tables:
    """Tables with every number in the class of magnitude 1."""
    magnitude = 2.0 ** ((np.arange(CLASSES) - CLASS_OF_ONE) / 3)
    step = np.zeros((len(rungs), ROLES), np.int64)
    for r, rung in enumerate(rungs):
        step[r] = [round(UNIT * rung.error / (round(64 * rung.gain) / 64)), 0, 0, I_STEP]
        for role in (1, 2):
            if rung.frames > role:
                step[r, role] = round(UNIT * rung.error * rung.coarser[role - 1])
    return Tables(
        mean, turn, back, laplace_ladder(),
        np.round(256 / (magnitude + 0.5)).astype(np.int64),
        np.maximum(1, np.round(256 * magnitude / (magnitude + 0.5))).astype(np.int64),
        np.array([rung.frames for rung in rungs], np.int64),
        np.array([round(64 * rung.gain) for rung in rungs], np.int64),
        step,
        np.full((len(rungs), ROLES, PARAMETERS), CLASS_OF_ONE, np.int64),
        np.zeros((len(rungs), ROLES, CONTEXTS), np.int64),
        np.array([rung.lean for rung in rungs], np.int64), drift,
        tuple(rung.name for rung in rungs),
        np.array([rung.trade for rung in rungs]), np.array([rung.bound for rung in rungs]), digest,
    )  # fmt: skip


def drive(
    encoder: ParameterEncoder, vectors: Floats, each: Callable[[bytes], None] | None = None, acknowledged: bool = True
) -> None:
    """Encode a call: the first frame's fit is the reference; keys are acknowledged ACKNOWLEDGED_AFTER frames later, or never."""
    from codec.parameter_codec import ParameterDecoder
    from codec.quantiser import to_z

    reference = np.rint(to_z(vectors[0], encoder.tables) * UNIT).astype(np.int64)
    encoder.set_reference(reference)
    decoder = ParameterDecoder(encoder.tables)
    decoder.keys.set_reference(reference)
    waiting: list[tuple[int, tuple[int, int]]] = []
    for t, vector in enumerate(vectors):
        while waiting and waiting[0][0] <= t:
            encoder.acknowledge(*waiting.pop(0)[1])
        data = encoder.encode(vector)
        if data is not None:
            stored = decoder.decode(data).stored
            if stored is not None and acknowledged:
                waiting.append((t + ACKNOWLEDGED_AFTER, stored))
            if each is not None:
                each(data)


def collect(
    tables: Tables, rung: str, sequences: Sequence[Sequence35], model: FaceModel | None
) -> dict[int, NDArray[np.int64]]:
    """role -> (F, N) numbers that the encoder codes at a rung. model: where the mesh takes part in the choice."""
    found: dict[int, list[NDArray[np.int64]]] = {}
    for sequence in sequences:
        points = SeenPoints(model, sequence.neutral, tables) if model else None
        encoder = ParameterEncoder(rung, tables, points)

        def keep(_: bytes, encoder: ParameterEncoder = encoder) -> None:
            for role, values in encoder.last_coded:
                found.setdefault(role, []).append(values)

        drive(encoder, sequence.vectors, keep)
    return {role: np.stack(values) for role, values in found.items()}


def learn(tables: Tables, numbers: dict[tuple[int, int], NDArray[np.int64]], rounds: int = 3) -> Tables:
    """Better base, shift and ladder for these (rung, role) -> (F, N) numbers: by turns, each at least code length."""
    base, shift, ladder = tables.base.copy(), tables.shift.copy(), tables.ladder
    for _ in range(rounds):
        histogram = np.zeros((CLASSES, TOKENS))
        for (rung, role), values in numbers.items():
            lengths = code_lengths(ladder).astype(np.float64)
            token, count = tokens(values), values.shape[1]
            context = contexts(values, base[rung, role], tables)
            counts = np.zeros((count, CONTEXTS, TOKENS))
            for i in range(count):
                np.add.at(counts[i], (context[:, i], token[:, i]), 1)
            choices = np.arange(CLASSES)
            for i in range(count):
                cost = np.zeros(CLASSES)
                for c in range(CONTEXTS):
                    number = np.clip(choices + shift[rung, role, c], 0, CLASSES - 1)
                    cost += lengths[number] @ counts[i, c]
                base[rung, role, i] = np.argmin(cost)
            for c in range(CONTEXTS):
                trial = np.arange(-8, 9)
                cost = np.array([
                    (lengths[np.clip(base[rung, role, :count] + s, 0, CLASSES - 1)] * counts[:, c]).sum() for s in trial
                ]) + 1e-6 * np.abs(trial)  # fmt: skip
                shift[rung, role, c] = trial[np.argmin(cost)]
            for c in range(CONTEXTS):
                np.add.at(
                    histogram, np.clip(base[rung, role, :count] + shift[rung, role, c], 0, CLASSES - 1), counts[:, c]
                )
        ladder = np.stack([
            _cumulative((h + PRIOR * _laplace(c)) / (h.sum() + PRIOR)) for c, h in enumerate(histogram)
        ])  # fmt: skip
    return replace(tables, base=base, shift=shift, ladder=ladder)


def train(
    model: FaceModel, sequences: Sequence[Sequence35], rungs: Sequence[Rung] = RUNGS, every: int = 4, turned: Any = None
) -> Tables:
    """Tables for those rungs. every: one in so many sequences is coded to learn from. turned: ``transform``'s result."""
    mean, turn, back = turned or transform(model, sequences)
    drift = drifts([(unturned(s.vectors) - mean) @ turn for s in sequences])
    tables = initial(mean, turn, back, drift, rungs, model.digest.hex())
    some = sequences[::every]
    fits = np.concatenate([s.vectors[::10] for s in sequences])
    z = (unturned(fits) - mean) @ turn
    integers = np.zeros((len(z), PARAMETERS), np.int64)
    integers[:, :TURNED] = np.rint(z * UNIT / I_STEP)
    for sweep in range(3):
        numbers = {(r, 3): integers for r in range(1)}
        for r, rung in enumerate(rungs):
            for role, values in collect(tables, rung.name, some, model if sweep == 2 else None).items():
                numbers[r, role] = values
        tables = learn(tables, numbers)
    return tables


def run(out: Path = TABLES) -> dict[str, Any]:
    """Learn the tables from the training split and write them; returns what was learned from."""
    model = FaceModel.load()
    sequences = steadied(fitted("train", model))
    tables = train(model, sequences)
    tables.save(out)
    return {"sequences": len(sequences), "frames": sum(len(s.vectors) for s in sequences), "bytes": out.stat().st_size}


if __name__ == "__main__":
    print(run())
