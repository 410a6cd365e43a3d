"""The progress display of a run: live on a terminal, one line per event in a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bibench.cli.output import duration
from bibench.execution.runner import Display

if TYPE_CHECKING:
    from bibench.execution.worker import Result
    from bibench.suite.cell import Cell


class LineDisplay(Display):
    """One line when a cell ends."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._ended = console, total, 0
        self._latest: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def start(self, worker: int, cell: Cell) -> None:
        self._latest.pop(worker, None)

    def event(self, worker: int, event: dict[str, Any]) -> None:
        self._latest[worker] = event

    def end(self, worker: int, cell: Cell, result: Result, seconds: float) -> None:
        self._ended += 1
        self._say(self._line(worker, cell, result, seconds))

    def note(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _line(self, worker: int, cell: Cell, result: Result, seconds: float) -> str:
        news = self._latest.get(worker, {})
        said = f"{result.status}: {result.reason.splitlines()[0]}" if result.reason else result.status
        if result.status == "done" and news.get("validation") is not None:
            said = f"done, validation {100 * news['validation']:.1f} %"
        return f"[{self._ended:>{len(str(self._total))}}/{self._total}] {cell}: {said} ({duration(seconds / 3600)})"


class LiveDisplay(LineDisplay):
    """A bar for the suite and one for each worker, with the finished cells scrolling above."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console, total)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=console,
            refresh_per_second=4,
        )
        self._suite = self._progress.add_task("all cells", total=total, news="")
        self._bars: dict[int, TaskID] = {}
        self._fractions: dict[int, float] = {}

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._progress.stop()

    def start(self, worker: int, cell: Cell) -> None:
        super().start(worker, cell)
        if worker in self._bars:
            self._progress.remove_task(self._bars[worker])
        name = escape(f"{cell.model} {cell.operator} seed {cell.seed}")
        self._bars[worker] = self._progress.add_task(name, total=1.0, news="starting")

    def event(self, worker: int, event: dict[str, Any]) -> None:
        super().event(worker, event)
        news = f"epoch {min(event['epoch'] + 1, event['epochs'])}/{event['epochs']}"
        if event["loss"] is not None:
            news += f", loss {event['loss']:.3f}"
        if event["validation"] is not None:
            news += f", validation {100 * event['validation']:.1f} %"
        self._progress.update(self._bars[worker], completed=event["fraction"], news=news)
        self._fractions[worker] = event["fraction"]
        self._advance()

    def end(self, worker: int, cell: Cell, result: Result, seconds: float) -> None:
        self._fractions.pop(worker, None)
        super().end(worker, cell, result, seconds)
        self._advance()

    def _advance(self) -> None:
        self._progress.update(self._suite, completed=self._ended + sum(self._fractions.values()))


def make_display(console: Console, total: int) -> LineDisplay:
    """The display that fits the console."""
    return (LiveDisplay if console.is_terminal else LineDisplay)(console, total)
