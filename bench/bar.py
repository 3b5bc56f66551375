"""The progress bar of the long benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""What is being measured, how much is done, of how much."""


@contextmanager
def progress_bar(progress: Progress | None) -> Iterator[Progress]:
    """``progress`` itself, or a bar on standard error where that is a terminal, or nothing."""
    if progress is not None or not sys.stderr.isatty():
        yield progress or (lambda _what, _done, _total: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
