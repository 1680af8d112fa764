"""The endpoints of one collection: list, delta, get, create, update and delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.collection import (
    Collection,
    Fields,
    add_references,
    parse_references,
)
from protime_source.demo.deltas import Delta, Deltas
from protime_source.demo.filters import Selection, check_delta, check_list, parse_filter
from protime_source.demo.messages import (
    API_ROOT,
    HttpError,
    Request,
    Response,
    json_response,
    make_link,
)
from protime_source.demo.paging import (
    FixedRows,
    LiveRows,
    Page,
    PageStart,
    continuation_token,
    invalid_continuation,
    make_page,
    resume,
)
from protime_source.demo.store import Record, Store

_RECORD = "{id}"


class Endpoints:
    """Responds to the requests for one collection."""

    def __init__(self, collection: Collection, store: Store, clock: Clock, page_size: int) -> None:
        self.collection, self.store, self.page_size = collection, store, page_size
        self.path = f"{API_ROOT}/{collection.name}"
        self.delta_path = f"{API_ROOT}/delta/{collection.name}"
        self._clock = clock
        self._deltas = Deltas(store, clock, self._present)
        self._used_pages: set[str] = set()
        self._routes: dict[tuple[str, str], Callable[[Request, Behaviour], Response]] = {
            ("GET", self.path): self._list,
            ("POST", self.path): self._create,
            ("GET", self.delta_path): self._follow,
            ("GET", _RECORD): self._get,
            ("PUT", _RECORD): self._update,
            ("DELETE", _RECORD): self._delete,
        }

    def respond(self, request: Request, behaviour: Behaviour) -> Response:
        """The response to a request whose access token was checked."""
        is_collection = request.path in (self.path, self.delta_path)
        route = self._routes.get((request.method, request.path if is_collection else _RECORD))
        if route is None:
            raise HttpError(404, "There is no such operation.")
        return route(request, behaviour)

    def create(self, fields: Fields, behaviour: Behaviour) -> int:
        """Create a record; fields not given get their initial value."""
        return self.store.insert({**self.collection.initial, **behaviour.extra_fields, **fields})

    def restore(self, id_: int, fields: Fields, behaviour: Behaviour) -> None:
        """Create a record with the id of a deleted one."""
        self.store.restore(id_, {**self.collection.initial, **behaviour.extra_fields, **fields})

    def replace(self, id_: int, fields: Fields, behaviour: Behaviour) -> None:
        """Replace the fields of a record; read-only fields keep their values unless given."""
        old = self.store.records[id_]
        kept = {name: old[name] for name in self.collection.initial if name in old}
        self.store.replace(id_, {**kept, **behaviour.extra_fields, **fields})

    def start_delta(
        self, selection: Selection, behaviour: Behaviour, references: str = ""
    ) -> Delta:
        """Start a delta over the selection."""
        if not self.collection.has_delta:
            raise HttpError(400, f"{self.collection.name} offers no delta.")
        check_delta(selection, self._clock.today())
        inside = self.collection.match(selection, behaviour.window)
        return self._deltas.start(inside, behaviour, references)

    def _present(self, record: Record, references: str, behaviour: Behaviour) -> Record:
        """A record as a response contains it."""
        name = self.collection.name
        hidden = ("changeVersion",) if name in behaviour.without_version else ()
        fields = add_references(record, references, name) if references else record
        return {field: value for field, value in fields.items() if field not in hidden}

    def _list(self, request: Request, behaviour: Behaviour) -> Response:
        filter_ = request.parameters.get("filter", "")
        selection = parse_filter(filter_, is_dated=self.collection.dates is not None)
        references = parse_references(request.parameters.get("externalReferences", ""))
        delta = self._delta_of_list(request, selection, behaviour, references)
        if delta is None and self.collection.has_yearly_lists:
            check_list(selection)
        start = self._page_start(request, filter_, behaviour)
        references = delta.references if delta else references
        is_plain = not references and self.collection.name not in behaviour.without_version
        transform = (
            None if is_plain else partial(self._present, references=references, behaviour=behaviour)
        )
        rows = LiveRows(self.store, self.collection.match(selection, behaviour.window), transform)
        page = make_page(rows, start, self.page_size, behaviour)
        parameters = {"filter": filter_}
        if delta is not None:
            parameters["deltaToken"] = self._deltas.token(delta, delta.start)
        elif references:
            parameters["externalReferences"] = references
        return self._page_response(request, page, parameters, behaviour)

    def _delta_of_list(
        self, request: Request, selection: Selection, behaviour: Behaviour, references: str
    ) -> Delta | None:
        if "deltaToken" in request.parameters:
            return self._deltas.resolve(request.parameters["deltaToken"])[0]
        return (
            self.start_delta(selection, behaviour, references)
            if "delta" in request.parameters
            else None
        )

    def _follow(self, request: Request, behaviour: Behaviour) -> Response:
        token = request.parameters.get("deltaToken", "")
        delta, cursor = self._deltas.resolve(token)
        start = self._page_start(request, token, behaviour)
        if "continuationToken" not in request.parameters:
            self._deltas.follow(delta, token, behaviour)
            start = PageStart(until=self.store.cursor)
        changes = self._deltas.changes(delta, cursor, start.until, behaviour)
        if behaviour.delta_page_size is None:
            page = Page(changes, None)
        else:
            page = make_page(FixedRows(changes), start, behaviour.delta_page_size, behaviour)
        new_token = token if page.next else self._deltas.token(delta, start.until)
        return self._page_response(request, page, {"deltaToken": new_token}, behaviour)

    def _page_start(self, request: Request, filter_: str, behaviour: Behaviour) -> PageStart:
        token = request.parameters.get("continuationToken")
        if token is None:
            return PageStart()
        if token in self._used_pages and not behaviour.pages_rereadable:
            raise invalid_continuation(behaviour)
        self._used_pages.add(token)
        return resume(token, filter_, self._clock.now(), behaviour)

    def _page_response(
        self, request: Request, page: Page, parameters: dict[str, str], behaviour: Behaviour
    ) -> Response:
        """The response with a page and its nextLink or deltaLink."""
        links = {}
        if page.next is not None:
            bound_to = parameters.get("filter", parameters.get("deltaToken", ""))
            token = continuation_token(page.next, bound_to, self._clock.now())
            names = ("filter", "externalReferences", "continuationToken", "deltaToken")
            known = {**parameters, "continuationToken": token}
            ordered = {name: known[name] for name in names if name in known}
            links["nextLink"] = make_link(request, request.path, ordered, behaviour.link_style)
        elif "deltaToken" in parameters:
            last = {"deltaToken": parameters["deltaToken"]}
            links["deltaLink"] = make_link(request, self.delta_path, last, behaviour.link_style)
        response = json_response(200, links)
        end = b"," + response.body[1:] if links else b"}"
        response.body = b'{"value":[' + b",".join(page.rows) + b"]" + end
        return response

    def _create(self, request: Request, behaviour: Behaviour) -> Response:
        id_ = self.create(self._body(request, behaviour), behaviour)
        record = json_response(201, self.store.records[id_])
        headers = {**record.headers, "Location": f"{self.path}/{id_}"}
        return Response(201, record.body if behaviour.created_body else b"", headers)

    def _get(self, request: Request, behaviour: Behaviour) -> Response:
        return json_response(200, self.store.records[self._id(request)])

    def _update(self, request: Request, behaviour: Behaviour) -> Response:
        self.replace(self._id(request), self._body(request, behaviour), behaviour)
        return Response(200)

    def _delete(self, request: Request, behaviour: Behaviour) -> Response:
        self.store.remove(self._id(request))
        return Response(behaviour.delete_status)

    def _id(self, request: Request) -> int:
        text = request.path.removeprefix(f"{self.path}/")
        if not text.isdecimal():
            raise HttpError(400, f"'{text}' is not an id.")
        if int(text) not in self.store.records:
            raise HttpError(404, f"There is no {text} in {self.collection.name}.")
        return int(text)

    def _body(self, request: Request, behaviour: Behaviour) -> dict[str, Any]:
        """The writable fields of the body, and what the tenant fills in."""
        try:
            body = json.loads(request.body)
        except ValueError:
            raise HttpError(400, "The body is not JSON.") from None
        fields = self.collection.writable(body if isinstance(body, dict) else {})
        problems = self.collection.problems(fields)
        if problems:
            raise BodyError(problems)
        return {**self.collection.filled_in(fields), **fields} if behaviour.fills_in else fields


class BodyError(HttpError):
    """A body with invalid fields: the one error without the `error` wrapper."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(400, "The body is not valid.")
        self.problems = problems

    def response(self) -> Response:
        """The documented list (page `reference/responses/`); the form of its items is a guess."""
        errors = [{"field": field, "message": message} for field, message in self.problems]
        return json_response(400, {"validationErrors": errors})
