"""Where a frame's time goes: medians of the stages of its path."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median


class Stages:
    """Collects durations by stage name; keeps the last 1500 of each (one minute at 25 fps)."""

    def __init__(self) -> None:
        self._durations: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=1500))

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the body of the ``with`` statement as one run of ``stage``."""
        start = time.perf_counter()
        yield
        self._durations[stage].append(time.perf_counter() - start)

    def medians_ms(self) -> dict[str, float]:
        """Stage name -> median, ms."""
        return {stage: round(1000 * median(d), 3) for stage, d in self._durations.items()}
