"""The webhooks of the demo tenant: their endpoints, and the events that they send."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from protime_source.demo import Behaviour, DemoTenant

from .client import FIELDS, READ, ROOT, Client
from .conftest import Serve

SCOPES = "connector-protimeapi-webhooks.read connector-protimeapi-webhooks.write"
WEBHOOKS = f"{ROOT}/webhooks"
NOWHERE = "https://nowhere.invalid/x"


class Receiver(ThreadingHTTPServer):
    """Answers each event with `status`, and keeps it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.events: Queue[tuple[dict[str, Any], str, bytes]] = Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ring"

    def next(self) -> dict[str, Any]:
        return self.events.get(timeout=20)[0]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.end_headers()
        signature = self.headers.get("X-Signature", "")
        self.server.events.put((json.loads(body), signature, body))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def create(client: Client, url: str, collection: str = "assignments") -> dict[str, Any]:
    client.log_in(scope=SCOPES)
    answer = client.call("POST", WEBHOOKS, {"destinationUrl": url, "collectionName": collection})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"{WEBHOOKS}/{created['id']}"
    return created


def listed(client: Client, query: str = "") -> list[dict[str, Any]]:
    return [each for page in client.pages(f"{WEBHOOKS}{query}") for each in page["value"]]


def test_the_private_key_is_shown_once(serve: Serve) -> None:
    _, client = serve()
    created = create(client, NOWHERE)
    assert created.pop("privateKey")
    assert created["status"] == "Enabled"
    assert client.page(f"{WEBHOOKS}/{created['id']}") == created
    assert listed(client) == [created]


def test_the_list_is_filtered_and_paged(serve: Serve) -> None:
    _, client = serve()
    for _ in range(25):
        create(client, NOWHERE)
    create(client, NOWHERE, "people")
    assert len(client.pages(WEBHOOKS)) == 2
    assert len(listed(client)) == 26
    [one] = listed(client, "?filter=collection-name eq 'people' and status eq 'Enabled'")
    assert one["collectionName"] == "people"
    assert listed(client, "?filter=status eq 'Disabled'") == []


def test_a_deleted_one_can_still_be_got(serve: Serve) -> None:
    tenant, client = serve()
    one = f"{WEBHOOKS}/{create(client, NOWHERE)['id']}"
    assert client.call("DELETE", one).status_code == 204
    assert client.page(one)["status"] == "Disabled"
    assert (listed(client), tenant.webhooks) == ([], [])


@pytest.mark.parametrize(
    ("url", "collection"),
    [("http://elsewhere.invalid", "people"), ("https://", "people"), (NOWHERE, "jobs")],
)
def test_what_is_refused(serve: Serve, url: str, collection: str) -> None:
    _, client = serve()
    client.log_in(scope=SCOPES)
    body = {"destinationUrl": url, "collectionName": collection}
    assert client.call("POST", WEBHOOKS, body).status_code == 400


def test_each_operation_has_its_scope(serve: Serve) -> None:
    _, client = serve()
    body = {"destinationUrl": NOWHERE, "collectionName": "assignments"}
    client.log_in(scope=SCOPES.split()[0])
    assert client.call("GET", WEBHOOKS).status_code == 200
    assert client.call("POST", WEBHOOKS, body).status_code == 403
    client.log_in(scope=SCOPES.split()[1])
    assert client.call("GET", WEBHOOKS).status_code == 403


def test_switches_of_the_endpoints(serve: Serve) -> None:
    _, client = serve(
        webhook_list_needs_filter=True,
        webhook_twins="refused",
        webhook_deleted_listed=True,
        webhook_needs_collection_scope=True,
    )
    body = {"destinationUrl": NOWHERE, "collectionName": "assignments"}
    client.log_in(scope=SCOPES)
    assert client.call("GET", WEBHOOKS).status_code == 400
    assert client.call("POST", WEBHOOKS, body).status_code == 403
    client.log_in(scope=f"{SCOPES} {READ}")
    created = client.call("POST", WEBHOOKS, body)
    assert created.status_code == 201
    assert client.call("POST", WEBHOOKS, body).status_code == 409
    client.call("DELETE", created.headers["Location"])
    assert len(listed(client, "?filter=status eq 'Disabled'")) == 1


def change(tenant: DemoTenant) -> int:
    """Creates, updates and deletes an assignment."""
    id_ = tenant.create(FIELDS)
    tenant.update(id_, FIELDS)
    tenant.delete(id_)
    return id_


def test_each_change_is_an_event_of_its_collection_alone(serve: Serve, receiver: Receiver) -> None:
    tenant, client = serve()
    create(client, receiver.url)
    tenant.change_other("people", 3)
    id_ = change(tenant)
    events = [receiver.next() for _ in range(3)]
    assert [event["changeType"] for event in events] == ["InsertOrUpdate"] * 2 + ["Delete"]
    assert {event["data"]["id"] for event in events} == {id_}
    versions = [event["data"]["changeVersion"] for event in events]
    assert versions == sorted(versions)


def test_events_are_signed_with_the_private_key(serve: Serve, receiver: Receiver) -> None:
    tenant, client = serve()
    key = create(client, receiver.url)["privateKey"]
    tenant.create(FIELDS)
    _, signature, body = receiver.events.get(timeout=20)
    assert signature == hmac.new(key.encode(), body, "sha256").hexdigest()


def test_switches_of_the_events(serve: Serve, receiver: Receiver) -> None:
    tenant, client = serve(webhook_repeats=1, webhook_signature=None, webhook_lateness=0.01)
    create(client, receiver.url)
    id_ = tenant.create(FIELDS)
    found = [receiver.events.get(timeout=20) for _ in range(2)]
    assert [event["data"]["id"] for event, _, _ in found] == [id_, id_]
    assert {signature for _, signature, _ in found} == {""}


def test_events_may_be_lost(serve: Serve, receiver: Receiver) -> None:
    tenant, client = serve(webhook_loss=1)
    create(client, receiver.url)
    change(tenant)
    tenant.behaviour = Behaviour()
    id_ = tenant.create(FIELDS)
    assert receiver.next()["data"]["id"] == id_


def test_what_cannot_be_delivered_disables_the_webhook(serve: Serve, receiver: Receiver) -> None:
    tenant, client = serve(webhook_attempts=3, webhook_retry_seconds=0.01)
    create(client, receiver.url)
    receiver.status = 503
    tenant.create(FIELDS)
    assert len([receiver.next() for _ in range(3)]) == 3
    tenant.close()  # waits for the last attempt
    assert [each["status"] for each in listed(client)] == ["Disabled"]


def test_a_webhook_ends(serve: Serve) -> None:
    tenant, client = serve(webhook_validity_hours=24)
    create(client, NOWHERE)
    tenant.clock.advance(hours=25)
    client.log_in(scope=SCOPES)
    assert [each["status"] for each in listed(client)] == ["Disabled"]
