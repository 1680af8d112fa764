"""What all commands share of their arguments."""

from __future__ import annotations

import argparse
import sys
from difflib import get_close_matches
from typing import Any, NoReturn, TypeAlias

from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.text import wrap

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where a command adds its parser."""

Arguments: TypeAlias = "argparse._ArgumentGroup"
"""Where an option is added."""

PIPELINE = "protime"
DATASET = "protime_data"


class Parser(argparse.ArgumentParser):
    """A parser whose errors read like all others of the command, and whose help has colours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _formatter, **options})

    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the arguments, and ends with the exit code of a setting."""
        self.print_usage(sys.stderr)
        text = f"error: {message}"
        self.exit(2, "\n".join(wrap(text, "") if sys.stderr.isatty() else [text]) + "\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    from rich_argparse import RichHelpFormatter

    return RichHelpFormatter(prog)


def add_collections(
    parser: argparse.ArgumentParser, *, verb: str, must_be_named: bool = False
) -> None:
    """Adds the collections that a command is about.

    Args:
        parser: The command's.
        verb: What the command does with them.
        must_be_named: Whether the setting `collections` has no say.
    """
    text = f"what to {verb}, like assignments, or all"
    named: dict[str, Any] = {"nargs": "+", "help": text}
    by_default: dict[str, Any] = {
        "nargs": "*",
        "default": [],
        "help": f"{text}; by default, what the setting `collections` names",
    }
    parser.add_argument(
        "collections",
        metavar="COLLECTION",
        type=collection,
        **(named if must_be_named else by_default),
    )
    parser.epilog = f"Collections: {', '.join(COLLECTIONS)}."


def collection(text: str) -> str:
    """Returns the table of a collection, or `all`.

    Raises:
        ArgumentTypeError: When Protime has no such collection.
    """
    names = ("all", *COLLECTIONS)
    name = text.replace("-", "_")
    if name in names:
        return name
    near = get_close_matches(name.lower(), names, 1)
    advice = f"Did you mean {near[0]}?" if near else f"There are {', '.join(COLLECTIONS)}."
    raise argparse.ArgumentTypeError(f"{text!r} is not a collection. {advice} Nothing was changed.")


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which pipeline, and which warehouse."""
    group = parser.add_argument_group("pipeline")
    add_pipeline_name(group)
    group.add_argument(
        "--destination",
        metavar="NAME",
        help="duckdb, ducklake, postgres or bigquery; by default, what dlt's setting"
        " `destination_type` names, or duckdb",
    )
    add_dataset(group)


def add_pipeline_name(group: Arguments) -> None:
    """Adds the option that names the pipeline."""
    group.add_argument(
        "--pipeline",
        default=PIPELINE,
        metavar="NAME",
        help=f"dlt's pipeline; its settings may have sections of their own. Default: {PIPELINE}",
    )


def add_dataset(group: Arguments) -> None:
    """Adds the option that names the dataset."""
    group.add_argument("--dataset", default=DATASET, metavar="NAME", help=f"Default: {DATASET}")
