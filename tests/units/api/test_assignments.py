"""The tutorial's steps, one line each, and what each of them says when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from protime_source import (
    ActivityLevel,
    ApiError,
    Assignment,
    BadRequestError,
    Client,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    SettingsError,
)
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour, Fault
from tests.conftest import WorldFactory
from tests.world import World

DAY = date(2026, 3, 10)
NEW = Assignment(person_id=1204, from_date=DAY)
FULL = Assignment(
    person_id=1204,
    from_date=DAY,
    until_date=date(2026, 3, 11),
    start_time_in_minutes=-60,
    end_time_in_minutes=480,
    break_duration_in_minutes=0,
    comments='Zaal "3"\n🙏🏽',
    activity_levels=(
        ActivityLevel(level=1, activity_definition_id="a-guid"),
        ActivityLevel(level=2, activity_definition_id="b-guid"),
    ),
)


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    """A client of the world's tenant."""
    with Client.from_config(**world.server.settings()) as opened:
        yield opened


def sent(world: World) -> list[tuple[str, int]]:
    return [(request.method, request.status) for request in world.tenant.api_requests]


def test_the_six_steps_of_the_tutorial(world: World) -> None:
    with Client.from_config() as client:
        new = client.assignments.create(Assignment(person_id=1204, from_date=DAY))
        assignment = client.assignments.get(new)
        client.assignments.update(new, replace(assignment, comments="Morning shift"))
        assert client.assignments.get(new).comments == "Morning shift"
        client.assignments.delete(new)
        with pytest.raises(NotFoundError):
            client.assignments.get(new)
    methods = [("POST", 201), ("GET", 200), ("PUT", 200), ("GET", 200), ("DELETE", 200)]
    assert sent(world) == [*methods, ("GET", 404)]
    assert new not in world.tenant.records


def test_assignments_are_found_by_their_first_day_and_person(make_world: WorldFactory) -> None:
    world = make_world(rows=0, page_size=2)
    first, second, third, other = (
        world.tenant.create(person={"id": person}, **{"from": day})
        for person, day in (
            (1, "2026-03-10"),
            (2, "2026-03-11"),
            (1, "2026-03-12"),
            (3, "2026-03-11"),
        )
    )
    with Client.from_config() as client:

        def ids(*arguments: Any) -> list[int | None]:
            return [each.id for each in client.assignments.find(*arguments)]

        assert ids(DAY, date(2026, 3, 12)) == [first, second, third, other]
        assert ids(DAY, date(2026, 3, 12), [1, 2]) == [first, second, third]
        assert ids(DAY, DAY, [2]) == []
        world.tenant.faults.append(Fault("status", status=409, after=1))
        assert {*ids(DAY, date(2026, 3, 12))} == {first, second, third, other}


def test_a_list_that_is_not_as_documented_is_an_error_of_ours(world: World, client: Client) -> None:
    for body in ('{"value": [1]}', '{"value": [{}]}'):
        world.tenant.faults.append(Fault("status", status=200, body=body))
        with pytest.raises(ProtocolError, match="not as documented"):
            [*client.assignments.find(DAY, DAY)]


def test_what_is_not_known_is_sent_back_as_it_came(world: World, client: Client) -> None:
    new = client.assignments.create(FULL)
    record = world.tenant.records[new]
    record["colour"] = "red"
    record["person"]["badge"] = "B7"
    record["activityLevels"][1] |= {"note": "x"}
    record["activityLevels"][1]["activityDefinition"]["name"] = "Welding"
    before = deepcopy(record)
    client.assignments.update(new, replace(client.assignments.get(new), comments="later"))
    after = {**before, "comments": "later"}
    assert {**world.tenant.records[new], "changeVersion": ""} == {**after, "changeVersion": ""}


def test_everything_that_can_be_written_is_read_again(world: World, client: Client) -> None:
    new = client.assignments.create(FULL)
    read = client.assignments.get(new)
    assert replace(read, id=None, change_version=None, is_rejected=None) == FULL
    assert (read.id, read.is_rejected) == (new, False)
    assert read.change_version == world.tenant.records[new]["changeVersion"]


def test_what_is_not_given_is_not_sent(world: World, client: Client) -> None:
    new = client.assignments.create(NEW)
    sent_fields = world.tenant.records[new].keys() - {"id", "changeVersion", "isRejected"}
    assert sent_fields == {"person", "from"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"until_date": None}, "until"),
        ({"start_time_in_minutes": None}, "startTimeInMinutes"),
        ({"break_duration_in_minutes": None}, "breakDurationInMinutes"),
        ({"comments": None}, "comments"),
        ({"activity_levels": ()}, "activityLevels"),
    ],
)
def test_a_field_that_is_taken_away_is_emptied(
    world: World, client: Client, change: dict[str, Any], field: str
) -> None:
    new = client.assignments.create(FULL)
    before = world.tenant.records[new]
    client.assignments.update(new, replace(client.assignments.get(new), **change))
    assert world.tenant.records[new].keys() == before.keys() - {field}


def test_an_update_without_changes_leaves_every_record_as_it_was(make_world: WorldFactory) -> None:
    world = make_world(rows=40, behaviour=Behaviour(extra_fields={"colour": "red", "x": [1]}))
    ids = list(world.tenant.records)
    before = {id_: {**world.tenant.records[id_], "changeVersion": ""} for id_ in ids}
    with Client.from_config() as client:
        for id_ in ids:
            client.assignments.update(id_, client.assignments.get(id_))
    after = {id_: {**world.tenant.records[id_], "changeVersion": ""} for id_ in ids}
    assert after == before


def test_fields_that_nobody_documented_survive_an_update(world: World, client: Client) -> None:
    new = world.tenant.create({"person": {"id": 1}, "from": "2026-03-10"}, colour="red", x=[1])
    assignment = client.assignments.get(new)
    assert assignment.other == {"colour": "red", "x": [1]}
    client.assignments.update(new, replace(assignment, comments="x"))
    assert world.tenant.records[new]["colour"] == "red"
    assert world.tenant.records[new]["comments"] == "x"


def test_read_only_fields_are_not_sent_back(world: World, client: Client) -> None:
    new = client.assignments.create(NEW)
    read = client.assignments.get(new)
    assert not {"id", "changeVersion", "isRejected"} & read.other.keys()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"start_time_in_minutes": 2881}, "startTimeInMinutes"),
        ({"end_time_in_minutes": -1441}, "endTimeInMinutes"),
        ({"break_duration_in_minutes": -1}, "breakDurationInMinutes"),
        ({"until_date": date(2026, 3, 9)}, "until"),
    ],
)
def test_an_invalid_assignment_is_reported_by_field(
    world: World, client: Client, wrong: dict[str, Any], reason: str
) -> None:
    new = client.assignments.create(NEW)
    before = dict(world.tenant.records)
    actions: list[Callable[[], object]] = [
        lambda: client.assignments.create(replace(NEW, **wrong)),
        lambda: client.assignments.update(new, replace(NEW, **wrong)),
    ]
    for action in actions:
        with pytest.raises(BadRequestError) as caught:
            action()
        assert reason in " ".join(caught.value.reasons)
        assert reason in str(caught.value)
    assert world.tenant.records == before


def test_what_is_not_there_is_not_found(client: Client) -> None:
    actions: list[Callable[[], object]] = [
        lambda: client.assignments.get(1),
        lambda: client.assignments.update(1, NEW),
        lambda: client.assignments.delete(1),
    ]
    for action in actions:
        with pytest.raises(NotFoundError, match="There is no 1 in assignments"):
            action()


def test_planning_flex_is_named_where_it_forbids_assignments(make_world: WorldFactory) -> None:
    make_world(behaviour=Behaviour(feature_disabled=True))
    with (
        Client.from_config() as client,
        pytest.raises(ForbiddenError, match="Planning Flex or Shift"),
    ):
        client.assignments.create(NEW)


@pytest.mark.parametrize("id_", ["7/../8", "", None, "7?x=1"])
def test_an_id_is_a_number_and_never_a_path(world: World, client: Client, id_: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        client.assignments.get(id_)
    assert world.tenant.requests == []


RECORD = '{"id": 7, "changeVersion": "A", "person": {"id": 1}, "from": "2026-03-10"%s}'


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"id": 7, "changeVersion": "A", "from": "2026-03-10"}',
        '{"person": null, "from": "2026-03-10"}',
        '{"person": {}, "from": "2026-03-10"}',
        '{"person": {"id": 1}}',
        '{"person": {"id": 1}, "from": null}',
        '{"person": {"id": 1}, "from": "soon"}',
        RECORD % ', "until": "later"',
        RECORD % ', "activityLevels": [{"level": 1}]',
        RECORD % ', "activityLevels": [1]',
        RECORD % ', "activityLevels": 1',
        "[]",
        "null",
    ],
)
def test_a_record_that_is_not_as_documented_is_an_error_of_ours(
    world: World, client: Client, body: str
) -> None:
    world.tenant.faults.append(Fault("status", status=200, body=body))
    with pytest.raises(ProtocolError, match="not as documented"):
        client.assignments.get(7)


def test_nulls_are_as_good_as_absent(world: World, client: Client) -> None:
    nulls = ', "until": null, "activityLevels": null, "comments": null, "isRejected": null'
    world.tenant.faults.append(Fault("status", status=200, body=RECORD % nulls))
    assignment = client.assignments.get(7)
    assert assignment == Assignment(person_id=1, from_date=DAY, id=7, change_version="A")


class Creating(BaseHTTPRequestHandler):
    """Creates whatever it is asked to, and says so in its own way."""

    location: str | None = None

    def do_POST(self) -> None:
        """Answers with a token that may do anything, or with a 201."""
        self.rfile.read(int(self.headers["Content-Length"]))
        is_token = self.path.endswith("/token")
        body = b'{"access_token": "a-token"}' if is_token else b""
        self.send_response(200 if is_token else 201)
        if not is_token and self.location is not None:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def create_at() -> Iterator[Callable[[str | None], int]]:
    """Creates an assignment where the answer has this `Location`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Creating)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"

    def create(location: str | None) -> int:
        Creating.location = location
        settings = {"tenant": "acme", "client_id": "id", "client_secret": "a-client-secret"}
        with Client.from_config(**settings, api_url=url, token_url=f"{url}/token") as client:
            return client.assignments.create(NEW)

    yield create
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "location",
    [
        f"{ASSIGNMENTS.path}/4711",
        f"{ASSIGNMENTS.path}/4711/",
        f"https://acme.myprotime.eu{ASSIGNMENTS.path}/4711",
        "4711",
    ],
)
def test_the_new_id_is_read_from_the_location(
    create_at: Callable[[str | None], int], location: str
) -> None:
    assert create_at(location) == 4711


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/",
        ASSIGNMENTS.path,
        f"{ASSIGNMENTS.path}/new",
        "/x/47.11",
        "/x/-4711",
        "/x/4\xb2",
    ],
)
def test_a_location_without_an_id_is_an_error(
    create_at: Callable[[str | None], int], location: str | None
) -> None:
    with pytest.raises(ProtocolError, match=r"created the assignment but the response has no id"):
        create_at(location)


def test_a_client_needs_its_settings() -> None:
    with pytest.raises(SettingsError, match="missing: tenant, client_id, client_secret"):
        Client.from_config()


def test_a_client_may_write_only_what_its_scopes_allow(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(granted_scopes=(ASSIGNMENTS.read_scope,)))
    with Client.from_config() as client, pytest.raises(ApiError, match=ASSIGNMENTS.write_scope):
        client.assignments.create(NEW)
    assert world.tenant.api_requests == []
