"""The terminal: progress that is redrawn in place, and colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from protime_source.cli.console import write
from protime_source.cli.progress import Progress

LINES_BESIDE = 5
"""Lines of a terminal that are left to other things than collections in progress."""

COLUMNS_WITH_BAR, BAR_COLUMNS = 96, 16
"""Columns of a terminal that has room for bars, and of a bar."""

_STYLES = {"error:": "bold red", "warning:": "yellow"}
"""The style of a line's first word."""

_RESULT_STYLES = {
    r"^(started UTC)?  +[^\d\n]+\S  +[^\d\n]+$": "bold",  # the titles of a table
    r"(?<=  )(failed|refused)(?=  |$)": "red",
    r"(?<=  )0(?=  |$)": "dim",
    r"^ok(?=  )": "green",
    r"^warning(?=  )": "yellow",
    r"^problem(?=  )": "bold red",
}
"""The styles of what a result shows."""


class Display:
    """Shows progress in place, and lines that stay above it.

    Args:
        stream: The terminal.
        progress: What to show.
    """

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self._progress = progress
        self._console = _console(stream)
        self._spinner = Spinner("dots")
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Begins to show progress."""
        self._live.start()

    def stop(self) -> None:
        """Takes progress away."""
        self._live.stop()

    def line(self, text: str) -> None:
        """Shows one line that stays."""
        first, blank, rest = text.partition(" ")
        styled = Text.assemble((first, _STYLES.get(first, "")), blank, rest)
        self._console.print(styled)

    def render(self) -> Group:
        """Returns what is shown at this moment."""
        progress, active = self._progress, self._progress.in_progress
        latest = progress.latest
        head = f"{progress.of_collections()}, {progress.all_rows:,} rows"
        if not progress.has_begun:
            head, latest = latest or "connecting", ""
        elif not progress.is_reading:
            head += "; loading into the destination"
        self._spinner.update(text=Text(head))
        shown = [name for name in active if progress.rows(name)]
        shown = shown[: max(1, self._console.height - LINES_BESIDE)]
        lines = []
        if waiting := len(active) - len(shown):
            lines.append(Text(f"  {waiting:,} not shown, or waiting", style="dim"))
        if latest:
            lines.append(Text(f"  {latest}", style="dim", overflow="ellipsis", no_wrap=True))
        return Group(self._spinner, self._collections(shown), *lines)

    def _collections(self, names: Sequence[str]) -> Table:
        """A line for each collection, with a bar where its share is known and there is room."""
        progress, has_room = self._progress, self._console.width >= COLUMNS_WITH_BAR
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, overflow="ellipsis")
        for _ in range(5 if has_room else 4):
            table.add_column(justify="right", no_wrap=True)
        for name in names:
            share = progress.share(name)
            bar = ProgressBar(1, share or 0, BAR_COLUMNS, style="dim", complete_style="cyan")
            table.add_row(
                f"  {name}",
                f"{progress.rows(name):,} rows",
                Text(progress.rate(name), style="dim"),
                *([bar if share is not None else ""] if has_room else []),
                progress.percentage(name),
                Text(progress.time_left(name), style="dim"),
            )
        return table


def show_result(stream: TextIO, text: str) -> None:
    """Shows tables, lines that begin with an outcome, and sentences about them, with colours."""
    styled = Text(text)
    for pattern, style in _RESULT_STYLES.items():
        styled.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    _console(stream).print(styled, soft_wrap=True)


def _console(stream: TextIO) -> Console:
    file = cast(TextIO, _Forgiving(stream))
    return Console(file=file, force_terminal=True, highlight=False)


class _Forgiving(io.TextIOBase):
    """A stream that takes whatever is written to it: see `write`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The terminal's."""
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Writes as well as the terminal can."""
        write(self._stream, text)
        return len(text)

    def isatty(self) -> bool:
        """It is a terminal."""
        return True

    def fileno(self) -> int:
        """The terminal's, whose size rich asks for."""
        return self._stream.fileno()
