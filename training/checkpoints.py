"""Checkpoints that survive: written beside the last one and put in its place when whole; that one is kept as well."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from codec.errors import HeadwireError

logger = logging.getLogger(__name__)

LATEST = "checkpoint.pt"
PREVIOUS = "previous.pt"


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write the state of a run. Raises HeadwireError where that fails; the last checkpoint is then as it was."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    latest, partial = folder / LATEST, folder / f"{LATEST}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if latest.exists():
            latest.replace(folder / PREVIOUS)
        partial.replace(latest)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise HeadwireError(
            f"the checkpoint of step {state.get('step')} cannot be written to {folder} ({error.strerror}): the one"
            " before it is still there"
        ) from error
    return latest


def load(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The latest readable state, or None where there never was one. Executes nothing of the file.

    Raises HeadwireError where there are checkpoints and none can be read.
    """
    found = [path for path in (folder / LATEST, folder / PREVIOUS) if path.exists()]
    for path in found:
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, OSError, KeyError, ValueError) as error:
            logger.warning("%s cannot be read: %s", path, str(error).splitlines()[0] if str(error) else "truncated")
            continue
        return state
    if found:
        raise HeadwireError(f"no checkpoint in {folder} can be read: remove the folder to begin anew")
    return None


def description(state: Any) -> dict[str, Any]:
    """What a checkpoint says its network is; nothing where it was not written by ``training.loop``."""
    said = state.get("description") if isinstance(state, dict) else None
    return said if isinstance(said, dict) else {}
