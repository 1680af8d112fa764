"""The webhooks at Protime: made, renewed, made anew, removed; whichever way Protime behaves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protime_source.api.http import HttpClient
from protime_source.catalogue import COLLECTIONS
from protime_source.demo import Behaviour, Fault
from protime_source.errors import ApiError
from protime_source.settings import Settings
from protime_source.webhooks.memory import Memory
from protime_source.webhooks.registration import PATH, SCOPES, Registration
from tests.conftest import WorldFactory
from tests.world import World

URL = "https://hooks.acme.example/protime"
TABLES = ("assignments", "people", "jobs")
WITH_DELTA = {each.name for each in COLLECTIONS.values() if each.has_delta}

DOCUMENTED = (
    "absences absence-definitions absence-groups access-clockings activity-durations assignments"
    " break-definitions breaks calculated-totals clockings contracts counters counter-definitions"
    " counter-groups paid-presences people shift-definitions work-interruptions"
)
"""Of reference/webhooks."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memory.json"


class Listening:
    """What starts of a listener do at Protime, one after the other."""

    def __init__(self, world: World, file: Path) -> None:
        self.tenant, self.file = world.tenant, file
        self.http = HttpClient(Settings.from_config())
        self.last: Registration | None = None

    def start(self, *tables: str, url: str = URL) -> tuple[str, ...]:
        """A new process: only the file is remembered."""
        self.last = Registration(self.http, tables or TABLES, url, Memory(self.file))
        return self.last.sync()

    def again(self) -> tuple[str, ...]:
        """The same process, later."""
        assert self.last is not None
        return self.last.sync()

    @property
    def listening(self) -> tuple[str, ...]:
        assert self.last is not None
        return self.last.listening

    @property
    def webhooks(self) -> dict[str, str]:
        """The ids of the webhooks that ring, by collection."""
        alive = [each for each in self.tenant.webhooks if each.enabled]
        assert len({each.collection for each in alive}) == len(alive)
        return {each.collection: each.id for each in alive}

    def requests(self) -> list[str]:
        """The methods of the requests since the last time."""
        found = [each.method for each in self.tenant.api_requests]
        self.tenant.clear_requests()
        return found


@pytest.fixture
def make(make_world: WorldFactory, file: Path) -> Iterator[Any]:
    made: list[Listening] = []

    def make(**switches: Any) -> Listening:
        made.append(Listening(make_world(rows=10, behaviour=Behaviour(**switches)), file))
        return made[-1]

    yield make
    for each in made:
        each.http.close()


EITHER_WAY: tuple[dict[str, Any], ...] = (
    {},
    {"webhook_list_needs_filter": True},
    {"webhook_deleted_listed": True},
    {"webhook_twins": "refused"},
    {"webhook_needs_collection_scope": True},
    {"webhook_needs_collection_scope": True, "missing_scope_status": 401},
    {"link_style": "absolute"},
)
either_way = pytest.mark.parametrize("switches", EITHER_WAY, ids=str)


def test_the_collections_with_webhooks_are_those_with_a_delta() -> None:
    assert set(DOCUMENTED.split()) == WITH_DELTA


@either_way
def test_a_life_with_webhooks(make: Any, switches: dict[str, Any]) -> None:
    it: Listening = make(**switches)
    assert it.start() == ("assignments", "people")
    first = it.webhooks
    assert first.keys() == {"assignments", "people"}
    path = Memory(it.file).path
    assert {each.url for each in it.tenant.webhooks} == {
        f"{URL}/{path}/assignments",
        f"{URL}/{path}/people",
    }
    it.requests()
    # A restart, and a look from time to time, change nothing.
    assert (it.start(), it.webhooks) == ((), first)
    assert (it.again(), it.listening) == ((), ("assignments", "people"))
    assert set(it.requests()) == {"GET"}
    # Protime disables one: a new one is made, and its table may have changes that did not ring.
    disabled = next(each for each in it.tenant.webhooks if each.collection == "people")
    disabled.enabled = False
    assert it.again() == ("people",)
    assert it.webhooks["assignments"] == first["assignments"]
    assert it.webhooks["people"] != first["people"]
    assert len(it.tenant.webhooks) == 2
    # The file is lost: the keys are gone, and so is the path.
    it.file.unlink()
    it.start()
    assert it.webhooks.keys() == first.keys()
    assert not set(it.webhooks.values()) & set(first.values())
    assert len(it.tenant.webhooks) == 2
    # One collection less.
    it.start("people")
    assert it.webhooks.keys() == {"people"}
    assert it.last is not None
    assert it.last.remove() == 1
    assert it.tenant.webhooks == []


@either_way
def test_a_webhook_is_replaced_before_it_ends(
    make: Any, switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    it: Listening = make(**switches)
    it.start()
    first = it.webhooks
    monkeypatch.setattr("protime_source.webhooks.registration.RENEWED_AT", 0)
    monkeypatch.setattr("protime_source.webhooks.registration._SOONEST_RENEWAL_SECONDS", 0)
    assert it.again() == ()
    assert it.webhooks.keys() == first.keys()
    assert not set(it.webhooks.values()) & set(first.values())
    assert len(it.tenant.webhooks) == 2
    order = [each.method for each in it.tenant.api_requests if each.status < 300]
    last = order[len(order) - order[::-1].index("POST") :]
    assert "DELETE" in last or switches.get("webhook_twins") == "refused"


def test_it_is_renewed_after_two_thirds_of_its_life(make: Any) -> None:
    it: Listening = make(webhook_validity_hours=30)
    it.start()
    [known, _] = Memory(it.file).webhooks.values()
    assert it.last is not None
    assert abs(it.last.renew_at - known.created_at.timestamp() - 20 * 3600) < 60


def test_the_webhooks_of_others_are_left_alone(make: Any) -> None:
    it: Listening = make()
    it.start(url=f"{URL}-other")
    it.start(url="https://elsewhere.example")
    others = list(it.tenant.webhooks)
    it.file.unlink()
    it.start()
    assert it.last is not None
    it.last.remove()
    assert it.tenant.webhooks == others


def test_what_a_killed_start_left_is_cleaned_up(make: Any) -> None:
    it: Listening = make()
    it.start()
    # Protime made it, but the response was lost, or the process was killed before it was kept.
    it.tenant.faults.append(Fault("cut", where=PATH, after=1))
    it.file.unlink()
    assert it.start() == ("people",)
    lost = it.webhooks["assignments"]
    assert lost not in Memory(it.file).webhooks
    it.again()
    assert len(it.tenant.webhooks) == len(it.webhooks) == 2
    assert it.webhooks["assignments"] != lost


def test_however_protime_shows_the_address_the_known_ones_are_kept(make: Any) -> None:
    it: Listening = make(webhook_url_hidden=True)
    it.start(url=URL.replace("hooks", "HOOKS"))
    first = it.webhooks
    assert (it.start(url=URL.replace("hooks", "HOOKS")), it.webhooks) == ((), first)
    assert len(it.tenant.webhooks) == 2
    it.start(url=URL)
    assert len(it.webhooks) == len(it.tenant.webhooks) == 2
    assert not set(it.webhooks.values()) & set(first.values())


def test_one_list_has_all_pages(make_world: WorldFactory, file: Path) -> None:
    it = Listening(make_world(rows=10, page_size=1), file)
    it.start()
    first = it.webhooks
    it.start()
    assert it.webhooks == first
    it.http.close()


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no scope": ({"granted_scopes": ()}, SCOPES[1]),
    "scope left out": ({"granted_scopes": (), "unknown_scope": "omit"}, SCOPES[1]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_where_webhooks_are_refused_it_is_said_once(
    make: Any, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    switches, words = REFUSALS[case]
    it: Listening = make(**switches)
    with caplog.at_level(logging.INFO):
        it.start()
        it.again()
    [line] = [record.getMessage() for record in caplog.records if "webhook" in record.getMessage()]
    assert "No collection has a webhook" in line
    assert words in line
    assert "Changes are loaded at the interval." in line
    assert (it.listening, it.tenant.webhooks) == ((), [])
    it.tenant.behaviour = Behaviour()
    it.tenant.revoke_tokens()
    assert it.again() == ("assignments", "people")


def test_without_the_scope_to_read_the_known_ones_are_kept(make: Any) -> None:
    it: Listening = make(granted_scopes=SCOPES[1:])
    assert it.start() == ("assignments", "people")
    first = it.webhooks
    assert (it.start(), it.webhooks) == ((), first)


def test_when_one_is_refused_the_others_ring(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    it: Listening = make()
    it.tenant.faults.append(Fault("status", status=400, where=PATH, after=1))
    assert it.start() == ("people",)
    assert it.listening == ("people",)
    assert "assignments: no webhook, because: " in caplog.text
    assert Memory(it.file).path not in caplog.text


def test_when_none_can_be_made_an_old_one_rings_on(make: Any) -> None:
    it: Listening = make()
    it.start()
    first = it.webhooks
    path = Memory(it.file).path
    it.file.write_text(f'{{"path": "{path}"}}')
    it.tenant.faults.append(Fault("status", status=500, where=PATH, after=1, times=99))
    assert it.start() == ()
    assert it.webhooks == first
    assert it.listening == ("assignments", "people")


def test_one_that_was_deleted_for_a_new_one_does_not_count(make: Any) -> None:
    it: Listening = make(webhook_twins="refused")
    it.start()
    path = Memory(it.file).path
    it.file.write_text(f'{{"path": "{path}"}}')
    # The first creation meets the old webhook, the second one, after its deletion, a fault.
    it.tenant.faults.append(Fault("status", status=400, where=PATH, after=3))
    it.start()
    assert it.listening == ("people",)
    assert it.again() == ("assignments",)
    assert it.webhooks.keys() == {"assignments", "people"}


def test_what_was_disabled_long_ago_is_left_alone(make: Any) -> None:
    it: Listening = make(webhook_deleted_listed=True)
    for _ in range(3):
        it.start()
        for each in it.tenant.webhooks:
            each.enabled = False
    it.start()
    it.requests()
    it.start()
    assert set(it.requests()) == {"GET"}
    assert len(it.tenant.webhooks) == 2


def test_when_protime_is_down_nothing_is_forgotten(make: Any) -> None:
    it: Listening = make()
    it.start()
    first = it.webhooks
    it.tenant.faults.append(Fault("status", status=500, times=99))
    assert it.start() == ()
    assert it.listening == ()
    it.tenant.faults.clear()
    it.start()
    assert (it.webhooks, set(it.listening)) == (first, {"assignments", "people"})


def test_who_removes_them_learns_when_that_failed(make: Any) -> None:
    it: Listening = make()
    it.start()
    it.tenant.faults.append(Fault("status", status=500, where=PATH, after=1, times=99))
    assert it.last is not None
    with pytest.raises(ApiError, match="500"):
        it.last.remove()


UNDOCUMENTED: dict[str, Any] = {
    "no body": b"",
    "not JSON": b"<html>",
    "another name of the key": b'{"webhookKey": "k"}',
}


@pytest.mark.parametrize("case", UNDOCUMENTED)
def test_the_response_to_a_creation_may_be_another(make: Any, case: str) -> None:
    it: Listening = make()
    location = {"Location": f"{PATH}/some-guid", "Content-Type": "application/json"}
    made = Fault(
        "status", status=201, body=UNDOCUMENTED[case], headers=location, where=PATH, after=1
    )
    it.tenant.faults.append(made)
    assert it.start("assignments") == ("assignments",)
    [(id_, known)] = Memory(it.file).webhooks.items()
    assert (id_, known.collection) == ("some-guid", "assignments")
    assert known.key == ("k" if "key" in case else "")
