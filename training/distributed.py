"""Processes that train together (``torchrun``), and the sampling slots that each takes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codec.errors import UsageError


@dataclass(frozen=True)
class Group:
    """This process among ``world``. device: where it computes."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def slots(self, batch: int) -> range:
        """This process' part of a batch. Raises UsageError where the batch cannot be shared equally."""
        if batch % self.world:
            raise UsageError(f"a batch of {batch} cannot be shared by {self.world} processes: choose a multiple")
        part = batch // self.world
        return range(self.rank * part, (self.rank + 1) * part)

    def parallel(self, module: nn.Module) -> Any:
        """The module with its gradients averaged over the processes; itself where there is one process."""
        if self.world == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # Buffers (spectral norm's vectors) follow from the weights and are the same everywhere.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.world > 1:
            dist.all_reduce(values)
            values = values / self.world
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world == 1:
            return flag
        said = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return bool(said.item())

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def group(device: str = "auto") -> Iterator[Group]:
    """Join the processes that torchrun started, or be the only one. device: ``auto``, ``cpu`` or ``cuda``.

    Raises UsageError where CUDA is asked for and is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: leave --device out, or use --device cpu")
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    world, rank, local = (int(os.environ.get(k, d)) for k, d in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0)))
    place = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    if world == 1:
        yield Group(0, 1, place)
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Group(rank, world, place)
    finally:
        dist.destroy_process_group()
