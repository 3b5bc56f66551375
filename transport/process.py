"""What both ends of a call ask the operating system: to be told to stop, what they cost, which machine this is."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending the process. Use it on a running event loop."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in numbers:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def machine_id() -> str:
    """Equal in two processes if, and only if, they share the monotonic clock: the same machine since the same boot."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = boot.read_text() if boot.exists() else str(uuid.getnode())
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class ProcessUsage:
    """CPU and memory of this process since it was made."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._cpu = time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return time.monotonic() - self._wall

    @property
    def cpu_percent(self) -> float:
        """Mean CPU, all threads; 100 is one core."""
        return round(100 * (time.process_time() - self._cpu) / max(self.seconds, 1e-9), 2)

    @property
    def rss_mb(self) -> float:
        """Resident memory now, in units of 10^6 bytes."""
        import psutil

        return round(psutil.Process(os.getpid()).memory_info().rss / 1e6, 1)
