"""What is fuzzed, and what must be true of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import pyarrow.parquet as pq
from dlt.common.schema import Schema
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from protime_source.api.auth import ClientCredentials
from protime_source.api.links import resolve_link
from protime_source.api.pages import Page
from protime_source.api.redaction import redact, register_secret
from protime_source.api.responses import Response, created_id, decode_body, raise_for_status
from protime_source.api.retry import raise_if_temporary
from protime_source.catalogue import COLLECTIONS
from protime_source.decode.soft_delete import live
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import ProtimeError
from protime_source.settings import Settings
from tests.fuzz import inputs

ORIGIN = "https://acme.myprotime.eu"
URL = f"{ORIGIN}/api/x?deltaToken=the-token"
SECRET = "a-client-secret"
SETTINGS = Settings(tenant="acme", client_id="id", client_secret=SECRET)

LONGEST_MESSAGE = 2000
SLOWEST_SECONDS = 5

_NOW = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """Something that takes what comes from outside.

    Attributes:
        inputs: What may come.
        check: Hands it over; raises an `AssertionError`, or what must not be raised.
    """

    inputs: SearchStrategy[Any]
    check: Callable[[Any], None]


@contextmanager
def for_people(*secrets: str) -> Iterator[None]:
    """Lets our own errors pass, if each says in a line what people may read; and checks the time.

    Args:
        *secrets: What the line must not show.
    """
    started, said = time.process_time(), "nothing"
    try:
        yield
    except ProtimeError as error:
        said = str(error)
    assert len(said.splitlines()) == 1, said
    assert len(said) <= LONGEST_MESSAGE, len(said)
    for secret in (SECRET, "the-token", *secrets):
        assert secret not in said
    assert time.process_time() - started < SLOWEST_SECONDS


@cache
def _decoder(table: str) -> RecordDecoder:
    return RecordDecoder(COLLECTIONS[table], Schema("any").naming.normalize_identifier)


def check_records(given: tuple[str, bytes]) -> None:
    """Each record is a row, or counted as refused, or the page is refused; both decoders agree."""
    table, body = given
    decoder = _decoder(table)
    before = decoder.refused_records
    with for_people():
        page = decode_body(Response(200, {}, body), URL, Page.read)
        rows = decoder.rows(page.records)
        refused = decoder.refused_records - before
        sent = msgspec.json.decode(page.records, type=list[msgspec.Raw] | None) or []
        assert len(rows) + refused == len(sent)
        builder = BatchBuilder(COLLECTIONS[table], {})
        batch = builder.from_rows([live(row, _NOW) for row in rows])
        names = [name.lower() for name in batch.column_names]
        assert len(set(names)) == len(names), names
        file = io.BytesIO()
        pq.write_table(batch, file)
        assert pq.read_table(file).num_rows == len(rows)
        columns = decoder.fast.decode([body])
        if columns is not None:
            assert columns.num_rows == len(sent)
            assert builder.from_columns(columns, _NOW).equals(batch)


def check_events(given: tuple[str, bytes]) -> None:
    """Each event is a row, or counted as refused, or the page is refused."""
    table, body = given
    decoder = _decoder(table)
    before = decoder.refused_records
    with for_people():
        page = decode_body(Response(200, {}, body), URL, Page.read)
        events = decoder.events(page.records)
        sent = msgspec.json.decode(page.records, type=list[msgspec.Raw] | None) or []
        assert len(events) + decoder.refused_records - before == len(sent)


def check_answer(given: tuple[int, dict[str, str], bytes]) -> None:
    """An answer of any status is an error with a sentence, or content."""
    response = Response(*given)
    for use in (
        lambda: raise_if_temporary(response, URL),
        lambda: raise_for_status(response, URL),
        lambda: created_id(response, "assignment"),
        lambda: decode_body(response, URL, msgspec.json.Decoder(dict[str, Any]).decode),
    ):
        with for_people():
            use()


def check_token(given: tuple[int, bytes]) -> None:
    """A token fits into a header; whatever else comes is an error without it."""
    status, body = given
    credentials = ClientCredentials(SETTINGS, ["scope"], lambda *_: Response(status, {}, body))
    with for_people():
        token = credentials.token()
        assert token.isascii()
        assert token.isprintable()
        assert token in (credentials.token(), *_texts(body))


def _texts(body: bytes) -> list[str]:
    return [body.decode(errors="replace")]


def check_link(link: str) -> None:
    """A link leads to the API, or is refused."""
    with for_people():
        assert resolve_link(link, ORIGIN).startswith(f"{ORIGIN}/")


def check_redaction(pieces: list[str]) -> None:
    """No secret is left of a text, and a long one takes no time."""
    register_secret(SECRET)
    started = time.process_time()
    assert SECRET not in redact("".join(pieces))
    assert time.process_time() - started < SLOWEST_SECONDS


_TOKEN_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "access_token": inputs.json_values | st.just("the-token"),
        "expires_in": inputs.json_values,
        "scope": inputs.json_values | st.just("scope other"),
        "error": inputs.json_values | st.just("invalid_scope"),
        "error_description": inputs.json_values | st.just(f"the secret is {SECRET}"),
    },
).map(inputs.as_json)

_REDACTED = st.sampled_from(
    (
        *("//", "//a:", "//a:b@", ":", "@", SECRET, "client_secret=", "'", '"', "\\", "Bearer "),
        *("-----BEGIN PRIVATE KEY-----", "deltaToken=", 'host name "', " ", "\n", "password': '"),
        "a" * 99,
    )
)

TARGETS = {
    "records": Target(inputs.pages(), check_records),
    "events": Target(inputs.event_pages(), check_events),
    "answers": Target(
        st.tuples(st.integers(100, 599), inputs.headers, inputs.bodies), check_answer
    ),
    "tokens": Target(
        st.tuples(st.sampled_from((200, 400, 401, 404)), inputs.bodies | _TOKEN_FIELDS),
        check_token,
    ),
    "links": Target(inputs.links, check_link),
    "redaction": Target(
        st.lists(st.tuples(_REDACTED, st.sampled_from((1, 1, 1, 5000))), max_size=5).map(
            lambda pairs: [piece * times for piece, times in pairs]
        ),
        check_redaction,
    ),
}
