"""What users rely on, as text: names, signatures, commands, settings, columns, exit codes.

    uv run python -m tests.public_api    # writes tests/documentation/api.txt anew

`tests/units/test_api.py` fails while the file says something else than the code.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from functools import cached_property

import protime_source
from protime_source import ProtimeError
from protime_source.api.assignments import Assignments
from protime_source.api.clockings import Clockings
from protime_source.cli.arguments import Parser
from protime_source.cli.main import add_commands
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.operations.lines import CheckLine
from protime_source.operations.status import CollectionStatus, PastRun
from protime_source.pipeline.summary import TableSummary
from protime_source.verification.report import TableReport
from protime_source.warehouse import ledger, receipts
from protime_source.writeback.plan import PlannedRow
from tests.pages import ROOT

WITHIN = (
    Assignments,
    CheckLine,
    Clockings,
    CollectionStatus,
    PastRun,
    PlannedRow,
    TableReport,
    TableSummary,
)
"""Classes that are not exported, because they come within those that are."""

FILE = ROOT / "tests" / "documentation" / "api.txt"


def public_api() -> str:
    """The whole text."""
    parts = {
        "Python": _python(),
        "Commands": _commands(),
        "Sync columns": (
            f"{name} {column['data_type']}{'' if column['nullable'] else ' not null'}"
            for name, column in SYNC_COLUMNS.items()
        ),
        "Ledger": (f"{name} {kind}" for name, (kind, _) in ledger.COLUMNS.items()),
        "Receipts": (f"{name} {kind}" for name, (kind, _) in receipts.COLUMNS.items()),
    }
    return "\n\n".join("\n".join((f"# {title}", *lines)) for title, lines in parts.items()) + "\n"


def _python() -> Iterator[str]:
    values = {name: getattr(protime_source, name) for name in protime_source.__all__}
    for name, value in (values | {each.__name__: each for each in WITHIN}).items():
        if inspect.isclass(value) and issubclass(value, ProtimeError):
            bases = ", ".join(base.__name__ for base in value.__bases__)
            yield f"{name}({bases}): exit code {value.exit_code}"
        elif inspect.isclass(value):
            yield f"{name}{inspect.signature(value)}"
            yield from (f"    {member}" for member in sorted(_members(value)))
        elif callable(value):
            yield f"{name}{inspect.signature(value)}"
        else:
            yield name


def _members(owner: type) -> Iterator[str]:
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property | cached_property):
            yield name
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            yield f"{name}{inspect.signature(getattr(owner, name))}"


def _commands() -> Iterator[str]:
    parser = Parser(prog="protime")
    add_commands(parser)
    yield from _arguments(parser)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    below: list[argparse.ArgumentParser] = []
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below += action.choices.values()
        elif not isinstance(action, argparse._HelpAction):
            found.append(_argument(action))
    yield " ".join((parser.prog, *found))
    for each in below:
        yield from _arguments(each)


def _argument(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    if not action.option_strings:
        return f"[{metavar} ...]" if action.nargs in ("*", "+") else str(metavar)
    option = "|".join(action.option_strings)
    return f"[{option}]" if action.nargs == 0 else f"[{option} {metavar}={action.default}]"


if __name__ == "__main__":
    FILE.write_text(public_api(), encoding="utf-8")
