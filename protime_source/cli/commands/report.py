"""`protime report`: the pictures of the warehouse, in one file to send."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protime_source.cli.arguments import Commands, add_pipeline
from protime_source.cli.signals import stop_at_once

if TYPE_CHECKING:
    import dlt

    from protime_source.cli.console import Console

DESCRIPTION = (
    "Draws the eight weeks before this one and the four after it: planned hours, coverage, planned"
    " against clocked, changes at short notice, deleted rows. The page is one file without scripts"
    " or addresses, to mail or to share. It needs the extra `report`, only reads the warehouse, and"
    " names no person."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report", help="draw the plan as a page or an image", description=DESCRIPTION
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write an image")
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes what is asked for, and returns the exit code."""
    stop_at_once("The warehouse was not changed.")

    from protime_source.cli.pipeline import with_warehouse
    from protime_source.errors import SettingsError

    def draw(pipeline: dlt.Pipeline, console: Console) -> int:
        if arguments.html is None and arguments.png is None:
            raise SettingsError(
                "Nothing was drawn, because no file is named. Add --html FILE, or --png FILE."
            )
        check_installed("report", "altair", "vl_convert")

        from protime_source.reporting.page import report

        found = report(pipeline)
        if arguments.html is not None:
            console.show(_written(arguments.html, found.html().encode()))
        if arguments.png is not None:
            console.show(_written(arguments.png, found.png()))
        return 0

    return with_warehouse(arguments, draw)


def check_installed(extra: str, *modules: str) -> None:
    """Refuses to work without the packages of an extra.

    Args:
        extra: Its name.
        modules: Modules of its packages.

    Raises:
        SettingsError: With what to install.
    """
    from importlib.util import find_spec

    from protime_source.errors import SettingsError

    if missing := [module for module in modules if find_spec(module) is None]:
        raise SettingsError(
            f"{' and '.join(missing)} must be installed for this:"
            f' pip install "dlt-source-protime[{extra}]". Nothing was changed.'
        )


def _written(path: Path, content: bytes) -> str:
    from protime_source.errors import SettingsError

    try:
        path.write_bytes(content)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from error
    return f"Written: {path}, {len(content) / 1024:,.0f} KB."
