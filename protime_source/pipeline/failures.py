"""What an exception of a run means to a person: one line, and an exit code."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    InvalidNativeValue,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.destination.exceptions import DestinationException, UnknownDestinationModule
from dlt.common.exceptions import SignalReceivedException

from protime_source.api.redaction import redact_error
from protime_source.errors import ProtimeError, SettingsError, WarehouseError, causes, first_line
from protime_source.warehouse.dialect import FULL_DISK_ADVICE, advice_on

STOPPED = 128
"""The exit code of a run stopped by a signal is this and the signal's number, as in shells."""


_DRIVERS = ("psycopg2", "adbc_driver", "google.")
"""Modules of the destinations' drivers begin with these."""


@dataclass(frozen=True)
class Failure:
    """A failure in words.

    Attributes:
        message: What happened and what to do, on one line.
        exit_code: The command line's exit code; README.md lists them.
    """

    message: str
    exit_code: int


def explain(error: BaseException) -> Failure:
    """Returns the cause that dlt's exceptions wrap, in one line and without secrets.

    Args:
        error: What a run raised.
    """
    redact_error(error)
    chain = list(causes(error))
    for cause in chain:
        if failure := _known(cause):
            return failure
    reason = " ".join(first_line(chain[-1]).split()).rstrip(".")
    if any(_is_of_destination(cause) for cause in chain):
        text = f"Loading into the destination failed: {reason}. Check its address, credentials"
        return Failure(f"{text} and permissions.", WarehouseError.exit_code)
    return Failure(f"{type(chain[-1]).__name__}: {reason}.", 1)


def ledger_line(error: BaseException) -> str:
    """Returns the cause in one line without secrets and without values of rows.

    What a driver says may quote a row, so of an unknown error only its kind is told.
    """
    redact_error(error)
    chain = list(causes(error))
    known = next(filter(None, map(_known, chain)), None)
    return known.message if known else f"{type(chain[-1]).__name__}: the log says more."


def _is_of_destination(cause: BaseException) -> bool:
    """Whether a destination's driver raised it, or dlt on its behalf."""
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
                f"The setting destination_type is {name!r}, which is no destination of dlt."
                " Nothing was changed. Set it to duckdb, postgres or bigquery."
            )
            return Failure(text, SettingsError.exit_code)
        case InvalidNativeValue():
            text = (
                "The destination's credentials cannot be read. Nothing was changed. For Postgres"
                " they are a URL like postgresql://<user>:<password>@<host>:5432/<database>, for"
                " DuckDB a path, for BigQuery the JSON of a service account."
            )
            return Failure(text, SettingsError.exit_code)
        case ConfigFieldMissingException():
            return Failure(_missing_destination(cause), SettingsError.exit_code)
        case OSError(errno=errno.ENOSPC):
            return Failure(FULL_DISK_ADVICE, WarehouseError.exit_code)
        case OSError(errno=errno.EROFS | errno.EACCES | errno.EPERM, filename=str(path)):
            text = (
                f"{path} cannot be written, so this run stopped. dlt keeps what it is about to"
                " load in a folder of its own: give this user the right to write there, or name"
                " another folder in DLT_DATA_DIR."
            )
            return Failure(text, WarehouseError.exit_code)
    advice = advice_on(str(cause))
    return None if advice is None else Failure(advice, WarehouseError.exit_code)


def _unreadable(error: TomlProviderReadException) -> str:
    """What the parser found, without the list of places where dlt looked."""
    found = str(error).strip().splitlines()[-1].strip()
    name = error.file_name
    return f"{name} under .dlt/ cannot be read: {found}. Nothing was changed. Text needs quotes."


def _missing_destination(error: ConfigFieldMissingException) -> str:
    return (
        f"The destination's configuration lacks {', '.join(error.fields)}. Nothing was changed. Add"
        " it to .dlt/secrets.toml under [destination.<type>], or to the environment, like"
        " DESTINATION__POSTGRES__CREDENTIALS or DESTINATION__BIGQUERY__CREDENTIALS."
    )
