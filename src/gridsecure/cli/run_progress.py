"""How far a run is: bars on a terminal, and a line at a time where the output goes elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as ElapsedColumn
from rich.text import Text

from gridsecure.cli.run_result import Stage

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


@dataclass(slots=True)
class RunStages:
    """Shows the stages of a run, and keeps what each took.

    Args:
        ctrl_c: Set once Ctrl-C was pressed, which ends the run before its next stage.
        label: Stands before a stage where it is shown: the month, where there are several.
    """

    progress: RunProgress
    ctrl_c: Event
    label: str = ""
    done: list[Stage] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """Show that a stage begins."""
        self.progress.begin(self.label + name)

    def advance(self, name: str, done: int, of: int | None) -> None:
        """Show how far it is."""
        self.progress.advance(self.label + name, done, of)

    def end(self, name: str) -> None:
        """Show that it is over."""
        self.progress.end(self.label + name)

    @contextmanager
    def part(self, name: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show a part of a stage."""
        self.begin(name)
        yield partial(self.advance, name)
        self.end(name)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[..., None]]:
        """Time a stage, show it, and keep it for the closing table.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before.
        """
        if self.ctrl_c.is_set():
            raise KeyboardInterrupt
        self.begin(name)
        started = time.monotonic()
        stage = Stage(name, 0.0)

        def note(count: str, size: int | None = None) -> None:
            nonlocal stage
            stage = replace(stage, count=count, size=size)

        yield note
        self.end(name)
        self.done.append(replace(stage, seconds=time.monotonic() - started))

    def fold(self, since: int, *, name: str, count: str) -> None:
        """Keep one line in place of all stages since so many."""
        seconds = sum(one.seconds for one in self.done[since:])
        self.done[since:] = [Stage(name, seconds, count)]
