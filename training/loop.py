"""The training loop that every network shares: batches, steps, averages, checkpoints, pictures, figures.

A ``Task`` knows the networks and their losses; the loop knows everything else. A run is a folder: ``checkpoint.pt`` and
``previous.pt``, ``log.jsonl``, TensorBoard's events, ``figures.json`` at its end. Starting the same run again goes on
where it was: samples depend on seed and step alone, and weights, averages, optimisers and spectral norm's vectors are
all in the checkpoint, so that on a CPU the result is the same bit for bit.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from torch import Tensor, nn

from codec.errors import HeadwireError, UsageError
from training import checkpoints
from training.distributed import Group, group
from training.pairs import PairBatch
from training.rates import matrix_rate, step_flops

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """How to run.

    run: folder. steps: in all, from the very first. batch: samples a step, over all processes. precision: fp32 or bf16.
    ema: decay of the averaged weights. ``*_every``: steps between; 0 = never. workers: threads that make batches.
    compile: let torch.compile fuse the networks.
    """

    run: Path
    steps: int
    batch: int = 16
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    ema: float = 0.999
    checkpoint_every: int = 1000
    validate_every: int = 5000
    picture_every: int = 500
    log_every: int = 50
    workers: int = 1
    compile: bool = False


class Source(Protocol):
    """Where batches come from: ``training.pairs.PairSource``."""

    def batch(self, step: int, slots: Sequence[int]) -> PairBatch: ...


class Task(ABC):
    """Networks and how they learn.

    modules: by name, all that is trained. optimizers: by name. averaged: names of the modules of which an average is
    kept and shown. description: what a checkpoint must agree on.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averaged: tuple[str, ...]
    description: dict[str, Any]

    @abstractmethod
    def step(self, batch: PairBatch, parallel: dict[str, Any]) -> dict[str, Tensor]:
        """One step of every optimiser. parallel: the modules, to be called where gradients are wanted. Returns the
        losses.
        """

    @abstractmethod
    def pictures(self, batch: PairBatch, averages: dict[str, nn.Module]) -> Tensor:
        """(3, H, W), 0..1: what TensorBoard shows."""

    @abstractmethod
    def validate(self, averages: dict[str, nn.Module]) -> dict[str, float]:
        """Figures on people who are not in training."""


def run(task: Task, source: Source, settings: LoopSettings, parts: Group) -> dict[str, float]:
    """Train to ``settings.steps`` and return the figures, also in ``figures.json``.

    Ctrl-C or a termination signal ends it with a checkpoint. Raises HeadwireError where a loss is no number any more,
    where the checkpoint is of another network, or the last checkpoint cannot be written.
    """
    return _Run(task, source, settings, parts).run()


class _Run:
    def __init__(self, task: Task, source: Source, settings: LoopSettings, parts: Group) -> None:
        if settings.precision not in ("fp32", "bf16"):
            raise UsageError(f"there is no precision {settings.precision!r}: choose fp32 or bf16")
        self.task, self.source, self.settings, self.parts = task, source, settings, parts
        self.slots = parts.slots(settings.batch)
        for module in task.modules.values():
            module.to(parts.device).train()
            if parts.device.type == "cuda":
                layout: Any = {"memory_format": torch.channels_last}
                module.to(**layout)
        self.averages = {name: copy.deepcopy(task.modules[name]).eval().requires_grad_(False) for name in task.averaged}
        self.step = 0
        self._restore()
        self.parallel = {name: parts.parallel(self._compiled(module)) for name, module in task.modules.items()}
        self.writer = _Writer(settings.run) if parts.first else None

    def _compiled(self, module: nn.Module) -> Any:
        return torch.compile(module) if self.settings.compile else module

    def _restore(self) -> None:
        state = checkpoints.load(self.settings.run, self.parts.device)
        if state is None:
            return
        said = checkpoints.description(state)
        if said != self.task.description:
            raise HeadwireError(
                f"{self.settings.run} holds another network: {said}, not {self.task.description};"
                " choose another run folder"
            )
        try:
            for name, module in self.task.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, average in self.averages.items():
                average.load_state_dict(state["averages"][name])
            for name, optimizer in self.task.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise HeadwireError(
                f"the checkpoint in {self.settings.run} was written by another version: choose another run folder"
            ) from error

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "description": self.task.description,
            "modules": {name: module.state_dict() for name, module in self.task.modules.items()},
            "averages": {name: module.state_dict() for name, module in self.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.task.optimizers.items()},
        }

    def run(self) -> dict[str, float]:
        settings, figures = self.settings, {}
        losses: dict[str, Tensor] = {}
        counted, summed, working, waiting = 0, 0, 0.0, 0.0
        flops = 0.0
        with _stop_flag() as stopped, _batches(self.source, self.step, settings, self.slots) as batches:
            while self.step < settings.steps:
                start = time.perf_counter()
                batch = next(batches).to(self.parts.device)
                fetched = time.perf_counter()
                with self._precision():
                    # torch.compile gives up for good on what it first sees being counted.
                    if counted or settings.compile:
                        out = self.task.step(batch, self.parallel)
                    else:
                        out, flops = step_flops(lambda b=batch: self.task.step(b, self.parallel))  # type: ignore[misc]
                self._average()
                self.step += 1
                losses = {k: losses[k] + v.detach() if k in losses else v.detach() for k, v in out.items()}
                counted, summed = counted + 1, summed + 1
                if counted > 1:
                    working += time.perf_counter() - start
                    waiting += fetched - start
                if self._due(settings.log_every) or self.step == settings.steps or self.step == 1:
                    self._log(losses, summed)
                    losses, summed = {}, 0
                if self._due(settings.picture_every) and self.writer:
                    self.writer.picture(self.task.pictures(batch, self.averages), self.step)
                if self._due(settings.checkpoint_every):
                    self._save(last=False)
                if self._due(settings.validate_every) and self.step < settings.steps:
                    self._validate()
                if self.parts.any(stopped[0]):
                    logger.warning("stopped at step %d: start the same run again to go on", self.step)
                    break
        if counted:
            self._save(last=True)
        if counted > 1:
            figures = self._speed((counted - 1) / working, waiting / working, flops)
        if self.step >= settings.steps:
            figures |= self._validate()
        figures["step"] = self.step
        if self.writer:
            self.writer.figures(figures)
            self.writer.close()
        self.parts.wait()
        return figures

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _precision(self) -> Any:
        if self.settings.precision == "bf16":
            return torch.autocast(self.parts.device.type, torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, average in self.averages.items():
            module = self.task.modules[name]
            kept, now = [p.detach() for p in average.parameters()], [p.detach() for p in module.parameters()]
            torch._foreach_lerp_(kept, now, 1 - decay)
            for a, b in zip(average.buffers(), module.buffers(), strict=True):
                a.copy_(b)

    def _log(self, losses: dict[str, Tensor], summed: int) -> None:
        means = self.parts.mean(torch.stack([v.float() for v in losses.values()]))
        values = {k: float(v) / summed for k, v in zip(losses, means, strict=True)}
        bad = [k for k, v in values.items() if not math.isfinite(v)]
        if bad:
            raise HeadwireError(
                f"the loss {bad[0]} is no number at step {self.step}: go on from the checkpoint, slower"
            )
        if self.writer:
            self.writer.scalars(values, self.step)

    def _save(self, last: bool) -> None:
        if self.parts.first:
            try:
                checkpoints.save(self.settings.run, self.state())
            except HeadwireError as error:
                if last:
                    raise
                logger.warning("%s", error)
        self.parts.wait()

    def _validate(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        if self.parts.first:
            figures = self.task.validate(self.averages)
            if self.writer and figures:
                self.writer.scalars({f"validation/{k}": v for k, v in figures.items()}, self.step)
        self.parts.wait()
        return figures

    def _speed(self, steps_per_s: float, waiting: float, flops: float) -> dict[str, float]:
        """samples_per_s; loader_samples_per_s: by itself, in one thread a process; loader_wait: share of the time spent
        waiting for batches; step_tflop a process; matrix_tflops, the measured rate; share: of that rate that training
        reaches; floor_samples_per_s: what the rate alone would allow.
        """
        start = time.perf_counter()
        for step in range(2):
            self.source.batch(step, self.slots)
        loader = 2 * self.settings.batch / (time.perf_counter() - start)
        rate = matrix_rate(self.parts.device, self.settings.precision == "bf16")
        return {
            "samples_per_s": steps_per_s * self.settings.batch,
            "loader_samples_per_s": loader,
            "loader_wait": waiting,
            "step_tflop": flops / 1e12,
            "matrix_tflops": rate / 1e12,
            "share": flops * steps_per_s / rate,
            "floor_samples_per_s": self.settings.batch * rate / flops if flops else 0.0,
        }


@contextmanager
def _batches(source: Source, first: int, settings: LoopSettings, slots: Sequence[int]) -> Iterator[Iterator[PairBatch]]:
    """Batches in order, made ahead by ``workers`` threads."""

    def ahead(pool: ThreadPoolExecutor) -> Iterator[PairBatch]:
        waiting: deque[Future[PairBatch]] = deque()
        for step in range(first, settings.steps):
            waiting.append(pool.submit(source.batch, step, slots))
            if len(waiting) > settings.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    if settings.workers == 0:
        yield (source.batch(step, slots) for step in range(first, settings.steps))
        return
    with ThreadPoolExecutor(settings.workers) as pool:
        try:
            yield ahead(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _stop_flag() -> Iterator[list[bool]]:
    """[False], which becomes [True] at an interrupt or termination signal."""
    flag = [False]

    def stop(number: int, frame: Any) -> None:
        flag[0] = True

    try:
        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Writer:
    """``log.jsonl``, and TensorBoard where it is installed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._log = (folder / "log.jsonl").open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board: Any = SummaryWriter(str(folder))
        except ImportError:
            logger.warning("tensorboard is not installed: pip install 'headwire[train]'")
            self._board = None

    def scalars(self, values: dict[str, float], step: int) -> None:
        line = {"step": step, "time": round(time.time(), 1)} | {k: round(v, 6) for k, v in values.items()}
        self._written(self._log, json.dumps(line) + "\n")
        logger.info("%s", line)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def figures(self, figures: dict[str, float]) -> None:
        """What stands at the end of a run; a full disk costs no more than that."""
        try:
            (self._folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            logger.warning("the figures cannot be written to %s (%s): %s", self._folder, error.strerror, figures)

    @staticmethod
    def _written(file: TextIO, line: str) -> None:
        """A log that cannot be written must not end what it tells of."""
        try:
            file.write(line)
            file.flush()
        except OSError as error:
            logger.warning("the log cannot be written (%s): the training goes on", error.strerror)

    def picture(self, picture: Tensor, step: int) -> None:
        if self._board is not None:
            self._board.add_image("pictures", picture.detach().float().cpu().clamp(0, 1), step)

    def close(self) -> None:
        with suppress(OSError):
            self._log.close()
        if self._board is not None:
            self._board.close()


__all__ = ["LoopSettings", "Source", "Task", "group", "run"]
