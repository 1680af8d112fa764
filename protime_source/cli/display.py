"""The terminal: progress that is redrawn in place, and colours."""

from __future__ import annotations

import io
import re
from typing import TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from protime_source.cli.console import write
from protime_source.cli.progress import Progress

LINES_BESIDE = 5
"""Lines of a terminal that are left to other things than collections in progress."""

_STYLES = {"error:": "bold red", "warning:": "yellow"}
"""The style of a line's first word."""


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
            get_renderable=self._render,
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
        self._console.print(styled, soft_wrap=True)

    def _render(self) -> Group:
        progress, active = self._progress, self._progress.in_progress
        latest = progress.latest
        head = f"{progress.share()}, {progress.all_rows:,} rows"
        if not progress.has_begun:
            head, latest = latest or "connecting", ""
        elif not active:
            head += "; loading into the destination"
        self._spinner.update(text=Text(head))
        collections = Table.grid(padding=(0, 2, 0, 0))
        for justify in ("left", "right", "right"):
            collections.add_column(justify=justify, no_wrap=True)
        shown = [counts for counts in active if counts.received]
        shown = shown[: max(1, self._console.height - LINES_BESIDE)]
        for counts in shown:
            collections.add_row(
                f"  {counts.table_name}",
                f"{progress.rows(counts.table_name):,} rows",
                Text(f"{counts.rows_per_second:,.0f} a second", style="dim"),
            )
        lines = []
        if others := len(active) - len(shown):
            lines.append(Text(f"  and {others} more", style="dim"))
        if latest:
            lines.append(Text(f"  {latest}", style="dim", overflow="ellipsis", no_wrap=True))
        return Group(self._spinner, collections, *lines)


def show_result(stream: TextIO, text: str) -> None:
    """Shows a table with its titles in the first line, and sentences about it, with colours."""
    styled = Text(text)
    styled.stylize("bold", 0, text.find("\n"))
    styled.highlight_regex(re.compile(r"(?<=  )0(?=\s|$)", re.MULTILINE), "dim")
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
