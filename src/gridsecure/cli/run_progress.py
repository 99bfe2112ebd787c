"""How far a run is: bars on a terminal, and a line at a time where the output goes elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as ElapsedColumn
from rich.text import Text

LINE_SECONDS: Final = 10.0
"""A stage that takes long says so this often, where lines are written."""


class RunProgress(Protocol):
    """Shows stages, of which several may be open."""

    def begin(self, stage: str) -> None:
        """A stage begins."""

    def advance(self, stage: str, done: int, of: int | None) -> None:
        """So much of an open stage is done; of None, nobody knows of how much."""

    def end(self, stage: str) -> None:
        """An open stage is over."""


@contextmanager
def show_progress(console: Console) -> Iterator[RunProgress]:
    """Show the progress of a run as fits the console, until the block ends."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, ElapsedColumn(), console=console) as progress:
        yield _Bars(progress)


@dataclass(slots=True)
class _Bars:
    """A bar a stage, redrawn in place."""

    progress: Progress
    _tasks: dict[str, TaskID] = field(default_factory=dict)

    def begin(self, stage: str) -> None:
        self._tasks[stage] = self.progress.add_task(stage, total=None)

    def advance(self, stage: str, done: int, of: int | None) -> None:
        self.progress.update(self._tasks[stage], total=of, completed=done)

    def end(self, stage: str) -> None:
        self.progress.update(self._tasks.pop(stage), total=1, completed=1)


@dataclass(slots=True)
class _Lines:
    """A line when a stage begins, and now and then while it lasts; each is written at once."""

    console: Console
    _started: float = field(default_factory=time.monotonic)
    _last: float = 0.0

    def begin(self, stage: str) -> None:
        self._line(stage)

    def advance(self, stage: str, done: int, of: int | None) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._line(f"{stage}: {done:,}" + ("" if of is None else f" of {of:,}"))

    def end(self, stage: str) -> None:
        """The next line says it."""

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        minutes, seconds = divmod(int(self._last - self._started), 60)
        self.console.print(Text(f"{minutes:02}:{seconds:02}  {text}"), soft_wrap=True)
