"""Runs in a process of their own that is killed or stopped at a named point of dlt's writing."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import get_ident
from typing import Any, Literal

import dlt

from protime_source import protime
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from protime_source.pipeline.recovery import load_pending
from tests.circumstances import Circumstances
from tests.engines import BigQueryEngine, DuckDBEngine, DuckLakeEngine, Engine, PostgresEngine
from tests.processes import CONTEXT, fork
from tests.world import World

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")
_PATIENCE_SECONDS = 120.0


def _always(*_: Any, **__: Any) -> bool:
    return True


def _is_ours(_: Any, __: str, file_name: str, *___: Any) -> bool:
    """A job that loads rows of ours into the staging table, by its file."""
    return file_name.startswith("assignments.") and not file_name.endswith(".sql")


def _loads_ours(job: Any, *_: Any) -> bool:
    return _is_ours(job, "", job.file_name())


def _holds_package(pipeline: dlt.Pipeline, *_: Any) -> bool:
    """Whether the state is saved because a package was extracted."""
    return bool(pipeline.list_extracted_load_packages())


def _merges(_: Any, statements: Any, *__: Any) -> bool:
    return any("MERGE INTO" in statement.upper() for statement in statements)


def _is_unfinished(path: Any, *_: Any, **__: Any) -> bool:
    """The file that becomes the database, by its name."""
    name = Path(str(path)).name
    return name.startswith(".") and ".duckdb." in name


def _is_there(path: Any, *more: Any, **named: Any) -> bool:
    """Whether there is such a file to remove; a run first looks for what another one has left."""
    return _is_unfinished(path, *more, **named) and os.path.exists(path)


@dataclass(frozen=True)
class KillPoint:
    """A function, and which of its calls count.

    Attributes:
        owner: Where it is: a module, and what is in there.
        function: Its name.
        counts: Whether a call, by its arguments, is one of those meant.
    """

    owner: str
    function: str
    counts: Callable[..., bool] = _always


_PACKAGES = "dlt.common.storages.load_package.PackageStorage"
_STORAGE = "dlt.common.storages.load_storage.LoadStorage"
_CLIENT = "dlt.destinations.job_client_impl.SqlJobClientBase"

KILL_POINTS: dict[str, KillPoint] = {
    "extract commit": KillPoint(
        "dlt.extract.storage.ExtractStorage", "commit_new_load_package", _always
    ),
    "state save": KillPoint("dlt.pipeline.pipeline.Pipeline", "_save_state", _holds_package),
    "normalize commit": KillPoint(_STORAGE, "commit_new_load_package"),
    "schema update": KillPoint(_STORAGE, "commit_schema_update"),
    "staging load": KillPoint(
        "dlt.common.destination.client.RunnableLoadJob", "run_managed", _loads_ours
    ),
    "staging load's marker": KillPoint(_PACKAGES, "save_pending_transition", _is_ours),
    "staging load's completion": KillPoint(_PACKAGES, "complete_job", _is_ours),
    "merge statement": KillPoint(
        "dlt.destinations.sql_client.SqlClientBase", "execute_many", _merges
    ),
    "merge transaction": KillPoint("dlt.destinations.job_client_impl.SqlLoadJob", "run"),
    "load record": KillPoint(_CLIENT, "complete_load"),
    "package's marker": KillPoint(_PACKAGES, "complete_loading_package"),
    "package completed": KillPoint(_STORAGE, "complete_load_package"),
}
"""In the order in which a run comes by."""

_PIPELINE = "protime_source.pipeline"

OVERLAP_POINTS: dict[str, KillPoint] = {
    **KILL_POINTS,
    "request": KillPoint("protime_source.api.http.ApiSession", "get"),
    "committed state": KillPoint(f"{_PIPELINE}.destination", "committed_state"),
    "committed state of a pending package": KillPoint(f"{_PIPELINE}.discards", "committed_state"),
    "staged rows": KillPoint(f"{_PIPELINE}.overlaps", "read_staged_rows"),
    "commit taken back": KillPoint(f"{_PIPELINE}.hooks", "take_back"),
}
"""Those, and where a run looks at what another one may have done, or changes it."""

CREATION_POINTS: dict[str, KillPoint] = {
    "unfinished database": KillPoint(
        "protime_source.warehouse.duckdb.duckdb", "connect", _is_unfinished
    ),
    "database's name": KillPoint("shutil.os", "link", _is_unfinished),
    "unfinished database's end": KillPoint("shutil.os", "unlink", _is_there),
}
"""Where DuckDB's file comes into being, once."""

COPY_POINTS: dict[str, KillPoint] = {
    "copy's name": KillPoint("protime_source.warehouse.duckdb_copy.os", "replace", _is_unfinished),
}
"""Where the copy for readers comes into being, after the load."""


@dataclass(frozen=True)
class Errand:
    """What the process does; everything in it can be sent there.

    Attributes:
        destination: Name of dlt's destination, and its arguments.
        dataset: The dataset.
        folder: dlt's working folder.
        environment: The whole environment.
        settings: Arguments of the source. With `max_pages`, one package; else `load`.
        circumstances: What is true of the process alone.
    """

    destination: tuple[str, tuple[str, ...]]
    dataset: str
    folder: str
    environment: Mapping[str, str]
    settings: Mapping[str, Any]
    circumstances: Circumstances

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        kind, arguments = self.destination
        pipeline = dlt.pipeline(
            "protime",
            destination=getattr(dlt.destinations, kind)(*arguments),
            dataset_name=self.dataset,
            pipelines_dir=self.folder,
        )
        with self.circumstances.hold():
            run_or_load(pipeline, self.settings)


def run_or_load(pipeline: dlt.Pipeline, settings: Mapping[str, Any]) -> None:
    """With `max_pages`, loads what is pending, then one package; else `load`."""
    if "max_pages" in settings:
        load_pending(pipeline)
        pipeline.run(protime(**settings))
    else:
        load(pipeline, **settings)


def run_until(name: str, moment: Moment, world: World, *, nth: int = 1, **settings: Any) -> bool:
    """Runs once in another process, which dies before or after the n-th call of a point.

    Args:
        name: One of `KILL_POINTS`, `CREATION_POINTS` or `COPY_POINTS`.
        moment: On which side of the call.
        world: What the run touches.
        nth: Which call of those that count.
        **settings: Arguments of the source.

    Returns:
        Whether it came by the point and died there; otherwise the run went well to its end.
    """
    process, connection = _start(world, [Stop(name, moment, signal.SIGKILL, nth)], settings)
    code = _ended(process)
    with connection:
        reached = _told(connection, 0)
    assert code == (-signal.SIGKILL if reached else 0), f"{name}: exit code {code}"
    return reached


@contextmanager
def stopped_at(name: str, moment: Moment, world: World) -> Iterator[bool]:
    """Runs once in another process, which stands still at a point as long as the context lasts.

    Args:
        name: One of `KILL_POINTS`.
        moment: On which side of the call.
        world: What the run touches.

    Yields:
        Whether it came by the point; otherwise it has ended.
    """
    process, connection = _start(world, [Stop(name, moment, signal.SIGSTOP)], {})
    try:
        with connection:
            yield _told(connection, _PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(process.pid or 0, signal.SIGCONT)
        _ended(process)


class SteppedRun:
    """A run in another process, which stands still at every point until it may go on.

    Args:
        world: What the run touches.
        circumstances: What is true of it alone.
        **settings: Arguments of the source.

    Attributes:
        at: The side and the point where it stands, as `after load record`; empty while it runs,
            and at its end.
        exit_code: That of the command, once it has ended.
    """

    def __init__(
        self, world: World, circumstances: Circumstances | None = None, **settings: Any
    ) -> None:
        stops = [Stop(name, m, signal.SIGSTOP, 0) for name in OVERLAP_POINTS for m in MOMENTS]
        self._process, self._connection = _start(world, stops, settings, circumstances)
        self.at = ""
        self.exit_code: int | None = None

    def go_on(self, patience_seconds: float = 2.0) -> None:
        """Lets it go on to its next point, or to its end.

        Args:
            patience_seconds: How long to look; it may wait for what another run holds.
        """
        if self.at:
            self._send(signal.SIGCONT)
            self.at = ""
        try:
            if self._connection.poll(patience_seconds):
                self.at = self._connection.recv()
        except EOFError:
            self._end()

    def go_on_until(self, at: str) -> None:
        """Lets it go on to a point, which it comes by.

        Args:
            at: The side and the point, as `after load record`.
        """
        while self.at != at:
            self.go_on(_PATIENCE_SECONDS)
            assert self.at, f"never came by: {at}"

    def finish(self) -> None:
        """Lets it go on to its end, if that has not come."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.exit_code is None:
            self.go_on()
            assert time.monotonic() < deadline, "it never ends"

    def kill(self) -> None:
        """Ends it where it is."""
        if self.exit_code is None:
            os.kill(self._process.pid or 0, signal.SIGKILL)
            self._end()

    def _send(self, number: signal.Signals) -> None:
        """Once it stands still: it says where it is just before."""
        status = Path(f"/proc/{self._process.pid}/stat")
        while status.read_text().rpartition(") ")[2][0] not in "TtZ":
            time.sleep(0.0005)
        os.kill(self._process.pid or 0, number)

    def _end(self) -> None:
        self.exit_code, self.at = _ended(self._process), ""
        self._connection.close()


@dataclass(frozen=True)
class Stop:
    """Where a process receives a signal.

    Attributes:
        name: One of `OVERLAP_POINTS`, `CREATION_POINTS` or `COPY_POINTS`.
        moment: On which side of the call.
        signal: Which signal.
        nth: Which call of those that count; 0 for each of them.
    """

    name: str
    moment: Moment
    signal: signal.Signals
    nth: int = 1


def _start(
    world: World,
    stops: Sequence[Stop],
    settings: Mapping[str, Any],
    circumstances: Circumstances | None = None,
) -> tuple[ForkServerProcess, Connection]:
    """Starts a run, which says on the connection that it is at a point."""
    errand = Errand(
        _destination(world.engine),
        world.dataset,
        str(world.folder / "pipelines"),
        dict(os.environ),
        settings,
        circumstances or Circumstances(),
    )
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = fork(_act, errand, stops, theirs)
    theirs.close()
    return process, ours


def _ended(process: ForkServerProcess) -> int | None:
    """The exit code of a process, once it has ended."""
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code


def _act(errand: Errand, stops: Sequence[Stop], parent: Connection) -> None:
    for stop in stops:
        point = {**OVERLAP_POINTS, **CREATION_POINTS, **COPY_POINTS}[stop.name]
        module, _, owner = point.owner.rpartition(".")
        _arm(getattr(importlib.import_module(module), owner), point, stop, parent)
    try:
        errand.run()
    except Exception as error:
        traceback.print_exc()
        sys.exit(explain(error).exit_code)


def _arm(owner: Any, point: KillPoint, stop: Stop, parent: Connection) -> None:
    """Replaces the function by one that counts its calls, and has itself killed or stopped."""
    function, calls = getattr(owner, point.function), 0

    @wraps(function)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        counts = point.counts(*args, **kwargs)
        calls += counts
        is_here = counts and stop.nth in (0, calls)
        if is_here and stop.moment == "before":
            _signal(stop, parent)
        result = function(*args, **kwargs)
        if is_here and stop.moment == "after":
            _signal(stop, parent)
        return result

    setattr(owner, point.function, deadly)


def _signal(stop: Stop, parent: Connection) -> None:
    parent.send(f"{stop.moment} {stop.name}")
    # To this thread: with one to the process, this thread may go on until another has taken it.
    signal.pthread_kill(get_ident(), stop.signal)


def _told(connection: Connection, patience_seconds: float) -> bool:
    """Whether the process said that it was at its point."""
    try:
        return bool(connection.poll(patience_seconds) and connection.recv())
    except EOFError:
        return False


def _destination(engine: Engine) -> tuple[str, tuple[str, ...]]:
    match engine:
        case DuckDBEngine():
            return engine.name, (str(engine.database),)
        case PostgresEngine():
            return engine.name, (engine.url,)
        case BigQueryEngine() | DuckLakeEngine():  # its environment leads there
            return engine.name, ()
    raise TypeError(engine)
