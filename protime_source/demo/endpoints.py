"""The endpoints of one collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from protime_source.demo.behaviour import Behaviour
from protime_source.demo.clock import Clock
from protime_source.demo.collection import Collection, Fields
from protime_source.demo.deltas import Delta, Deltas
from protime_source.demo.filters import Selection, check_delta, parse
from protime_source.demo.links import link
from protime_source.demo.messages import API_ROOT, Answer, ApiError, Call, json_answer
from protime_source.demo.paging import (
    Fixed,
    Live,
    Page,
    Place,
    continuation,
    invalid_page,
    page,
    resume,
)
from protime_source.demo.references import check, with_references
from protime_source.demo.store import Record, Store

_ONE = "{id}"


class Endpoints:
    """List, delta, get, create, update and delete of one collection."""

    def __init__(self, collection: Collection, store: Store, clock: Clock, page_size: int) -> None:
        self.collection, self.store, self.page_size = collection, store, page_size
        self.path = f"{API_ROOT}/{collection.name}"
        self.delta_path = f"{API_ROOT}/delta/{collection.name}"
        self._clock = clock
        self._deltas = Deltas(store, clock, self._show)
        self._used_pages: set[str] = set()
        self._routes: dict[tuple[str, str], Callable[[Call, Behaviour], Answer]] = {
            ("GET", self.path): self._list,
            ("POST", self.path): self._create,
            ("GET", self.delta_path): self._follow,
            ("GET", _ONE): self._get,
            ("PUT", _ONE): self._update,
            ("DELETE", _ONE): self._delete,
        }

    def answer(self, call: Call, how: Behaviour) -> Answer:
        """Answer a call to the collection that has passed the checks of access."""
        whole = call.path in (self.path, self.delta_path)
        route = self._routes.get((call.method, call.path if whole else _ONE))
        if route is None:
            raise ApiError(404, "There is no such operation.")
        return route(call, how)

    def create(self, fields: Fields, how: Behaviour) -> int:
        """Add a record; fields that are not given have their initial value."""
        return self.store.insert({**self.collection.initial, **how.extra_fields, **fields})

    def restore(self, id_: int, fields: Fields, how: Behaviour) -> None:
        """Bring a deleted record back, like a new one but for its id."""
        self.store.restore(id_, {**self.collection.initial, **how.extra_fields, **fields})

    def replace(self, id_: int, fields: Fields, how: Behaviour) -> None:
        """Give a record other fields; the read-only ones stay unless given."""
        old = self.store.records[id_]
        kept = {name: old[name] for name in self.collection.initial if name in old}
        self.store.replace(id_, {**kept, **how.extra_fields, **fields})

    def start_delta(self, selection: Selection, how: Behaviour, references: str = "") -> Delta:
        """Start a delta over what the filter selects."""
        if not self.collection.has_delta:
            raise ApiError(400, f"{self.collection.name} offers no delta.")
        check_delta(selection, self._clock.today())
        inside = self.collection.match(selection, how.window)
        return self._deltas.start(inside, how, references)

    def _show(self, record: Record, references: str, how: Behaviour) -> Record:
        """A record as an answer has it."""
        name = self.collection.name
        hidden = ("changeVersion",) if name in how.without_version else ()
        shown = with_references(record, references, name) if references else record
        return {field: value for field, value in shown.items() if field not in hidden}

    def _list(self, call: Call, how: Behaviour) -> Answer:
        filter_ = call.parameters.get("filter", "")
        selection = parse(filter_, is_dated=self.collection.span is not None)
        references = check(call.parameters.get("externalReferences", ""))
        delta = self._delta_of_walk(call, selection, how, references)
        place = self._place(call, filter_, how)
        references = delta.references if delta else references
        is_plain = not references and self.collection.name not in how.without_version
        shown = None if is_plain else partial(self._show, references=references, how=how)
        rows = Live(self.store, self.collection.match(selection, how.window), shown)
        found = page(rows, place, self.page_size, how)
        basis = {"filter": filter_}
        if delta is None:
            return self._page(call, found, basis, how)
        basis["deltaToken"] = self._deltas.token(delta, delta.start)
        return self._page(call, found, basis, how)

    def _delta_of_walk(
        self, call: Call, selection: Selection, how: Behaviour, references: str
    ) -> Delta | None:
        if "deltaToken" in call.parameters:
            return self._deltas.open(call.parameters["deltaToken"])[0]
        return self.start_delta(selection, how, references) if "delta" in call.parameters else None

    def _follow(self, call: Call, how: Behaviour) -> Answer:
        token = call.parameters.get("deltaToken", "")
        delta, cursor = self._deltas.open(token)
        place = self._place(call, token, how)
        if "continuationToken" not in call.parameters:
            self._deltas.use(delta, token, how)
            place = Place(until=self.store.cursor)
        changes = self._deltas.changes(delta, cursor, place.until, how)
        if how.delta_page_size is None:
            found = Page(changes, None)
        else:
            found = page(Fixed(changes), place, how.delta_page_size, how)
        fresh = token if found.next else self._deltas.token(delta, place.until)
        return self._page(call, found, {"deltaToken": fresh}, how)

    def _place(self, call: Call, filter_: str, how: Behaviour) -> Place:
        token = call.parameters.get("continuationToken")
        if token is None:
            return Place()
        if token in self._used_pages and not how.pages_rereadable:
            raise invalid_page(how)
        self._used_pages.add(token)
        return resume(token, filter_, self._clock.now(), how)

    def _page(self, call: Call, found: Page, basis: dict[str, str], how: Behaviour) -> Answer:
        """The answer that shows a page, with the one link that leads on."""
        links = {}
        if found.next is not None:
            validated = basis.get("filter", basis.get("deltaToken", ""))
            token = continuation(found.next, validated, self._clock.now())
            names = ("filter", "continuationToken", "deltaToken")
            known = {**basis, "continuationToken": token}
            parameters = {name: known[name] for name in names if name in known}
            links["nextLink"] = link(call, call.path, parameters, how)
        elif "deltaToken" in basis:
            token = basis["deltaToken"]
            links["deltaLink"] = link(call, self.delta_path, {"deltaToken": token}, how)
        answer = json_answer(200, links)
        end = b"," + answer.body[1:] if links else b"}"
        answer.body = b'{"value":[' + b",".join(found.rows) + b"]" + end
        return answer

    def _create(self, call: Call, how: Behaviour) -> Answer:
        id_ = self.create(self._body(call), how)
        return Answer(201, headers={"Location": f"{self.path}/{id_}"})

    def _get(self, call: Call, how: Behaviour) -> Answer:
        return json_answer(200, self.store.records[self._id(call)])

    def _update(self, call: Call, how: Behaviour) -> Answer:
        self.replace(self._id(call), self._body(call), how)
        return Answer(200)

    def _delete(self, call: Call, how: Behaviour) -> Answer:
        self.store.remove(self._id(call))
        return Answer(200)

    def _id(self, call: Call) -> int:
        text = call.path.removeprefix(f"{self.path}/")
        if not text.isdecimal():
            raise ApiError(400, f"'{text}' is not an id.")
        if int(text) not in self.store.records:
            raise ApiError(404, f"There is no {text} in {self.collection.name}.")
        return int(text)

    def _body(self, call: Call) -> dict[str, Any]:
        """The writable fields of the body."""
        try:
            body = json.loads(call.body)
        except ValueError:
            raise ApiError(400, "The body is not JSON.") from None
        fields = self.collection.writable(body if isinstance(body, dict) else {})
        problems = self.collection.problems(fields)
        if problems:
            raise BodyError(problems)
        return fields


class BodyError(ApiError):
    """A body with wrong fields: the one error without the `error` wrapper."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(400, "The body is not valid.")
        self.problems = problems

    def answer(self) -> Answer:
        """The documented list (page `reference/responses/`); the shape of its items is not."""
        errors = [{"field": field, "message": message} for field, message in self.problems]
        return json_answer(400, {"validationErrors": errors})
