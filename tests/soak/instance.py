"""An instance: a tenant, its warehouse, the listener, and who else uses the warehouse."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Self

import duckdb
import psycopg2  # type: ignore[import-untyped]

from protime_source.demo import Behaviour, DemoServer, DemoTenant
from tests.command import COMMAND
from tests.engines import DuckDBEngine, Engine
from tests.soak.gauges import Record, of_folder, of_process
from tests.world import World

COLLECTIONS = ("assignments", "absences", "departments")
"""One with a history and most changes, another with a delta, and one without."""

_BEHAVIOUR = Behaviour(
    webhook_loss=0.1, webhook_repeats=1, webhook_lateness=0.5, webhook_validity_hours=0.5
)
_PATIENCE_SECONDS = 300
_READER_SECONDS = 5
_MINUTES_KEPT = 10
"""Of the ledger."""

_TABLES = ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version", "sync_runs")
_ENDS = {
    0: "succeeded",
    3: "failed because of Protime",
    4: "failed because of the warehouse",
    6: "found another one at work",
    -signal.SIGKILL: "were killed",
}
"""Of a run, by its exit code; others are a problem."""

_ANOTHER_AT_WORK = 6
_BUSY = (duckdb.IOException, psycopg2.OperationalError)
_NO_TABLE = (duckdb.CatalogException, psycopg2.errors.UndefinedTable)
_OF_POSTGRES = """
    SELECT pg_database_size(current_database()), COUNT(*) - 1 FROM pg_stat_activity
    WHERE datname = current_database()
"""


class Instance:
    """A listening instance. Everything happens on the thread that calls it.

    Args:
        engine: Its warehouse.
        folder: An empty folder for all else.
        random: Decides.

    Attributes:
        engine: Its warehouse.
        tenant: Its tenant.
        record: What was measured.
        problems: What was found wrong.
        counts: What happened how often.
    """

    def __init__(self, engine: Engine, folder: Path, random: Random) -> None:
        self.engine, self._folder, self._random = engine, folder, random
        self.record, self.problems, self.counts = Record(), list[str](), Counter[str]()
        self.tenant = DemoTenant(rows=1000, page_size=200, behaviour=_BEHAVIOUR)
        self._server = DemoServer(self.tenant)
        self._world = World(self.tenant, self._server, folder, engine)
        self._copy = folder / "copy.duckdb"
        self._runs: list[tuple[subprocess.Popen[bytes], float]] = []

    def __enter__(self) -> Self:
        """Starts the tenant and the listener; waits for neither."""
        self._server.__enter__()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        self._listener = self._start("listen", "--url", url, "--port", str(port), "--every", "5")
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all that it started."""
        for process in (*(process for process, _ in self._runs), self._listener):
            process.kill()
            process.wait()
        self._server.__exit__()

    def change(self) -> None:
        """Changes some records."""
        self.tenant.replan(self._random.randint(1, 4))
        for name, share in (("absences", 0.25), ("departments", 0.1)):
            if self._random.random() < share:
                self.tenant.change_other(name, 2, seed=self._random.randrange(10**9))
        self.counts["changes"] += 1
        self.tenant.clear_requests()

    def run(self) -> None:
        """Starts a run as a scheduler does; every third is killed."""
        is_killed = self._random.random() < 1 / 3
        life = self._random.uniform(0.5, 4) if is_killed else _PATIENCE_SECONDS
        self._runs.append((self._start("run"), time.monotonic() + life))

    def look_after_processes(self) -> None:
        """Kills the runs whose time has come, and judges those that have ended.

        Raises:
            RuntimeError: When the listener has ended.
        """
        for each in list(self._runs):
            process, ends_at = each
            if process.poll() is None and time.monotonic() > ends_at:
                process.kill()
                process.wait()
            if (code := process.returncode) is not None:
                self._runs.remove(each)
                self.counts[f"runs that {_ENDS.get(code, f'ended with {code}')}"] += 1
                if code not in _ENDS:
                    self.problems.append(f"a run ended with {code}: {self._end_of_log('run')}")
        if self._listener.poll() is not None:
            raise RuntimeError(f"the listener has ended: {self._end_of_log('listen')}")

    def read(self) -> None:
        """Reads the table as an analyst does, and the copy where there is one."""
        query = "SELECT COUNT(*), COUNT(DISTINCT id) FROM protime_data.assignments"
        places = [self.engine]
        if self._copy.exists():
            places.append(DuckDBEngine(self._copy))
        for place in places:
            with self._unless_busy():
                [(rows, ids)] = _read(place, query)
                if rows != ids:
                    self.problems.append(f"{rows} rows have {ids} ids")

    def keep_ledger_short(self) -> None:
        """Deletes old rows of the ledger, as docs/listening.md says."""
        with self._unless_busy():
            self.engine.query(
                "DELETE FROM protime_data.sync_runs WHERE started_at"
                f" < CURRENT_TIMESTAMP - INTERVAL '{_MINUTES_KEPT}' MINUTE"
            )

    def sample(self) -> None:
        """Measures."""
        found = of_process(self._listener.pid) | of_folder(self._folder / "dlt")
        with self._unless_busy():
            for table in _TABLES:
                [(count,)] = _read(self.engine, f"SELECT COUNT(*) FROM protime_data.{table}")
                found[f"rows of {table}"] = count
            if isinstance(self.engine, DuckDBEngine):
                found["warehouse, kB"] = self.engine.database.stat().st_size / 1024
            else:
                [(size, connections)] = self.engine.query(_OF_POSTGRES)
                found |= {"warehouse, kB": size / 1024, "connections": connections}
        self.record.samples.append(found)

    def finish(self) -> None:
        """Lets the last changes arrive, compares the tables with the tenant, ends the listener."""
        self.tenant.faults.clear()
        self.tenant.behaviour = Behaviour()
        self.tenant.replan(3)
        while self._runs:
            self.look_after_processes()
            time.sleep(0.2)
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while difference := self._difference():
            if time.monotonic() > give_up_at:
                self.problems.append(f"assignments do not equal the tenant's: {difference}")
                break
            time.sleep(1)
        for command in (("run",), ("verify", "--deep")):  # a run brings what has no delta
            while (code := self._start(*command).wait()) == _ANOTHER_AT_WORK:
                time.sleep(1)
            if code:
                self.problems.append(f"{command} ended with {code}: {self._end_of_log(command[0])}")
        self._listener.send_signal(signal.SIGTERM)
        if self._listener.wait(_PATIENCE_SECONDS) != 128 + signal.SIGTERM:
            self.problems.append(f"the listener ended with {self._listener.returncode}")
        for log in self._folder.glob("*.log"):
            for wrong in ("Traceback", self.tenant.client_secret):
                if wrong in log.read_text():
                    self.problems.append(f"{log} has {wrong}")

    def _start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **self._server.environment(),
            **self.engine.environment(),
            "SOURCES__PROTIME__COLLECTIONS": ",".join(COLLECTIONS),
            "SOURCES__PROTIME__HISTORY": "true",
            "DLT_DATA_DIR": str(self._folder / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "LOAD__DELETE_COMPLETED_JOBS": "true",
        }
        if isinstance(self.engine, DuckDBEngine):
            environment["SOURCES__PROTIME__PUBLISH_TO"] = str(self._copy)
        with (self._folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, command, *options],
                env=environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def _difference(self) -> str:
        """How the table differs from the tenant; empty when it does not."""
        try:
            self._world.check()
        except AssertionError as error:
            return str(error)[:500]
        except _BUSY as error:
            return str(error)
        return ""

    def _end_of_log(self, command: str) -> str:
        return (self._folder / f"{command}.log").read_text()[-1000:]

    @contextmanager
    def _unless_busy(self) -> Iterator[None]:
        """Counts a look, or that it was turned away, or came before the first load."""
        try:
            yield
            self.counts["looks"] += 1
        except _BUSY:
            self.counts["looks that were turned away"] += 1
        except _NO_TABLE:
            self.counts["looks before the first load"] += 1


def _read(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """Asks as somebody who only reads, and tries for some seconds to open a file."""
    if not isinstance(engine, DuckDBEngine):
        return engine.query(query)
    give_up_at = time.monotonic() + _READER_SECONDS
    while True:
        try:
            with duckdb.connect(str(engine.database), read_only=True) as connection:
                return connection.execute(query).fetchall()
        except duckdb.IOException:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
