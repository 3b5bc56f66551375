"""Waiting for the first of several things on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def first(work: Coroutine[Any, Any, Result], *events: asyncio.Event) -> Result | None:
    """The result of ``work``, or None as soon as one of the events is set; ``work`` is then cancelled."""
    task = asyncio.ensure_future(work)
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        pending = [other for other in (task, *waits) if not other.done()]
        for other in pending:
            other.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
