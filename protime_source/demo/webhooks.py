"""The webhooks of the demo tenant, and the events that they send (page `reference/webhooks/`)."""

from __future__ import annotations

import base64
import heapq
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from secrets import token_urlsafe
from threading import Condition, Thread
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.collection import Collection
from protime_source.demo.messages import (
    API_ROOT,
    HttpError,
    Request,
    Response,
    encode_json,
    json_response,
    make_link,
)
from protime_source.demo.paging import (
    FixedRows,
    PageStart,
    continuation_token,
    make_page,
    resume,
)
from protime_source.demo.store import Event

PATH = f"{API_ROOT}/webhooks"

_CONDITION = re.compile(r"(collection-name|status) eq '([^']*)'")
_TIMEOUT_SECONDS = 10.0


@dataclass
class Webhook:
    """A webhook, with what the API does not show.

    Attributes:
        id: Its GUID.
        url: Where its events go.
        collection: The collection whose changes it announces.
        valid_until: When it is disabled.
        key: The private key, which only the response to its creation shows.
        enabled: Whether it sends events.
        deleted: Whether it was deleted.
    """

    id: str
    url: str
    collection: str
    valid_until: datetime
    key: str
    enabled: bool = True
    deleted: bool = False

    def shown(self) -> dict[str, Any]:
        """The webhook as the API shows it."""
        return {
            "id": self.id,
            "validUntil": self.valid_until.isoformat(timespec="seconds"),
            "status": "Enabled" if self.enabled and not self.deleted else "Disabled",
            "destinationUrl": self.url,
            "collectionName": self.collection,
        }


class Webhooks:
    """The endpoints of the webhooks; the tenant calls them one at a time.

    Args:
        collections: The collections that have webhooks.
        clock: The tenant's clock.
        page_size: Webhooks in a page of the list.
        check: Refuses a request whose token has none of some scopes.

    Attributes:
        all: Every webhook that was ever created, the deleted ones too.
    """

    def __init__(
        self,
        collections: Iterable[Collection],
        clock: Clock,
        page_size: int,
        check: Callable[[Request, Sequence[str], Behaviour], None],
    ) -> None:
        self.all: list[Webhook] = []
        self._scopes = {each.name: each.scopes("read") for each in collections}
        self._clock, self._page_size, self._check = clock, page_size, check
        self._random = Random(0)
        self._deliveries = Deliveries()

    def close(self) -> None:
        """Send no more events."""
        self._deliveries.close()

    def respond(self, request: Request, behaviour: Behaviour) -> Response:
        """The response to a request whose access token was checked."""
        self._disable_expired()
        if request.path == PATH:
            operations = {"GET": self._list, "POST": self._create}
            if request.method in operations:
                return operations[request.method](request, behaviour)
        found = next((each for each in self.all if request.path == f"{PATH}/{each.id}"), None)
        if found is None or request.method not in ("GET", "DELETE"):
            raise HttpError(404, "There is no such webhook.")
        if request.method == "DELETE":
            found.deleted = True
            return Response(204)
        return json_response(200, found.shown())

    def notify(self, collection: str, event: Event, behaviour: Behaviour) -> None:
        """Send the event of a change to each webhook of its collection, late, twice or not."""
        self._disable_expired()
        for webhook in self.all:
            if webhook.collection != collection or not webhook.enabled or webhook.deleted:
                continue
            if self._random.random() < behaviour.webhook_loss:
                continue
            gone = {"changeVersion": event.version, "id": event.id}
            kind = "Delete" if event.after is None else "InsertOrUpdate"
            body = encode_json({"changeType": kind, "data": event.after or gone})
            for _ in range(1 + behaviour.webhook_repeats):
                self._deliveries.send(webhook, body, behaviour)

    def _disable_expired(self) -> None:
        now = self._clock.now()
        for webhook in self.all:
            webhook.enabled &= webhook.valid_until > now

    def _list(self, request: Request, behaviour: Behaviour) -> Response:
        filter_ = request.parameters.get("filter", "")
        if behaviour.webhook_list_needs_filter and not filter_:
            raise HttpError(400, "The filter is missing.")
        conditions = [_CONDITION.fullmatch(each) for each in filter_.split(" and ") if each]
        if None in conditions:
            raise HttpError(400, "The filter is malformed.")
        wanted = {match[1]: match[2] for match in conditions if match}
        names = {"collection-name": "collectionName", "status": "status"}
        shown = [
            each.shown()
            for each in self.all
            if behaviour.webhook_deleted_listed or not each.deleted
        ]
        found = [
            each
            for each in shown
            if all(each[names[name]] == value for name, value in wanted.items())
        ]
        token, now = request.parameters.get("continuationToken"), self._clock.now()
        start = resume(token, filter_, now, behaviour) if token else PageStart()
        rows = FixedRows([encode_json(each) for each in found])
        page = make_page(rows, start, self._page_size, behaviour)
        value = [json.loads(row) for row in page.rows]
        if behaviour.webhook_url_hidden:
            value = [{**each, "destinationUrl": _host(each["destinationUrl"])} for each in value]
        content: dict[str, Any] = {"value": value}
        if page.next is not None:
            following = {"continuationToken": continuation_token(page.next, filter_, now)}
            parameters = {"filter": filter_, **following} if filter_ else following
            link = make_link(request, PATH, parameters, behaviour.link_style)
            content["nextLink"] = link
        return json_response(200, content)

    def _create(self, request: Request, behaviour: Behaviour) -> Response:
        try:
            body = json.loads(request.body)
            url, collection = str(body["destinationUrl"]), str(body["collectionName"])
        except (ValueError, KeyError, TypeError):
            raise HttpError(400, "destinationUrl and collectionName are required.") from None
        if not _is_public(url):
            raise HttpError(400, f"The destination {url} is not a public HTTPS address.")
        if collection not in self._scopes:
            raise HttpError(400, f"{collection} has no webhooks.")
        if behaviour.webhook_needs_collection_scope:
            self._check(request, self._scopes[collection], behaviour)
        alike = ((each.url, each.collection) for each in self.all if not each.deleted)
        if behaviour.webhook_twins == "refused" and (url, collection) in alike:
            raise HttpError(409, "There is such a webhook already.")
        lifetime = timedelta(hours=behaviour.webhook_validity_hours)
        until = self._clock.now() + lifetime
        webhook = Webhook(str(uuid4()), url, collection, until, token_urlsafe(32))
        self.all.append(webhook)
        response = json_response(201, {**webhook.shown(), "privateKey": webhook.key})
        response.headers["Location"] = f"{PATH}/{webhook.id}"
        return response


class Deliveries:
    """Sends events from a thread of its own, which begins with the first one."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = Condition()
        self._number = 0
        self._thread: Thread | None = None
        self._closed = False

    def send(self, webhook: Webhook, body: bytes, behaviour: Behaviour) -> None:
        """Send an event after `webhook_lateness`."""
        self._at(behaviour.webhook_lateness, lambda: self._try(webhook, body, behaviour, 1))

    def close(self) -> None:
        """Send nothing more; waits for the event that is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_TIMEOUT_SECONDS)

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        with self._changed:
            self._number += 1
            heapq.heappush(self._due, (monotonic() + delay, self._number, action))
            if self._thread is None:
                self._thread = Thread(target=self._work, name="demo-webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (self._due and self._due[0][0] <= monotonic()):
                    self._changed.wait(self._due[0][0] - monotonic() if self._due else None)
                if self._closed:
                    return
                _, _, action = heapq.heappop(self._due)
            action()

    def _try(self, webhook: Webhook, body: bytes, behaviour: Behaviour, attempt: int) -> None:
        """Post an event; after the last attempt that fails, the webhook is disabled."""
        if webhook.deleted or not webhook.enabled:
            return
        headers = {"Content-Type": "application/json", **_signature(webhook, body, behaviour)}
        try:
            with requests.Session() as http:
                http.trust_env = False
                answer = http.post(
                    webhook.url,
                    body,
                    headers=headers,
                    timeout=_TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
            delivered = answer.status_code < 300
        except requests.RequestException:
            delivered = False
        if delivered:
            return
        if attempt < behaviour.webhook_attempts:
            again = lambda: self._try(webhook, body, behaviour, attempt + 1)  # noqa: E731
            self._at(behaviour.webhook_retry_seconds, again)
        else:
            webhook.enabled = False


def _signature(webhook: Webhook, body: bytes, behaviour: Behaviour) -> Mapping[str, str]:
    digest = hmac.digest(webhook.key.encode(), body, "sha256")
    match behaviour.webhook_signature:
        case None:
            return {}
        case "hex":
            value = digest.hex()
        case "base64":
            value = base64.b64encode(digest).decode()
        case "other":
            value = hmac.digest(webhook.key.encode(), b"1750000000." + body, "sha256").hex()
    return {behaviour.webhook_signature_header: value}


def _host(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _is_public(url: str) -> bool:
    """Whether it is an HTTPS URL, or on this machine, so that the demo needs no certificate."""
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    return is_here or (parts.scheme == "https" and bool(parts.hostname))
