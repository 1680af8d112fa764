"""A Protime tenant in memory: its data, and the routing of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from random import Random
from threading import RLock
from typing import Any

from protime_source.demo.access import Access
from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.collection import ASSIGNMENTS, OTHERS, Collection
from protime_source.demo.company import Company, edit
from protime_source.demo.data import LEVELS, STRUCTURE, Planning
from protime_source.demo.endpoints import Endpoints
from protime_source.demo.faults import Fault, faulty_response, next_fault
from protime_source.demo.filters import Selection
from protime_source.demo.messages import (
    API_ROOT,
    HttpError,
    RecordedRequest,
    Request,
    Response,
)
from protime_source.demo.planner import changes_of_plan
from protime_source.demo.store import Record, Store
from protime_source.demo.webhooks import PATH as WEBHOOKS_PATH
from protime_source.demo.webhooks import Webhook, Webhooks

_MAX_URI_LENGTH = 4096
_MAX_ROWS_OF_A_FULL_COMPANY = 200_000
"""Of so many of the newest assignments there are clockings, absences and totals."""

_OTHERS = {collection.name: collection for collection in OTHERS}
_WEBHOOKS = Collection("webhooks")
_USER_AGENT = re.compile(r"[^\s/]+/\S+ \(.+\)")


class DemoTenant:
    """A customer of Protime and its data, in memory. Thread-safe.

    The initial data depend only on the seed, the number of rows and the date.

    Args:
        rows: Number of assignments at the start.
        seed: Seed of the data, and of `churn` when called without a seed.
        page_size: Records in a page of a list.
        behaviour: None for the defaults.

    Attributes:
        behaviour: Behaviour where the documentation is open; may be replaced at any time.
        name: The tenant's name, the first label of its host.
        client_id: The only client that gets access tokens.
        client_secret: The secret of that client.
        clock: The clock for every expiry and date rule.
        requests: All requests so far, in order, those for tokens included.
        faults: Faults to inject; a fault is removed from the list when it is spent.
    """

    name = "demo"
    client_id = "demo-client"
    client_secret = "demo-secret"  # noqa: S105 - not a secret

    def __init__(
        self,
        *,
        rows: int = 5000,
        seed: int = 1,
        page_size: int = 1000,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.clock = Clock()
        self.requests: list[RecordedRequest] = []
        self.faults: list[Fault] = []
        self._lock = RLock()
        self._random = Random(seed)
        self._access = Access(self.client_id, self.client_secret, self.clock)
        self._planning = Planning(seed, rows, self.clock.today())
        extra = self.behaviour.extra_fields
        self._store = Store({**extra, **row} for row in self._planning.rows(rows))
        self._page_size = page_size
        self._assignments = Endpoints(ASSIGNMENTS, self._store, self.clock, page_size)
        self._endpoints = {ASSIGNMENTS.name: self._assignments}
        with_delta = [each for each in (ASSIGNMENTS, *OTHERS) if each.has_delta]
        self._webhooks = Webhooks(with_delta, self.clock, page_size, self._access.check)
        self._notify_of(ASSIGNMENTS.name, self._store)
        newest = max(0, rows - _MAX_ROWS_OF_A_FULL_COMPANY)
        start = list(islice(self._store.records.values(), newest, None))
        self._company = Company(self._planning, start, self.clock.today())

    @property
    def token_path(self) -> str:
        """Path of the token endpoint."""
        return f"/tenants/{self.name}/connect/token"

    @property
    def records(self) -> dict[int, Record]:
        """The current assignments by id, exactly as the API returns them; read-only."""
        return self._store.records

    @property
    def api_requests(self) -> list[RecordedRequest]:
        """The requests so far, without those for tokens."""
        return [request for request in self.requests if request.path.startswith(API_ROOT)]

    @property
    def collections(self) -> list[str]:
        """The names of all collections; the activity definitions of each level are a collection."""
        return [ASSIGNMENTS.name, *_OTHERS]

    @property
    def structures(self) -> list[str]:
        """The value of the setting `activity_structures` for this tenant."""
        return [f"{STRUCTURE}/{level}" for level in LEVELS]

    def of(self, name: str) -> dict[Any, Record]:
        """The current records of a collection by id, exactly as the API returns them."""
        with self._lock:
            return self._endpoint(name).store.records

    def add(self, name: str, fields: Mapping[str, Any]) -> int:
        """Create a record in a collection, unchecked, and return its id."""
        with self._lock:
            return self._endpoint(name).store.insert({**self.behaviour.extra_fields, **fields})

    def write(self, name: str, id_: Any, fields: Mapping[str, Any] | None) -> None:
        """Replace a record of a collection, or delete the record when `fields` is None."""
        with self._lock:
            store = self._endpoint(name).store
            if fields is None:
                store.remove(id_)
            else:
                store.replace(id_, {**self.behaviour.extra_fields, **fields})

    def change_other(self, name: str, n: int, *, seed: int = 1) -> None:
        """Make `n` random changes to a collection: mostly updates, some creations and deletions."""
        with self._lock:
            random, store = Random(seed), self._endpoint(name).store
            for _ in range(n):
                id_, draw = store.pick(random), random.random()
                fields = edit(random, store.records[id_])
                if draw < 0.2 and len(store.records) > 2:
                    store.remove(id_)
                elif draw < 0.4 and isinstance(id_, int):
                    store.insert(fields)
                else:
                    store.replace(id_, fields)

    @property
    def webhooks(self) -> list[Webhook]:
        """The webhooks that were created and not deleted."""
        with self._lock:
            return [each for each in self._webhooks.all if not each.deleted]

    def close(self) -> None:
        """Send no more events to webhooks."""
        self._webhooks.close()

    def clear_requests(self) -> None:
        """Clear the list of requests."""
        with self._lock:
            self.requests.clear()

    def create(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> int:
        """Create an assignment from fields in the API's spelling, and return its id.

        Raises:
            ValueError: The API would refuse the fields.
        """
        with self._lock:
            return self._assignments.create(_checked({**(fields or {}), **more}), self.behaviour)

    def update(self, id_: int, fields: Mapping[str, Any], /) -> None:
        """Replace the writable fields of an assignment.

        Raises:
            ValueError: The API would refuse the fields.
            KeyError: The assignment does not exist.
        """
        with self._lock:
            self._assignments.replace(id_, _checked(fields), self.behaviour)

    def delete(self, id_: int, /) -> None:
        """Delete an assignment.

        Raises:
            KeyError: The assignment does not exist.
        """
        with self._lock:
            self._store.remove(id_)

    def restore(self, id_: int, fields: Mapping[str, Any], /) -> None:
        """Restore a deleted assignment with its id and a higher changeVersion.

        Raises:
            ValueError: The API would refuse the fields.
            KeyError: The assignment exists.
        """
        with self._lock:
            self._assignments.restore(id_, _checked(fields), self.behaviour)

    def churn(self, n: int, *, seed: int | None = None) -> None:
        """Make `n` random changes: about 30 % creations, 50 % updates, 20 % deletions."""
        with self._lock:
            random = self._random if seed is None else Random(seed)
            for _ in range(n):
                self._change(random)

    def replan(self, n: int, *, seed: int | None = None) -> None:
        """Make `n` changes as planners do: mostly of the days ahead, some at short notice."""
        with self._lock:
            random = self._random if seed is None else Random(seed)
            today = self.clock.today()
            changes = changes_of_plan(self._planning, self.records, today, random)
            for id_, fields in islice(changes, n):
                if fields is None:
                    self.delete(id_ or 0)
                elif id_ is None:
                    self.create(fields)
                else:
                    self.update(id_, fields)

    def steal_delta(self) -> None:
        """Start a delta on the assignments, as another consumer would."""
        with self._lock:
            start = f"{self.clock.today().year - 1}-01-01"
            self._assignments.start_delta(Selection(start), self.behaviour)

    def revoke_tokens(self) -> None:
        """Invalidate every access token issued so far."""
        with self._lock:
            self._access.revoke()

    def respond(self, request: Request) -> Response:
        """The response to a request, which is recorded in `requests`."""
        with self._lock:
            fault = next_fault(self.faults, request)
            if fault is None:
                response = self._serve(request)
            else:
                style = self.behaviour.link_style
                response = faulty_response(fault, request, lambda: self._serve(request), style)
            self.requests.append(
                RecordedRequest(
                    request.method,
                    request.path,
                    request.query,
                    request.headers,
                    response.status,
                    self.clock.now(),
                )
            )
            return response

    def _serve(self, request: Request) -> Response:
        try:
            return self._route(request)
        except HttpError as error:
            return error.response()

    def _route(self, request: Request) -> Response:
        if request.path == self.token_path and request.method == "POST":
            return self._access.issue(request, self.behaviour)
        if request.path == WEBHOOKS_PATH or request.path.startswith(f"{WEBHOOKS_PATH}/"):
            self._check(request, _WEBHOOKS)
            return self._webhooks.respond(request, self.behaviour)
        resource = request.path.removeprefix(f"{API_ROOT}/").removeprefix("delta/")
        found = [name for name in self.collections if f"{resource}/".startswith(f"{name}/")]
        if not found or not request.path.startswith(API_ROOT):
            raise HttpError(404, "There is no such resource.")
        endpoints = self._endpoint(found[0])
        self._check(request, endpoints.collection)
        return endpoints.respond(request, self.behaviour)

    def _endpoint(self, name: str) -> Endpoints:
        """The endpoints of a collection, with its data generated on first use."""
        if name not in self._endpoints:
            store = Store(self._company.rows(name))
            self._notify_of(name, store)
            self._endpoints[name] = Endpoints(_OTHERS[name], store, self.clock, self._page_size)
        return self._endpoints[name]

    def _notify_of(self, name: str, store: Store) -> None:
        store.on_event = lambda event: self._webhooks.notify(name, event, self.behaviour)

    def _check(self, request: Request, collection: Collection) -> None:
        """The checks of each API request (pages `reference/general-specs/`, `responses/`)."""
        behaviour = self.behaviour
        if len(request.target) > _MAX_URI_LENGTH:
            raise HttpError(414, f"The URI is longer than {_MAX_URI_LENGTH} characters.")
        user_agent = request.headers.get("User-Agent", "")
        if behaviour.require_user_agent and not _USER_AGENT.fullmatch(user_agent):
            raise HttpError(400, "User-Agent must be: ServiceName/Version (Company Name)")
        scopes = collection.scopes("read" if request.method == "GET" else "write")
        self._access.check(request, scopes, behaviour)
        if behaviour.feature_disabled and collection is ASSIGNMENTS:
            raise HttpError(403, "Assignments are not available with Planning Flex or Shift.")

    def _change(self, random: Random) -> None:
        draw = random.random()
        if draw < 0.3 or not self.records:
            self.create(self._planning.one(random))
            return
        id_ = self._store.pick(random)
        if draw < 0.8:
            self.update(id_, self._planning.edit(random, self.records[id_]))
        else:
            self.delete(id_)


def _checked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    problems = ASSIGNMENTS.problems(fields)
    if problems:
        raise ValueError("; ".join(f"{field} {message}" for field, message in problems))
    return fields
