"""`protime export`: the data model for other tools."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from protime_source.cli.arguments import Commands, add_collections, add_dataset, add_pipeline_name
from protime_source.cli.signals import stop_at_once

DESCRIPTION = (
    "Writes the data model of the collections for other tools: dbt-sources is a sources.yml with"
    " descriptions, tests and freshness; mermaid is an ER diagram; dictionary is a page of Markdown"
    " that says what each table and column means. It needs neither credentials nor a warehouse."
)


def add_parser(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "export",
        help="write dbt's sources, an ER diagram, or a data dictionary",
        description=DESCRIPTION,
    )
    parser.add_argument(
        "what",
        choices=("dbt-sources", "mermaid", "dictionary"),
        metavar="WHAT",
        help="dbt-sources, mermaid or dictionary",
    )
    add_collections(parser, verb="export")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a file to write, not standard output",
    )
    group = parser.add_argument_group("pipeline")
    add_pipeline_name(group)
    add_dataset(group)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the export, and returns the exit code."""
    stop_at_once("Nothing was changed.")

    from protime_source.cli.pipeline import open_console, selected
    from protime_source.configuration import ConfigSections
    from protime_source.exports.dbt import dbt_sources
    from protime_source.exports.dictionary import data_dictionary
    from protime_source.exports.mermaid import er_diagram
    from protime_source.pipeline.failures import explain
    from protime_source.settings import Settings

    with open_console() as console:
        try:
            sections = ConfigSections(pipeline_name=arguments.pipeline)
            settings = Settings.from_config(
                complete=False, sections=sections, **selected(arguments)
            )
            match arguments.what:
                case "dbt-sources":
                    text = dbt_sources(settings, arguments.dataset)
                case "mermaid":
                    text = er_diagram(settings)
                case _:
                    text = data_dictionary(settings)
            _write(text, arguments.output)
        except Exception as error:
            failure = explain(error)
            console.fail(failure.message, failure.exit_code)
            return failure.exit_code
    return 0


def _write(text: str, path: Path | None) -> None:
    """Writes all of it or says why not: half a model would be taken for the whole."""
    from protime_source.cli.console import write
    from protime_source.errors import SettingsError

    if path is None:
        if not write(sys.stdout, text):
            raise SettingsError("The export could not be written to standard output.")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from error
