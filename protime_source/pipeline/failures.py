"""What an exception of a run means to a person: one line, and an exit code."""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    InvalidNativeValue,
    LookupTraces,
    flatten_traces,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.destination.exceptions import DestinationException, UnknownDestinationModule
from dlt.common.exceptions import SignalReceivedException
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.api.redaction import redact_error
from protime_source.errors import ProtimeError, SettingsError, WarehouseError, causes, first_line
from protime_source.warehouse.dialect import FULL_DISK_ADVICE, Dialect, advice_on, dialects

STOPPED = 128
"""The exit code of a run stopped by a signal is this and the signal's number, as in shells."""


_FORMS = {
    "Postgres": "[destination.postgres] credentials as"
    " postgresql://<user>:<password>@<host>:5432/<database>",
    "DuckDb": "[destination.duckdb] credentials as the path of a file",
    "DuckLake": "[destination.ducklake.credentials] with catalog and storage",
    "Gcp": "[destination.bigquery.credentials] as in the JSON of a service account",
}
"""How credentials are written, by what the names of dlt's classes for them begin with."""


@dataclass(frozen=True)
class Failure:
    """A failure in words.

    Attributes:
        message: What happened and what to do, on one line.
        exit_code: The command line's exit code; docs/running.md lists them.
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
    reason = " ".join(first_line(chain[-1]).split()).rstrip(".! ")
    engine = _engine_of(chain)
    if engine or any(isinstance(cause, DestinationException) for cause in chain):
        where = f"[destination.{engine.name if engine else '<type>'}] credentials"
        text = f"{_what_failed(chain)}: {reason}. Check address, login and rights: {where}."
        return Failure(text, WarehouseError.exit_code)
    return Failure(f"{type(chain[-1]).__name__}: {reason}.", 1)


def ledger_line(error: BaseException) -> str:
    """Returns the cause in one line without secrets and without values of rows.

    What a driver says may quote a row, so of an unknown error only its kind is told.
    """
    redact_error(error)
    chain = list(causes(error))
    known = next(filter(None, map(_known, chain)), None)
    return known.message if known else f"{type(chain[-1]).__name__}: the log says more."


def _engine_of(chain: Sequence[BaseException]) -> Dialect | None:
    """The engine whose driver raised one of some errors."""
    modules = [type(cause).__module__ for cause in chain]
    engines = dialects().values()
    return next((e for e in engines if any(m.startswith(e.drivers) for m in modules)), None)


def _what_failed(chain: Sequence[BaseException]) -> str:
    """What a destination did not do: it may fail before there is anything to load."""
    if any(isinstance(cause, DestinationConnectionError) for cause in chain):
        return "The destination cannot be reached"
    if any(isinstance(cause, PipelineStepFailed) and cause.step == "load" for cause in chain):
        return "Loading into the destination failed"
    return "The destination failed"


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
                " Nothing was changed. Set it to duckdb, ducklake, postgres or bigquery."
            )
            return Failure(text, SettingsError.exit_code)
        case InvalidNativeValue(spec=spec):
            forms = (form for prefix, form in _FORMS.items() if spec.__name__.startswith(prefix))
            text = (
                "The destination's credentials cannot be read. Nothing was changed. Write"
                f" {next(forms, 'what dlt documents for this destination')}."
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
    """Names what is missing, of credentials given in part too, and where this destination's go."""
    traces = [trace for each in error.traces.values() for trace in flatten_traces(each)]
    engines = [engine for engine in dialects() if any(engine in t.sections for t in traces)]
    name = engines[0] if engines else "<type>"
    lacking = ", ".join(_missing_in(error, each) for each in error.fields)
    return (
        f"The destination's configuration lacks {lacking}. Nothing was changed. Add it to"
        f" .dlt/secrets.toml under [destination.{name}], or to the environment, like"
        f" DESTINATION__{name.upper()}__CREDENTIALS."
    )


def _missing_in(error: ConfigFieldMissingException, field: str) -> str:
    """A field that is missing, or the parts of it that are, when the others are there."""
    if not error.was_partially_resolved(field):
        return field
    found = [each for each in error.traces[field] if isinstance(each, LookupTraces)]
    return f"{', '.join(name for each in found for name in each.traces)} in {field}"
