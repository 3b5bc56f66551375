"""``headwire bench quality``: clips x codecs x rates -> figures by frame and by clip, JSON, CSV and one HTML page.

A run that was interrupted goes on where it stopped; the same inputs give the same JSON, byte for byte, with one worker or
several. Each worker is a process of one thread that measures whole clips.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import canonical, quality_metrics
from bench.bar import Progress, progress_bar
from bench.canonical import Weights
from bench.codecs import MissingCodecError, choose, create_codec
from bench.frechet import by_codec
from bench.quality_cells import DiskError, Measured, Name, Task, code_version, measure, meter, settle, write
from bench.quality_clips import find_clips
from bench.quality_metrics import METRICS
from bench.quality_summary import bd_rates, by_second, summaries
from codec.cache import cache_folder

__all__ = ["DiskError", "Options", "as_csv", "code_version", "dumps", "run"]

SCHEMA = "headwire-quality/2"
CODECS = ("warp", "light", "headgan", "frozen", "raw", "av1", "av1-aom", "vp9", "vp8", "h264", "hevc")
SECONDS = 5.0
EVERY = 5
LONG_SECONDS, LONG_EVERY = 120.0, 19
"""The defaults for ``--clips long``. Every 25th frame would always be one that a video codec at 8 Hz has just coded, never one that it
repeats."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Options:
    """seconds: of each clip at most. every: so many frames one is measured; None: as suits the clips. most: clips.

    cache: where cells are kept. workers: processes, which do not change the figures. weights: of ``bench.canonical``.
    """

    seconds: float | None = None
    every: int | None = None
    most: int | None = None
    cache: Path | None = None
    workers: int = 1
    weights: Weights = ()


def run(
    clips: Path | str | None = None,
    codecs: Sequence[str] = (),
    rates: Sequence[str] = (),
    json_file: Path | str | None = None,
    html_file: Path | str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    beside: Sequence[Path] = (),
) -> dict[str, Any]:
    """Measure, and write what was asked for; a CSV of all frames goes beside the JSON, and Parquet where pyarrow is.

    clips: a folder, a file, ``validation`` (also None) or ``long``. codecs: names of ``bench.codecs.CODECS``, by default
    all. rates: as the codecs call them, by default their own. beside: JSON files of other benchmarks, for the page.
    Clips and cells that fail are in ``failures``, codecs that are not here in ``codecs``. Raises UsageError for unknown
    names and where there is no clip.
    """
    options = options or Options()
    long = str(clips) == "long"
    seconds = options.seconds or (LONG_SECONDS if long else SECONDS)
    every = options.every or (LONG_EVERY if long else EVERY)
    chosen = choose(codecs or CODECS, rates)
    paths = find_clips(None if clips is None else Path(clips), options.most)
    settle()
    here, states = _present(chosen)
    kept = options.cache or cache_folder() / "quality"
    settings: dict[str, Any] = {"seconds": seconds, "every": every, "cells": [list(pair) for pair in chosen]}
    settings |= {"metrics": quality_metrics.VERSION, "weights": canonical.versions(options.weights)}
    report: dict[str, Any] = {"schema": SCHEMA, "settings": settings}
    report |= {
        "codecs": states,
        "not_measured": meter(options.weights).missing,
        "clips": [],
        "cells": [],
        "failures": [],
    }
    strips: dict[Name, Path] = {}
    features: dict[tuple[str, str], list[dict[str, Any]]] = {}
    tasks = [Task(path, start, tuple(here), seconds, every, kept, options.weights) for path, start in paths]
    total = len(tasks) * len(here)
    with progress_bar(progress) as tell:
        for done in _all(tasks, min(options.workers, len(tasks)), lambda what, n: tell(what, n, total)):
            report["clips"] += [done.clip] if done.clip else []
            report["cells"] += done.cells
            report["failures"] += done.failures
            strips |= done.strips
            for (_, codec, rate), of in done.features.items():
                features.setdefault((codec, rate), []).append(of)
        tell("", total, total)
    report["summary"] = summaries(report["cells"])
    over_sets = by_codec(features)
    for row in report["summary"]:
        row |= over_sets[row["codec"], row["rate"]]
    report["by_second"] = by_second(report["cells"])
    report["bd_rate"] = bd_rates(report["cells"])
    if json_file is not None:
        write(Path(json_file), dumps(report).encode())
        write(Path(json_file).with_suffix(".csv"), as_csv(report).encode())
        _write_parquet(report, Path(json_file).with_suffix(".parquet"))
    if html_file is not None:
        from bench.report import page

        write(Path(html_file), page(report, strips, beside).encode())
    return report


def short(report: dict[str, Any]) -> dict[str, Any]:
    """For people: a line a codec and rate, then what did not run."""
    lines: dict[str, Any] = {}
    for row in report["summary"]:
        told = {
            name: row.get(name) for name in ("wire_kbps", "wire_kbps_60s", "lpips", "psnr", "lpips_mouth", "csim_dlib")
        }
        lines[f"{row['codec']} {row['rate']}"] = told
    lines |= {state["name"]: f"missing: {state['missing']}" for state in report["codecs"] if state["missing"]}
    for failure in report["failures"]:
        name = " ".join(str(failure[key]) for key in ("clip", "codec", "rate") if failure[key])
        lines[f"failed: {name}"] = failure["why"]
    return lines


def dumps(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_csv(report: dict[str, Any]) -> str:
    """One line a measured frame."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = _columns(report)
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _columns(report: dict[str, Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("clip", "codec", "rate", "wire_kbps", "total_kbps", "frame", "second", *METRICS)
    }
    for cell in report["cells"]:
        count = len(cell["frames"]["index"])
        for name in ("clip", "codec", "rate", "wire_kbps", "total_kbps"):
            columns[name] += [cell[name]] * count
        columns["frame"] += cell["frames"]["index"]
        columns["second"] += cell["frames"]["second"]
        for name in METRICS:
            columns[name] += cell["frames"].get(name, [None] * count)
    return columns


def _write_parquet(report: dict[str, Any], path: Path) -> None:
    """Nothing where pyarrow is not installed: the CSV holds the same."""
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        return
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(_columns(report)), out)
    write(path, out.getvalue())


def _all(tasks: list[Task], workers: int, tell: Callable[[str, int], None]) -> Iterator[Measured]:
    """The clips in order, whoever measured them. tell: gets what is being measured and how many cells were begun before."""
    begun = 0

    def count(what: str) -> None:
        nonlocal begun
        tell(what, begun)
        begun += 1

    if workers < 2:
        for task in tasks:
            yield measure(task, count)
        return
    context = multiprocessing.get_context("spawn")
    words: Any = context.Queue()
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_listen, initargs=(words,)) as pool:
        futures = [pool.submit(_measure, task) for task in tasks]
        try:
            for future in futures:
                while not future.done():
                    try:
                        count(words.get(timeout=0.2))
                    except queue.Empty:
                        continue
                yield future.result()
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


_words: Any = None


def _listen(words: Any) -> None:
    """In a worker, once: where its words go; and it ends with the process that started it, however that ends."""
    global _words
    _words = words
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _measure(task: Task) -> Measured:
    return measure(task, _words.put)


def _present(chosen: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """What can run here, and the state of every codec."""
    states, missing = [], set()
    for name in dict.fromkeys(codec for codec, _ in chosen):
        codec = create_codec(name)
        state = {"name": name, "about": codec.about, "missing": None}
        try:
            codec.check()
        except MissingCodecError as error:
            state["missing"] = str(error)
            missing.add(name)
        states.append(state)
    return [pair for pair in chosen if pair[0] not in missing], states
