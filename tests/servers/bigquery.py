"""A stand-in for Google BigQuery: the emulator `local-bigquery`.

Where it is known to differ from the real service:

- `TO_JSON_STRING(STRUCT(id))` names no field; `STRUCT(id AS id)` does. The service names both.
- `TO_JSON_STRING` shows a timestamp as `2024-01-02 03:04:05+00`, the service as
  `2024-01-02T03:04:05Z`; and integers beyond 2^53 as numbers, the service as text.
- It compares a timestamp with a date, and takes JSON in `SELECT DISTINCT`; the service refuses.
- A column may be qualified by its table's path; the service knows a table by the path's last part.
- `SAFE.SUBSTR` of a negative length is empty text, not null.
- It knows `CALL BQ.ABORT_SESSION()` only alone, so that dlt's `begin_transaction()` fails.
- It takes no compressed files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from tests.servers.cache import cache_folder, only_one

_HOST = "127.0.0.1"
_PYTHON = "3.13"
_DUCKDB = "1.5.5"
_OVERRIDE = f"duckdb=={_DUCKDB}"  # it asks for 2, and works with what has a wheel of `ducklake`
_EXTENSIONS = ("ducklake", "spatial")  # from wheels: it would download them at its start
_REQUIREMENTS = (
    "local-bigquery==0.4.0",
    f"duckdb-extensions=={_DUCKDB}",
    *(f"duckdb-extension-{name}=={_DUCKDB}" for name in _EXTENSIONS),
)
_LAUNCHER = Path(__file__).with_name("bigquery_launcher.py")
_IMPORT = "import sys, duckdb_extensions as d; [d.import_extension(x) for x in sys.argv[1:]]"
_SERVES = re.compile(rf"running on http://{re.escape(_HOST)}:(\d+)")
_TOKEN = b'{"access_token": "fake", "expires_in": 3600, "token_type": "Bearer"}'
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.01


class BigQueryServer:
    """The emulator on loopback for as long as a context, or this process, lives.

    It is installed at its first start, into a folder that is kept.
    """

    project = "emulated-project"

    def __enter__(self) -> Self:
        self._numbers = count(1)
        self._private_key = _private_key()
        home = _installed()
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(TemporaryDirectory(prefix="bigquery-")))
            self.token_url = stack.enter_context(_token_server())
            self._process = self._start(home)
            stack.callback(self._stop)
            self.port = self._wait()
            self._client = self._connect()
            stack.callback(self._client.close)
            self._end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    @property
    def pid(self) -> int:
        """Process id of the emulator."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://{_HOST}:{self.port}"

    def new_dataset(self) -> str:
        """A name that no other dataset has; dlt creates the dataset."""
        return f"dataset_{next(self._numbers)}"

    def drop_datasets(self) -> None:
        """Empties it: the more there is in it, the longer each statement takes."""
        for dataset in self._client.list_datasets():
            self._client.delete_dataset(dataset.reference, delete_contents=True)

    def client(self) -> bigquery.Client:
        """Google's own client; it is closed with the server."""
        return self._client

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs a statement with Google's own client and returns its rows."""
        return [row.values() for row in self._client.query_and_wait(sql)]

    @contextmanager
    def in_dataset(self) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
        """A way to run statements in a dataset of their own, in which they name tables alone."""
        dataset = self._client.create_dataset(self.new_dataset())
        names = bigquery.QueryJobConfig(default_dataset=dataset.reference)

        def ask(sql: str) -> list[tuple[Any, ...]]:
            return [row.values() for row in self._client.query_and_wait(sql, job_config=names)]

        yield ask
        self._client.delete_dataset(dataset.reference, delete_contents=True)

    def environment(self) -> dict[str, str]:
        """What leads dlt's destination `bigquery` here."""
        # As one JSON document: dlt takes `token_uri` from nothing else, and asks Google without it.
        credentials = {
            "type": "service_account",
            "project_id": self.project,
            "client_email": f"dlt@{self.project}.iam.gserviceaccount.com",
            "private_key": self._private_key,
            "token_uri": self.token_url,
        }
        return {
            "DESTINATION__BIGQUERY__CREDENTIALS": json.dumps(credentials),
            "BIGQUERY_EMULATOR_HOST": self.url,
            # The real service takes compressed files; the emulator does not.
            "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        }

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _start(self, home: Path) -> subprocess.Popen[bytes]:
        arguments = (_HOST, self.project, str(self.folder / "data"))
        command = [str(_interpreter(home)), str(_LAUNCHER), *arguments]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                # `setpriv` and no `preexec_fn`: Python warns of the latter when there are threads.
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                env=_environment(home),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def _wait(self) -> int:
        """Its port, once it listens there."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (serves := _SERVES.search(self._log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text())
            time.sleep(_POLL_SECONDS)
        return int(serves[1])

    def _connect(self) -> bigquery.Client:
        return bigquery.Client(
            project=self.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.url},
        )

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait(_PATIENCE_SECONDS)


class _TokenHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Give a token to anyone."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(_TOKEN)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def _token_server() -> Iterator[str]:
    """Where anyone gets a token."""
    with ThreadingHTTPServer((_HOST, 0), _TokenHandler) as server:
        thread = Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        thread.start()
        try:
            yield f"http://{_HOST}:{server.server_port}/token"
        finally:
            server.shutdown()
            thread.join()


def _installed() -> Path:
    """The folder of the emulator's environment, made when it is not there or is another one."""
    home = cache_folder() / _REQUIREMENTS[0].replace("==", "-")
    complete, wanted = home / "complete", "\n".join((_PYTHON, _OVERRIDE, *_REQUIREMENTS))
    with only_one(home.with_name(f"{home.name}.lock")):
        if not complete.exists() or complete.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            _install(home)
            complete.write_text(wanted)
    return home


def _install(home: Path) -> None:
    override = home / "override.txt"
    override.write_text(_OVERRIDE)
    python = _interpreter(home)
    _run(home, "uv", "venv", "--no-project", "--python", _find_python(), str(python.parents[1]))
    options = ["--python", str(python), "--override", str(override)]
    _run(home, "uv", "pip", "install", *options, *_REQUIREMENTS)
    _run(home, str(python), "-c", _IMPORT, *_EXTENSIONS, environment=_environment(home))


def _run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{ran.stdout}{ran.stderr}")


def _interpreter(home: Path) -> Path:
    return home / "venv" / "bin" / "python"


def _environment(home: Path) -> dict[str, str]:
    """DuckDB keeps its extensions at home: not in the user's."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TZ": "UTC"}


def _find_python() -> str:
    """A Python of the wanted version here, or its number for uv to find or download one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for path in pyenv.glob(f"versions/{_PYTHON}*/bin/python")]
    if on_path := shutil.which(f"python{_PYTHON}"):
        found.append(on_path)
    return next(filter(_is_wanted, found), _PYTHON)


def _is_wanted(python: str) -> bool:
    """Asks it: pyenv puts names on the path that only run when pyenv is told which version."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    ran = subprocess.run([python, "-c", show], capture_output=True, text=True)
    return ran.stdout.strip() == _PYTHON


def _private_key() -> str:
    """A small one: each client checks it, which takes 5 ms in place of 40."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
