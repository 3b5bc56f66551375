"""How well the face model and its fit do, on people that no training step has seen: ``headwire bench face``.

Every figure is of the validation identities of ``training/held_out.tsv``; distances are rms over the 478 points, in units
of the distance between the outer eye corners in the picture (landmarks 33 and 263) unless pixels are named.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.face_rotation import fit_rotation_error, network_rotation_error
from codec.face_model import DEFAULT, GROUPS, FaceModel
from codec.fit_algorithm1 import algorithm1
from codec.fitting import FitResult, FitSettings, Fitter
from codec.parameters import FrameParameters
from codec.smoothing import Smoother
from training import dataset
from training.face_model import lid_opening

FRAME_MS = 1000.0 / dataset.FRAME_RATE
CLOSED = 0.5
"""An eye is closed where its opening is below this share of the same eye's usual opening."""


@dataclass(frozen=True)
class Person:
    """A validation identity. landmarks: (T, 478, 3) pixels by clip, frames with a face only."""

    identity: str
    landmarks: list[NDArray[np.float32]]
    clips: list[dataset.Clip]


def people(data: Path | str | None = None, cache: Path | str | None = None) -> list[Person]:
    """The validation identities with their landmarks."""
    out = []
    for identity, clips in sorted(dataset.by_identity(dataset.clips(data, "validation")).items()):
        found = [dataset.landmarks(clip, cache) for clip in clips]
        out.append(Person(identity, [points[np.isfinite(points).all(axis=(1, 2))] for points in found], clips))
    return out


def whole_identity(model: FaceModel, person: Person) -> NDArray[np.float32]:
    """The identity solved over all of a person's frames."""
    total = sum(len(points) for points in person.landmarks)
    fitter = Fitter(model, settings=replace(FitSettings(), identity_at=(1, 4, 10, 25, 50, total)))
    for points in person.landmarks:
        fitter.restart()
        for row in points:
            fitter.fit(row)
    return fitter.identity


def fit_clip(fitter: Fitter, points: NDArray[np.float32]) -> list[FitResult]:
    """All frames of a clip, in order, from a cold start."""
    fitter.restart()
    return [fitter.fit(row) for row in points]


def _distance(points: NDArray[Any], fitted: NDArray[Any], group: NDArray[Any] | slice) -> NDArray[np.float64]:
    eyes = np.linalg.norm(points[:, 33, :2] - points[:, 263, :2], axis=1)
    squares = ((points[:, group, :2] - fitted[:, group, :2]) ** 2).sum(axis=2).mean(axis=1)
    return np.asarray(np.sqrt(squares) / eyes, np.float64)


def accuracy(model: FaceModel, persons: list[Person]) -> dict[str, Any]:
    """Errors by person: identity from all frames, from the first two seconds, and Algorithm 1 frame by frame."""
    table: dict[str, dict[str, float]] = {}
    for person in persons:
        fitter = Fitter(model, whole_identity(model, person))
        live = Fitter(model)
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for points in person.landmarks:
            meshes = np.stack([fitter.vertices(result.parameters) for result in fit_clip(fitter, points)])
            for name, group in (("error", slice(None)), ("irises", GROUPS["irises"]), ("lips", GROUPS["lips"])):
                rows.setdefault(name, []).append(_distance(points, meshes, group))
            rows.setdefault("error_2s", []).append(np.array([result.residual for result in fit_clip(live, points)]))
            few = points[::10]
            alone = [algorithm1(model, row) for row in few]
            meshes = np.stack(
                [
                    model.project(model.shape(fit.identity, fit.parameters.expression), fit.parameters.camera)
                    for fit in alone
                ]
            )
            rows.setdefault("algorithm1", []).append(_distance(few, meshes, slice(None)))
        table[person.identity] = {name: float(np.concatenate(values).mean()) for name, values in rows.items()}
    figures: dict[str, Any] = {"people": table}
    for name in ("error", "error_2s", "irises", "lips", "algorithm1"):
        values = [row[name] for row in table.values()]
        figures[f"{name}_mean"], figures[f"{name}_worst"] = float(np.mean(values)), float(np.max(values))
        figures[f"{name}_median"] = float(np.median(values))
    return figures


def steadiness(model: FaceModel, persons: list[Person]) -> dict[str, float]:
    """Second differences on still spans, raw and as sent, and the lag of the smoothed mesh behind the fitted one.

    Still: the landmarks, averaged over 5 frames, move by less than 0.25 px a frame (rms) from 3 frames before to 3 after.
    Lag: the delay that best explains smoothed minus fitted by the fitted mesh's velocity, where it moves over 0.8 px a frame.
    """
    sums, moved, count = np.zeros(3), np.zeros(2), 0
    for person in persons:
        fitter = Fitter(model, whole_identity(model, person))
        for points in person.landmarks:
            if len(points) < 24:
                continue
            parameters = [result.parameters for result in fit_clip(fitter, points)]
            smoother = Smoother()
            raw = points[..., :2]
            fitted = np.stack([fitter.vertices(p)[:, :2] for p in parameters])
            sent = np.stack([fitter.vertices(smoother.smooth(p))[:, :2] for p in parameters])
            slow = np.mean([raw[i : len(raw) - 4 + i] for i in range(5)], axis=0)
            speed = np.zeros(len(raw))
            speed[3 : 3 + len(slow) - 1] = np.sqrt(((slow[1:] - slow[:-1]) ** 2).sum(axis=2).mean(axis=1))
            for t in range(6, len(raw) - 6):
                window = speed[t - 3 : t + 4]
                if window.max() < 0.25:
                    for k, track in enumerate((raw, fitted, sent)):
                        second = track[t + 1] - 2.0 * track[t] + track[t - 1]
                        sums[k] += float((second**2).sum(axis=1).mean())
                    count += 1
                elif window.mean() > 0.8 and t > 12:
                    velocity = 0.5 * (fitted[t + 1] - fitted[t - 1])
                    moved += (float(((fitted[t] - sent[t]) * velocity).sum()), float((velocity**2).sum()))
    raw_jitter, fit_jitter, jitter = np.sqrt(sums / max(count, 1))
    return {
        "still_frames": count,
        "jitter_raw_px": float(raw_jitter),
        "jitter_fit_px": float(fit_jitter),
        "jitter_px": float(jitter),
        "jitter_share": float(jitter / max(raw_jitter, 1e-9)),
        "lag_ms": float(FRAME_MS * moved[0] / max(moved[1], 1e-9)),
    }


def openings(model: FaceModel, parameters: list[FrameParameters]) -> NDArray[np.float64]:
    """(T, 2) opening of the eyes that the 28 numbers say, over the neutral's: no identity, no camera."""
    shapes = model.mean + np.tensordot(np.stack([p.expression for p in parameters]), model.expression_basis, 1)
    return lid_opening(shapes) / lid_opening(model.mean)


def blinks(model: FaceModel, persons: list[Person]) -> dict[str, float]:
    """Frames with both eyes closed by the landmarks, and how many of them the 28 numbers alone say are closed."""
    closed = found = opened = false = 0
    for person in persons:
        fitter = Fitter(model, whole_identity(model, person))
        usual = np.median(np.concatenate([lid_opening(points) for points in person.landmarks]), axis=0)
        for points in person.landmarks:
            truth = lid_opening(points) / usual
            said = openings(model, [result.parameters for result in fit_clip(fitter, points)])
            shut = (truth < CLOSED).all(axis=1)
            wide = (truth > 0.75).all(axis=1)
            closed += int(shut.sum())
            found += int((said.mean(axis=1) < 0.65)[shut].sum())
            opened += int(wide.sum())
            false += int((said.mean(axis=1) < 0.65)[wide].sum())
    return {
        "closed_frames": closed,
        "blinks_found": found / max(closed, 1),
        "blinks_false": false / max(opened, 1),
    }


def leak(model: FaceModel, persons: list[Person], noise_px: float = 0.3) -> dict[str, float]:
    """One person's expressions on the next one's face, projected, with noise, fitted anew without knowing the identity.

    Expression: correlation of all 28 numbers about their means, after minus before. Identity: distance of the identity
    found to the true one, and to it from the expression's owner, as a share of the distance between the two people.
    """
    rng = np.random.default_rng(0)
    correlations, kept, drawn = [], [], []
    identities = [whole_identity(model, person) for person in persons]
    for number, person in enumerate(persons):
        face = identities[(number + 1) % len(persons)]
        source = Fitter(model, identities[number])
        before = [result.parameters for result in fit_clip(source, person.landmarks[0])]
        target, blind = Fitter(model, face), Fitter(model)
        rows = [target.vertices(p) for p in before]
        rows = [row + rng.normal(0.0, noise_px, row.shape).astype(np.float32) for row in rows]
        for row in rows:
            blind.fit(row)
        after = fit_clip(Fitter(model, blind.identity), np.stack(rows))
        a = np.stack([p.expression for p in before])
        b = np.stack([result.parameters.expression for result in after])
        correlations.append(np.corrcoef((a - a.mean(axis=0)).ravel(), (b - b.mean(axis=0)).ravel())[0, 1])
        apart = np.linalg.norm(model.neutral(identities[number]) - model.neutral(face))
        kept.append(np.linalg.norm(model.neutral(blind.identity) - model.neutral(face)) / apart)
        away = model.neutral(identities[number]) - model.neutral(face)
        step = model.neutral(blind.identity) - model.neutral(face)
        drawn.append(float((step * away).sum() / (away * away).sum()))
    return {
        "leak_expression_correlation": float(np.mean(correlations)),
        "leak_expression_correlation_worst": float(np.min(correlations)),
        "leak_identity_change": float(np.mean(kept)),
        "leak_identity_towards_source": float(np.mean(drawn)),
    }


def speed(model: FaceModel, persons: list[Person]) -> dict[str, float]:
    """Processor time of ``Fitter.fit`` with the identity held, of smoothing, and of a fit that also learns the identity."""
    points = np.concatenate([person.landmarks[0][:100] for person in persons])
    held, learning = Fitter(model, np.zeros(model.identities, np.float32)), Fitter(model)
    smoother = Smoother()
    results = [held.fit(row) for row in points[:100]]

    def per_frame(job: Callable[[Any], Any], items: list[Any]) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            for item in items:
                job(item)
            best = min(best, (time.process_time() - start) / len(items))
        return 1000.0 * best

    learning.fit(points[0])
    rows = list(points[:100])
    return {
        "fit_ms": per_frame(held.fit, rows),
        "smooth_ms": per_frame(smoother.smooth, [result.parameters for result in results]),
        "fit_learning_ms": per_frame(learning.fit, rows[:40]),
    }


def _known(model: FaceModel, person: Person) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A person's identity and expressions."""
    identity = whole_identity(model, person)
    results = fit_clip(Fitter(model, identity), person.landmarks[0])
    return identity, np.stack([result.parameters.expression for result in results])


def run(
    data: Path | str | None = None, cache: Path | str | None = None, model_path: Path | str | None = None
) -> dict[str, Any]:
    """All figures. Raises UsageError if the clips are not there."""
    model = FaceModel.load(model_path)
    persons = people(data, cache)
    figures: dict[str, Any] = {
        "identities": model.identities,
        "model_bytes": Path(model_path or DEFAULT).stat().st_size,
        "validation_people": len(persons),
        "validation_frames": sum(len(points) for person in persons for points in person.landmarks),
    }
    figures.update(accuracy(model, persons))
    figures.update(steadiness(model, persons))
    figures.update(blinks(model, persons))
    figures.update(leak(model, persons))
    figures.update(fit_rotation_error(model, [_known(model, person) for person in persons]))
    figures.update(network_rotation_error(model))
    figures.update(speed(model, persons))
    return figures


TARGETS = {
    "error_mean": 0.0045,
    "error_worst": 0.0080,
    "error_2s_mean": 0.0055,
    "irises_mean": 0.006,
    "lips_mean": 0.006,
    "jitter_share": 0.4,
    "lag_ms": 10.0,
    "rotation_fit_degrees": 1.0,
    "rotation_network_degrees": 1.0,
    "fit_ms": 0.25,
    "model_bytes": 300_000,
}
LEAST = {"blinks_found": 0.95, "leak_expression_correlation": 0.95}


def report(figures: dict[str, Any]) -> str:
    """The figures as a table in Markdown, with what was aimed at."""
    lines = ["| figure | measured | aim |", "|---|---|---|"]
    for name, value in figures.items():
        if isinstance(value, dict):
            continue
        aim = f"<= {TARGETS[name]:g}" if name in TARGETS else f">= {LEAST[name]:g}" if name in LEAST else ""
        lines.append(f"| {name} | {value:.5g} | {aim} |")
    lines += ["", "| person | error | error_2s | irises | lips | algorithm1 |", "|---|---|---|---|---|---|"]
    for person, row in figures.get("people", {}).items():
        cells = " | ".join(f"{row[name]:.4f}" for name in ("error", "error_2s", "irises", "lips", "algorithm1"))
        lines.append(f"| {person} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(run()))
