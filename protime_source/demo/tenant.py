"""A Protime tenant in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from threading import RLock
from typing import Any

from protime_source.demo.access import Access
from protime_source.demo.assignment import ASSIGNMENTS
from protime_source.demo.behaviour import Behaviour, Fault
from protime_source.demo.clock import Clock
from protime_source.demo.collection import OTHERS
from protime_source.demo.company import Company, edited
from protime_source.demo.data import LEVELS, STRUCTURE, Planning
from protime_source.demo.endpoints import Endpoints
from protime_source.demo.faults import due, spoil
from protime_source.demo.filters import Selection
from protime_source.demo.messages import API_ROOT, Answer, ApiError, Call, Request
from protime_source.demo.store import Record, Store

_LONGEST_URI = 4096
_LARGEST = 200_000
_OTHERS = {collection.name: collection for collection in OTHERS}
_USER_AGENT = re.compile(r"[^\s/]+/\S+ \(.+\)")


class DemoTenant:
    """A customer of Protime with its assignments, for one process, safe under threads.

    Its data start as the same for the same seed, number of rows and date; nothing is stored.

    Args:
        rows: Number of assignments at the start.
        seed: Seed of the data, and of `churn` where that is given none.
        page_size: Records in a page of a list.
        behaviour: None for the defaults.

    Attributes:
        behaviour: How it behaves where the documentation leaves it open; may be replaced at
            any time.
        name: The tenant's name, the first label of its host.
        client_id: The one client that may ask for tokens.
        client_secret: Its secret.
        clock: What the tenant goes by for every expiry and date rule.
        requests: What was asked so far, tokens included, in order.
        faults: What is to go wrong; a fault leaves the list once it is spent.
    """

    name = "demo"
    client_id = "demo-client"
    client_secret = "demo-secret"  # noqa: S105 - it opens nothing

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
        self.requests: list[Request] = []
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
        start = list(self._store.records.values()) if rows <= _LARGEST else []
        self._company = Company(self._planning, start, self.clock.today())

    @property
    def token_path(self) -> str:
        """Path of the token endpoint."""
        return f"/tenants/{self.name}/connect/token"

    @property
    def records(self) -> dict[int, Record]:
        """The assignments by id, exactly as the API shows them now; not to be altered."""
        return self._store.records

    @property
    def api_requests(self) -> list[Request]:
        """The requests without those for tokens."""
        return [request for request in self.requests if request.path.startswith(API_ROOT)]

    @property
    def collections(self) -> list[str]:
        """The names of its collections; the activity definitions of each level are one."""
        return [ASSIGNMENTS.name, *_OTHERS]

    @property
    def structures(self) -> list[str]:
        """Its activity structure and levels, as the setting `activity_structures` takes them."""
        return [f"{STRUCTURE}/{level}" for level in LEVELS]

    def of(self, name: str) -> dict[Any, Record]:
        """The records of a collection by id, exactly as the API shows them now."""
        with self._lock:
            return self._endpoint(name).store.records

    def write(self, name: str, id_: Any, fields: Mapping[str, Any] | None) -> None:
        """Somebody replaces a record of a collection, or removes it when there are no fields."""
        with self._lock:
            store = self._endpoint(name).store
            if fields is None:
                store.remove(id_)
            else:
                store.replace(id_, {**self.behaviour.extra_fields, **fields})

    def change_other(self, name: str, n: int, *, seed: int = 1) -> None:
        """Make `n` changes to a collection at random: most of them edits, some new, some gone."""
        with self._lock:
            random, store = Random(seed), self._endpoint(name).store
            for _ in range(n):
                id_, luck = store.pick(random), random.random()
                fields = edited(random, store.records[id_])
                if luck < 0.2 and len(store.records) > 2:
                    store.remove(id_)
                elif luck < 0.4 and isinstance(id_, int):
                    store.insert(fields)
                else:
                    store.replace(id_, fields)

    def clear_requests(self) -> None:
        """Forget what was asked so far."""
        with self._lock:
            self.requests.clear()

    def create(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> int:
        """Somebody adds an assignment; fields in the API's spelling.

        Raises:
            ValueError: The API would not accept it.
        """
        with self._lock:
            return self._assignments.create(_checked({**(fields or {}), **more}), self.behaviour)

    def update(self, id_: int, fields: Mapping[str, Any], /) -> None:
        """Somebody replaces the writable fields of an assignment.

        Raises:
            ValueError: The API would not accept it.
            KeyError: There is no such assignment.
        """
        with self._lock:
            self._assignments.replace(id_, _checked(fields), self.behaviour)

    def delete(self, id_: int, /) -> None:
        """Somebody deletes an assignment; KeyError if there is none."""
        with self._lock:
            self._store.remove(id_)

    def restore(self, id_: int, fields: Mapping[str, Any], /) -> None:
        """Somebody brings a deleted assignment back, in a higher version.

        Raises:
            ValueError: The API would not accept it.
            KeyError: There is such an assignment.
        """
        with self._lock:
            self._assignments.restore(id_, _checked(fields), self.behaviour)

    def churn(self, n: int, *, seed: int | None = None) -> None:
        """Make `n` changes at random: about 30 % new, 50 % changed, 20 % deleted."""
        with self._lock:
            random = self._random if seed is None else Random(seed)
            for _ in range(n):
                self._change(random)

    def steal_delta(self) -> None:
        """Another consumer starts a delta on the collection."""
        with self._lock:
            start = f"{self.clock.today().year - 1}-01-01"
            self._assignments.start_delta(Selection(start), self.behaviour)

    def revoke_tokens(self) -> None:
        """Every access token given so far answers 401 from now."""
        with self._lock:
            self._access.revoke()

    def answer(self, call: Call) -> Answer:
        """Answer a request and note it."""
        with self._lock:
            fault = due(self.faults, call)
            if fault is None:
                answer = self._serve(call)
            else:
                answer = spoil(fault, call, lambda: self._serve(call), self.behaviour)
            self._note(call, answer)
            return answer

    def _note(self, call: Call, answer: Answer) -> None:
        at = self.clock.now()
        request = Request(call.method, call.path, call.query, call.headers, answer.status, at)
        self.requests.append(request)

    def _serve(self, call: Call) -> Answer:
        try:
            return self._route(call)
        except ApiError as error:
            return error.answer()

    def _route(self, call: Call) -> Answer:
        if call.path == self.token_path and call.method == "POST":
            return self._access.issue(call, self.behaviour)
        place = call.path.removeprefix(f"{API_ROOT}/").removeprefix("delta/")
        found = [name for name in self.collections if f"{place}/".startswith(f"{name}/")]
        if not found or not call.path.startswith(API_ROOT):
            raise ApiError(404, "There is no such resource.")
        endpoints = self._endpoint(found[0])
        self._check(call, endpoints)
        return endpoints.answer(call, self.behaviour)

    def _endpoint(self, name: str) -> Endpoints:
        """The endpoints of a collection, whose data are made when somebody first asks."""
        if name not in self._endpoints:
            store = Store(self._company.rows(name))
            found = Endpoints(_OTHERS[name], store, self.clock, self._page_size)
            self._endpoints[name] = found
        return self._endpoints[name]

    def _check(self, call: Call, endpoints: Endpoints) -> None:
        """The checks that come before any work (pages `reference/general-specs/`, `responses/`)."""
        how = self.behaviour
        if len(call.target) > _LONGEST_URI:
            raise ApiError(414, f"The URI is longer than {_LONGEST_URI} characters.")
        if how.require_user_agent and not _USER_AGENT.fullmatch(call.headers.get("User-Agent", "")):
            raise ApiError(400, "User-Agent must be: ServiceName/Version (Company Name)")
        scopes = endpoints.collection.scopes("read" if call.method == "GET" else "write")
        self._access.check(call, scopes, how)
        if how.feature_disabled and endpoints is self._assignments:
            raise ApiError(403, "Assignments are not available with Planning Flex or Shift.")

    def _change(self, random: Random) -> None:
        luck = random.random()
        if luck < 0.3 or not self.records:
            self.create(self._planning.one(random))
            return
        id_ = self._store.pick(random)
        if luck < 0.8:
            self.update(id_, self._planning.edit(random, self.records[id_]))
        else:
            self.delete(id_)


def _checked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    problems = ASSIGNMENTS.problems(fields)
    if problems:
        raise ValueError("; ".join(f"{field} {message}" for field, message in problems))
    return fields
