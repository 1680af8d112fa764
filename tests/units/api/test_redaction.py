"""No token and no secret in a log or in an error."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import unquote

import dlt
import msgspec
import pyarrow.parquet as pq
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import (
    ApiError,
    Assignment,
    Client,
    SettingsError,
    UnavailableError,
    WarehouseError,
    protime,
)
from protime_source.api.http import ApiSession
from protime_source.api.pages import iter_pages
from protime_source.api.redaction import (
    RedactingFilter,
    redact,
    redact_http_logs,
    redacted,
    register_secret,
)
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Fault
from protime_source.demo.faults import FaultKind
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from tests.engines import PostgresEngine
from tests.servers.postgres import PostgresServer
from tests.world import World

LINK = f"{ASSIGNMENTS.path}?filter=date ge '2026-01-01'&continuationToken=aB+/1=&deltaToken=cD+/2="
decode = msgspec.json.Decoder(dict[str, Any]).decode


def first(world: World) -> str:
    return f"{ASSIGNMENTS.path}/{next(iter(world.tenant.records))}"


def test_a_secret_that_is_no_valid_text_is_redacted() -> None:
    """The environment has it where a byte of it is no UTF-8."""
    register_secret("a-secret-\udc80")
    assert redact("no a-secret-\udc80 here") == "no *** here"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("/delta?deltaToken=aB+/1==", "/delta?deltaToken=***"),
        ("/delta?deltaToken=aB%2B%2F1%3D", "/delta?deltaToken=***"),
        ("?continuationToken=a&deltaToken=b&x=c", "?continuationToken=***&deltaToken=***&x=c"),
        ("?DELTATOKEN=a", "?DELTATOKEN=***"),
        ('"GET /d?deltaToken=a HTTP/1.1" 200', '"GET /d?deltaToken=*** HTTP/1.1" 200'),
        ("url: /d?deltaToken=a (Caused by b)", "url: /d?deltaToken=*** (Caused by b)"),
        ("client_id=a&client_secret=b&scope=c", "client_id=***&client_secret=***&scope=c"),
        ("access_token=a.b-c_d", "access_token=***"),
        ("Authorization: Bearer ey.J0-x_y", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer ey.J0'}", "{'authorization': 'bearer ***'}"),
        ('{"client_secret": "a b&c"}', '{"client_secret": "***"}'),
        ('{"access_token":"a","x":"b"}', '{"access_token":"***","x":"b"}'),
        (r'"{\"client_secret\": \"ab\"}"', r'"{\"client_secret\": \"***\"}"'),
        ("{'access_token': 'a'}", "{'access_token': '***'}"),
        (
            "dsn postgresql+psycopg2://me:pw@host:5432/db",
            "dsn postgresql+psycopg2://***@host:5432/db",
        ),
        ("postgres//me:p@s/s:w@host/db, next", "postgres//***@host/db, next"),
        ("https://token@host/path", "https://***@host/path"),
        ("https://host:443/path?mail=a@b", "https://host:443/path?mail=a@b"),
        ("https://host/path?mail=a@b", "https://host/path?mail=a@b"),
        ("postgresql://<user>:<password>@<host>/", "postgresql://<user>:<password>@<host>/"),
        ("host=h password=pw sslmode=x", "host=h password=*** sslmode=x"),
        ("user=u password='p w' port=1", "user=u password=*** port=1"),
        ("md:warehouse?motherduck_token=ey.J0&x=1", "md:warehouse?motherduck_token=***&x=1"),
        ("{'password': 'pw'}", "{'password': '***'}"),
        ('to translate host name "e@nd@host" to', 'to translate host name "***@host" to'),
        (
            "-----BEGIN PRIVATE KEY-----\\nMII\n-----END PRIVATE KEY-----\\n",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\\n",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", "-----BEGIN RSA PRIVATE KEY-----***"),
        ("nothing to hide: token", "nothing to hide: token"),
        ("Check client_id, client_secret: they", "Check client_id, client_secret: they"),
        ("", ""),
    ],
)
def test_tokens_are_replaced_and_the_rest_is_kept(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "shown", ['no "qu/ot" e here', r'{"message": "no \"qu/ot\" e here"}', "no=%22qu%2Fot%22%20e"]
)
def test_a_registered_secret_is_redacted_in_any_encoding(shown: str) -> None:
    register_secret('"qu/ot" e')
    assert "***" in redact(shown)
    assert "ot" not in redact(shown)


def test_all_texts_in_what_dlt_keeps_of_an_error_are_redacted() -> None:
    kept = [{"message": "password=pw", "attrs": {"native_value": "pw", "retry": 1}}, ("Bearer t",)]
    wanted = [{"message": "password=***", "attrs": {"native_value": "***", "retry": 1}}]
    assert redacted(kept) == [*wanted, ("Bearer ***",)]


def test_a_value_that_is_too_short_is_not_registered() -> None:
    register_secret("the")
    register_secret("")
    assert redact("Check the network") == "Check the network"


def test_the_client_secret_stays_registered_after_a_thousand_tokens(
    world: World, session: ApiSession
) -> None:
    for number in range(1000):
        register_secret(f"some token {number}", expires=True)
    session.get(first(world), decode)
    assert redact(f"It is {world.tenant.client_secret}.") == "It is ***."
    assert redact("some token 1 some token 999") == "some token 1 ***"


def test_the_filter_redacts_the_arguments_of_a_record() -> None:
    arguments = ("/d?deltaToken=abc", 200)
    record = logging.LogRecord("x", logging.DEBUG, "", 1, "GET %s %d", arguments, None)
    assert RedactingFilter().filter(record)
    assert record.getMessage() == "GET /d?deltaToken=*** 200"


def test_the_filter_is_added_once() -> None:
    redact_http_logs()
    redact_http_logs()
    filters = logging.getLogger("urllib3.connectionpool").filters
    assert sum(isinstance(each, RedactingFilter) for each in filters) == 1


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 400, "body": '{"error": {"message": "no deltaToken=cD+/2="}}'},
    {"kind": "status", "status": 400, "body": '{"validationErrors": ["deltaToken=cD+/2="]}'},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 410},
    {"kind": "status", "status": 418},
    {"kind": "status", "status": 429, "retry_after": 0},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 200, "body": "[1]"},
    {"kind": "expired_token"},
    {"kind": "redirect", "location": "http://elsewhere.invalid/?deltaToken=cD+/2="},
    {"kind": "drop"},
    {"kind": "html"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_error_shows_a_token(world: World, session: ApiSession, fault: dict[str, Any]) -> None:
    world.tenant.faults.append(Fault(**fault, times=99))
    with pytest.raises(ApiError) as caught:
        session.get(LINK, decode)
    check_no_secret(world, caught.value)


@pytest.mark.parametrize("kind", ["cut", "truncated_json"])
def test_no_error_of_a_truncated_page_shows_a_token(
    world: World, session: ApiSession, kind: Any
) -> None:
    world.tenant.faults.append(Fault(kind, times=99))
    with pytest.raises(UnavailableError) as caught:
        session.get(f"{ASSIGNMENTS.path}?filter=date ge '2026-01-01'&delta", decode)
    check_no_secret(world, caught.value)


def test_no_error_of_an_unreachable_host_shows_a_token(world: World, session: ApiSession) -> None:
    session.get(first(world), decode)
    world.server.__exit__(None, None, None)
    with pytest.raises(UnavailableError, match="Connection refused") as caught:
        session.get(LINK, decode)
    check_no_secret(world, caught.value)


ECHOES = {
    "form": "client_secret={secret}&access_token={token}",
    "JSON": '{{"client_secret": "{secret}", "access_token":"{token}"}}',
    "bare": "{secret} and {token} are not what I expect",
}
BODIES: dict[str, Any] = {
    "description": {"error": "ECHO", "error_description": "ECHO"},
    "error": {"error": "ECHO"},
    "API": {"error": {"code": "ECHO", "message": "ECHO", "reasons": ["ECHO"]}},
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("place", BODIES)
def test_an_error_repeats_no_secret_that_a_server_sends_back(
    world: World, session: ApiSession, log: pytest.LogCaptureFixture, echo: str, place: str
) -> None:
    session.get(first(world), decode)
    fault, secrets = echo_secrets(world, echo, place)
    world.tenant.revoke_tokens()
    with pytest.raises(ApiError) as caught:
        session.get(first(world), decode)
    assert fault.matched_requests
    shown = "".join(traceback.format_exception(caught.value)) + log.text
    assert "***" in str(caught.value)
    assert not [secret for secret in secrets if secret in shown]


def test_a_run_repeats_no_secret_that_a_server_sends_back(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    """It knows the token of the run before."""
    outcome(world, {})
    _, secrets = echo_secrets(world, "bare", "API")
    shown = f"{outcome(world, {})} {log.text}"
    assert "***" in shown
    assert not [secret for secret in secrets if secret in shown]


def echo_secrets(world: World, echo: str, place: str) -> tuple[Fault, set[str]]:
    """Makes the tenant answer with its secret and a token that it has issued; returns those."""
    issued = {request.headers["Authorization"] for request in world.tenant.api_requests}
    secrets = {world.tenant.client_secret} | {each.removeprefix("Bearer ") for each in issued}
    text = ECHOES[echo].format(secret=world.tenant.client_secret, token=max(secrets, key=len))
    body = json.dumps(BODIES[place]).replace("ECHO", json.dumps(text)[1:-1])
    where = "" if place == "API" else "/connect/token"
    fault = Fault("status", status=400, body=body, where=where, times=99)
    world.tenant.faults.append(fault)
    return fault, secrets


def check_no_secret(world: World, error: ApiError) -> None:
    """Neither the text nor the whole traceback, which a log may show, holds a secret."""
    assert len(str(error).splitlines()) == 1
    shown = "".join(traceback.format_exception(error))
    secrets = {"aB+/1", "cD+/2", "aB%2B%2F1", "cD%2B%2F2", *secrets_used(world)}
    assert not [secret for secret in secrets if secret in shown]


def secrets_used(world: World) -> set[str]:
    """Bearer tokens, link tokens encoded and not, and the client's secret."""
    requests = world.tenant.api_requests
    bearer = {request.headers["Authorization"].removeprefix("Bearer ") for request in requests}
    links = {
        token
        for request in requests
        for token in re.findall(r"(?:continuation|delta)Token=([^&]+)", request.query)
    }
    return bearer | links | set(map(unquote, links)) | {world.tenant.client_secret}


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """The records of all loggers at DEBUG, those that do not propagate included."""
    # The filter of an earlier test's session would hide that this one's has added none.
    monkeypatch.setattr(logging.getLogger("urllib3.connectionpool"), "filters", [])
    known = [logging.getLogger(name) for name in [*logging.root.manager.loggerDict, "urllib3"]]
    separate = [logger for logger in known if not logger.propagate]
    caplog.set_level(logging.DEBUG)
    for logger in known:
        caplog.set_level(logging.DEBUG, logger.name)
    for logger in separate:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in separate:
        logger.removeHandler(caplog.handler)


def test_a_full_load_and_its_delta_log_no_token(
    log: pytest.LogCaptureFixture, world: World, session: ApiSession
) -> None:
    world.tenant.faults.append(Fault("status", status=429, retry_after=0, where="deltaToken"))
    world.tenant.faults.append(Fault("drop", where="deltaToken", after=2))
    start = ASSIGNMENTS.delta_start(date(date.today().year, 1, 1))
    *_, last = iter_pages(session, ASSIGNMENTS, start)
    assert last.delta_link is not None
    list(iter_pages(session, ASSIGNMENTS, last.delta_link))
    world.server.__exit__(None, None, None)
    with pytest.raises(UnavailableError):
        list(iter_pages(session, ASSIGNMENTS, last.delta_link))
    check_log(world, log, "deltaToken=***", "continuationToken=***")


def test_a_load_logs_no_token(world: World, log: pytest.LogCaptureFixture) -> None:
    world.run()
    world.tenant.churn(5)
    world.run()
    check_log(world, log, "deltaToken=***", "continuationToken=***")


def test_single_records_log_no_token(world: World, log: pytest.LogCaptureFixture) -> None:
    with Client.from_config() as client:
        id_ = client.assignments.create(Assignment(person_id=1, from_date=date(2026, 3, 10)))
        world.tenant.revoke_tokens()
        assignment = client.assignments.get(id_)
        client.assignments.update(id_, replace(assignment, comments="x"))
        client.assignments.delete(id_)
    check_log(world, log, f"{ASSIGNMENTS.path}/{id_}")


def check_log(world: World, log: pytest.LogCaptureFixture, *expected: str) -> None:
    """The log has the text beside the secrets, and no secret."""
    assert all(text in log.text for text in expected)
    assert not [secret for secret in secrets_used(world) if secret in log.text]


FAILURES: list[FaultKind] = ["expired_token", "drop", "truncated_json", "html", "status"]


@pytest.mark.parametrize(
    ("given", "failures"),
    [("environment", FAILURES), ("arguments", ["status"]), ("secrets.toml", ["status"])],
)
def test_nothing_that_a_run_leaves_behind_holds_a_secret(
    world: World,
    log: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    failures: list[FaultKind],
) -> None:
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    arguments = give(world, monkeypatch, given)
    outcomes = [outcome(world, arguments)]
    world.tenant.churn(5)
    outcomes.append(outcome(world, arguments))
    world.tenant.steal_delta()
    outcomes.append(outcome(world, arguments))
    for failure in failures:
        world.tenant.faults[:] = [Fault(failure, times=99)]
        outcomes.append(outcome(world, arguments))
    assert ["Error" in each for each in outcomes] == [False] * 3 + [True] * len(failures)
    statuses = {request.status for request in world.tenant.api_requests}
    assert statuses >= ({200, 410, 401, 0, 500} if failures == FAILURES else {200, 410, 500})
    check_remains(world, [*outcomes, log.text, *capfd.readouterr(), *remains(world)])


def give(world: World, monkeypatch: pytest.MonkeyPatch, given: str) -> dict[str, Any]:
    """Provides the settings in one of the three ways; returns those that are arguments."""
    settings = world.server.settings()
    if given == "environment":
        return {}
    for name in settings:
        monkeypatch.delenv(f"SOURCES__PROTIME__{name.upper()}")
    if given == "arguments":
        return settings
    provider = dlt.secrets.writable_provider
    monkeypatch.setattr(provider, "_config_doc", {"sources": {"protime": settings}})
    return {}


def outcome(world: World, arguments: dict[str, Any]) -> str:
    """Runs; returns the error and dlt's trace, shown in every way that there is."""
    pipeline, shown = world.pipeline(), ""
    try:
        pipeline.run(protime(**arguments))
    except PipelineStepFailed as error:
        shown = f"{error} {error!r} {''.join(traceback.format_exception(error))}"
        shown += explain(error).message
    trace: Any = pipeline.last_trace
    return f"{shown} {trace} {trace!r} {trace.asdict()} {trace.asstr(verbosity=2)}"


def remains(world: World) -> Iterator[str]:
    """What is in the working folder and in the warehouse, decompressed."""
    yield from files(world)
    tables = "SELECT table_schema, table_name FROM information_schema.tables"
    for schema, table in world.query(tables):
        yield str(world.query(f'SELECT * FROM "{schema}"."{table}"'))


def files(world: World) -> Iterator[str]:
    """What is in the working folder, decompressed."""
    for file in (world.folder / "pipelines").rglob("*"):
        if file.suffix == ".parquet":
            yield str(pq.read_table(file).to_pylist())
        elif file.is_file():
            content = file.read_bytes()
            plain = gzip.decompress(content) if file.suffix == ".gz" else content
            yield plain.decode(errors="replace")


def decompressed(found: str) -> str:
    """The text that dlt compressed; nothing if the match only looks like that."""
    try:
        return zlib.decompress(base64.b64decode(found)).decode()
    except (zlib.error, ValueError):
        return ""


def check_remains(world: World, texts: list[str]) -> None:
    """The link is stored and is found, also compressed; the secret and the tokens are not."""
    text = "\n".join(texts)
    text += "".join(map(decompressed, re.findall(r"\beN[\w+/]{40,}={0,2}", text)))
    link = world.bookmark().link.partition("deltaToken=")[2]
    assert text.count(link) >= 3
    issued = {request.headers["Authorization"] for request in world.tenant.api_requests}
    tokens = {each.removeprefix("Bearer ") for each in issued}
    assert len(tokens) > 3
    client = f"{world.tenant.client_id}:{world.tenant.client_secret}"
    secrets = {world.tenant.client_secret, base64.b64encode(client.encode()).decode()}
    secrets |= {part for token in tokens for part in token.split(".")[1:]}
    assert not [secret for secret in secrets if secret in text]


PASSWORD = "Geheim-4711"
SERVERS = {
    "wrong password": (
        "postgres://postgres:{password}@127.0.0.1:{port}/postgres",
        "authentication",
    ),
    "no server": ("postgres://postgres:{password}@127.0.0.1:9/postgres", "refused"),
    "a driver's name": (
        "postgresql+psycopg2://postgres:{password}@127.0.0.1:{port}/postgres",
        "Write postgresql://",
    ),
    "an unknown parameter": (
        "postgresql://postgres:{password}@127.0.0.1:{port}/postgres?foo=1",
        'credentials. It is "foo".',
    ),
}


@pytest.mark.parametrize("case", SERVERS)
def test_the_password_of_postgres_is_nowhere(
    world: World, log: pytest.LogCaptureFixture, postgres_server: PostgresServer, case: str
) -> None:
    url, words = SERVERS[case]
    world.engine = PostgresEngine(url.format(password=PASSWORD, port=postgres_server.port))
    check_refused(refused(world) + log.text, PASSWORD, words)
    check_refused("".join(files(world)), PASSWORD, "protime")


CREDENTIALS = {
    "no URL": (
        "postgres//postgres:{password}@127.0.0.1/postgres",
        SettingsError,
        "cannot be read",
    ),
    "a driver's name": (
        "postgresql+psycopg2://postgres:{password}@127.0.0.1/postgres",
        SettingsError,
        "begins with postgresql+psycopg2://, which",
    ),
    "an @ in the password": (
        "postgresql://postgres:p@{password}@127.0.0.1/postgres",
        SettingsError,
        "Write %40",
    ),
}


@pytest.mark.parametrize("case", CREDENTIALS)
def test_credentials_that_no_driver_reads_are_refused_and_not_shown(
    world: World, log: pytest.LogCaptureFixture, case: str
) -> None:
    url, kind, words = CREDENTIALS[case]
    world.engine = PostgresEngine(url.format(password=PASSWORD))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever dlt raises
        load(world.pipeline())
    shown = "".join(traceback.format_exception(caught.value))
    failure = explain(caught.value)
    assert failure.exit_code == kind.exit_code
    assert words in failure.message
    texts = [shown, failure.message, log.text, *files(world)]
    check_refused("".join(texts), PASSWORD, words)
    assert world.tenant.requests == []


KEYS: dict[str, Callable[[str], str]] = {
    "cut": lambda key: key[: len(key) // 2],
    "no key": lambda key: key.replace("MII", f"{PASSWORD}MII"),
}


@pytest.mark.parametrize("engine", ["bigquery"], indirect=True)
@pytest.mark.parametrize("case", KEYS)
def test_the_key_of_bigquery_is_nowhere(
    world: World, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    [name] = [name for name in world.engine.environment() if name.endswith("CREDENTIALS")]
    credentials = json.loads(world.engine.environment()[name])
    key = KEYS[case](credentials["private_key"])
    monkeypatch.setenv(name, json.dumps({**credentials, "private_key": key}))
    check_refused(refused(world) + log.text, key.splitlines()[1], "PEM")


def refused(world: World, exit_code: int = WarehouseError.exit_code) -> str:
    """The error of a run that cannot use its destination, shown in every way that there is."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever dlt raises
        world.run()
    failure = explain(caught.value)
    assert failure.exit_code == exit_code
    assert len(failure.message.splitlines()) == 1
    trace: Any = world.pipeline().last_trace
    shown = "".join(traceback.format_exception(caught.value))
    return f"{failure.message}\n{shown} {trace!r} {trace and trace.asstr(verbosity=2)}"


def check_refused(shown: str, secret: str, words: str) -> None:
    assert words in shown
    assert secret not in shown
