"""What an exception of a run means to a person: one line, and an exit code."""

from __future__ import annotations

import errno
import re
import signal
from dataclasses import dataclass

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    InvalidNativeValue,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.destination.exceptions import DestinationException, UnknownDestinationModule
from dlt.common.exceptions import SignalReceivedException

from protime_source.api.redaction import redact
from protime_source.errors import ProtimeError, SettingsError, WarehouseError, causes, first_line

STOPPED = 128
"""The exit code of a run stopped by a signal is this and the signal's number, as in shells."""


_FULL_DISK = "No space is left on the disk. Make room, then run again."
_DRIVERS = ("psycopg2", "adbc_driver", "google.")
_SYMPTOMS: tuple[tuple[str, str], ...] = (
    (r"No space left on device|could not write all bytes|disk is full", _FULL_DISK),
    (
        r"Could not set lock on file",
        "The DuckDB file is open in another program, often a notebook. Close it there, then run"
        " again.",
    ),
    (
        r"Cannot open file|read-only mode|Is a directory",
        "The DuckDB file cannot be opened for writing. Check its path and its permissions.",
    ),
    (
        r"permission denied for (?:database|schema)",
        "Postgres does not let this user create what it loads into. Let an administrator say GRANT"
        " CREATE ON DATABASE <database> TO <user>, and the same on schemas that are there.",
    ),
    (
        r"in a read-only transaction",
        "Postgres lets this run read only. Give the user the right to write, and name the primary"
        " server in DESTINATION__POSTGRES__CREDENTIALS.",
    ),
    (
        r"because other objects depend on it",
        "Postgres drops no table that a view of somebody's is built on. Drop the view, run again,"
        " and create it anew.",
    ),
    (
        r"not a valid DuckDB database file",
        "The file is not DuckDB's, or it is broken. Check DESTINATION__DUCKDB__CREDENTIALS. If that"
        " is right, move it away and run again: everything is loaded anew, except what was deleted"
        " in Protime before.",
    ),
    (
        r"Ambiguous reference to catalog or schema",
        "DuckDB cannot hold a dataset in a file of the same name. Name another file in"
        " DESTINATION__DUCKDB__CREDENTIALS.",
    ),
)


@dataclass(frozen=True)
class Failure:
    """A failure, told.

    Attributes:
        message: What is wrong and what to do, on one line.
        exit_code: What the command line answers with; README.md lists them.
    """

    message: str
    exit_code: int


def explain(error: BaseException) -> Failure:
    """Finds the cause below dlt's wrappings and says it in one line, without secrets.

    Args:
        error: What a run raised.
    """
    chain = list(causes(error))
    for cause in chain:
        if failure := _known(cause):
            return failure
    reason = redact(" ".join(first_line(chain[-1]).split())).rstrip(".")
    if any(_is_of_destination(cause) for cause in chain):
        text = f"The destination did not do its part: {reason}. Check its address, credentials and"
        return Failure(f"{text} permissions.", WarehouseError.exit_code)
    return Failure(f"{type(chain[-1]).__name__}: {reason}.", 1)


def _is_of_destination(cause: BaseException) -> bool:
    """Whether a driver of a destination raised it, or dlt in its name."""
    module = type(cause).__module__
    return isinstance(cause, DestinationException) or module.startswith(_DRIVERS)


def _known(cause: BaseException) -> Failure | None:
    match cause:
        case ProtimeError():
            return Failure(str(cause), cause.exit_code)
        case SignalReceivedException(signal_code=number):
            return Failure("Stopped on request.", STOPPED + number)
        case KeyboardInterrupt():
            return Failure("Stopped on request.", STOPPED + signal.SIGINT)
        case TomlProviderReadException():
            return Failure(_unreadable(cause), SettingsError.exit_code)
        case UnknownDestinationModule(ref=name):
            text = (
                f"The setting destination_type is {name!r}, which names no destination of dlt's."
                " Nothing was changed. Set it to duckdb, postgres or bigquery."
            )
            return Failure(text, SettingsError.exit_code)
        case InvalidNativeValue():
            text = (
                "The destination's credentials cannot be read. Nothing was changed. For Postgres"
                " they are a URL like postgresql://user:password@host:5432/database, for DuckDB a"
                " path, for BigQuery the JSON of a service account."
            )
            return Failure(text, SettingsError.exit_code)
        case ConfigFieldMissingException():
            return Failure(_missing_destination(cause), SettingsError.exit_code)
        case OSError(errno=errno.ENOSPC):
            return Failure(_FULL_DISK, WarehouseError.exit_code)
        case OSError(errno=errno.EROFS | errno.EACCES | errno.EPERM, filename=str(path)):
            text = (
                f"{path} cannot be written. dlt keeps what it is about to load in a folder of its"
                " own: give this user the right to write there, or name another in DLT_DATA_DIR."
            )
            return Failure(text, WarehouseError.exit_code)
    for symptom, message in _SYMPTOMS:
        if re.search(symptom, str(cause)):
            return Failure(message + _named_in(str(cause)), WarehouseError.exit_code)
    return None


def _named_in(text: str) -> str:
    """What is in the way, if the engine names it; a file that is being made by its later name.

    A file with a line is Python's, out of a stack trace.
    """
    if view := re.search(r"(\w+ \S+) depends on", text):
        return f" It is {view[1]}."
    named = re.search(r'"(/[^"]*/)(?:\.([^"/]+)\.[^."/]+|([^."/][^"/]*))"(?!, line)', text)
    return f" It is {named[1]}{named[2] or named[3]}." if named else ""


def _unreadable(error: TomlProviderReadException) -> str:
    """What the parser found, without the places that dlt looked at in vain."""
    found = str(error).strip().splitlines()[-1].strip()
    name = error.file_name
    return f"{name} under .dlt/ cannot be read: {found}. Nothing was changed. Text needs quotes."


def _missing_destination(error: ConfigFieldMissingException) -> str:
    return (
        f"The destination's configuration lacks {', '.join(error.fields)}. Nothing was changed. Put"
        " it into .dlt/secrets.toml under [destination.<type>], or into the environment, like"
        " DESTINATION__POSTGRES__CREDENTIALS or DESTINATION__BIGQUERY__CREDENTIALS."
    )
