"""The links of a response, found at its end or wherever they are, and where pages end."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import ProtocolError
from protime_source.api import pages as pages_module
from protime_source.api.http import ApiSession
from protime_source.api.pages import LINK_BYTES, MAX_EMPTY_PAGES, Page, iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from tests.world import World

PATH = ASSIGNMENTS.path
START = ASSIGNMENTS.delta_start(date(date.today().year - 1, 1, 1))
LONG = b'[{"id":1,"comments":"%b"}]' % (b"x" * LINK_BYTES)
LINK = rb'"/a?b=c&d=\"e\"\u0026\\"'


def _shown(body: bytes) -> tuple[str | None, str | None]:
    """Returns the links by a parser of the whole body."""
    answer = msgspec.json.decode(body)
    return answer.get("nextLink") or None, answer.get("deltaLink") or None


@pytest.mark.parametrize("value", [b"[]", LONG])
@pytest.mark.parametrize(
    "body",
    [
        rb'{"value":VALUE,"nextLink":LINK}',
        rb'{"value": VALUE , "nextLink" : LINK }' + b" \r\n",
        rb'{"nextLink":LINK,"value":VALUE}',
        rb'{"value":VALUE,"nextLink":LINK,"count":1}',
        rb'{"value":VALUE,"nextLink":""}',
        rb'{"value":VALUE,"nextLink":null}',
        rb'{"value":VALUE,"deltaLink":LINK}',
        rb'{"value":VALUE,"nextLink":"/first","nextLink":LINK}',
        rb'{"value":VALUE,"note":",\"nextLink\":\"/no\"}"}',
        rb'{"value":VALUE,"note":"{\"nextLink\":\"/no\"}","deltaLink":LINK}',
        rb'{"value":VALUE,"inner":{"nextLink":"/no"}}',
        rb'{"value":VALUE,"inner":[{"nextLink":"/no"}]}',
        rb'{"value":VALUE,"nextLink":LINK,"nextlink":"/no"}',
        rb'{"value":VALUE,"x\"nextLink":"/no"}',
        rb'{"value":VALUE,"x,\"nextLink":"/no"}',
    ],
)
def test_a_link_is_found_wherever_it_is(body: bytes, value: bytes) -> None:
    body = body.replace(b"VALUE", value).replace(b"LINK", LINK)
    page = Page.read(body)
    assert (page.next_link, page.delta_link) == _shown(body)
    assert page.records == msgspec.Raw(value)
    assert page.is_empty == (value == b"[]")


@pytest.mark.parametrize("value", [b"[]", b"[ \n]", b"null", b"[{}]", b"[1]"])
@pytest.mark.parametrize(
    "body", [b'{"value":VALUE,PAD"nextLink":"/a"}', b'{PAD"value":VALUE,"nextLink":"/a"}']
)
@pytest.mark.parametrize(
    "padding", [b"", b" " * 2 * LINK_BYTES, b'"note":"%b",' % (b"x" * 2 * LINK_BYTES)]
)
def test_an_empty_page_is_found_whatever_its_size(
    body: bytes, value: bytes, padding: bytes
) -> None:
    page = Page.read(body.replace(b"VALUE", value).replace(b"PAD", padding))
    assert page.next_link == "/a"
    assert page.is_empty == (msgspec.json.decode(value) in ([], None))


def test_a_link_that_is_longer_than_what_is_looked_at() -> None:
    link = "/" + "a" * 2 * LINK_BYTES
    body = msgspec.json.encode({"value": [], "nextLink": link})
    assert Page.read(body).next_link == link


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_body_that_is_cut_is_no_answer(cut: int) -> None:
    body = b'{"value":%b,"nextLink":"/a"}' % LONG
    with pytest.raises(msgspec.DecodeError):
        Page.read(body[:-cut])


def test_a_body_that_is_broken_in_its_middle_is_not_loaded(world: World) -> None:
    """Its end leads on all the same; the next page is requested before that is found out."""
    path = ASSIGNMENTS.delta_start(date(date.today().year, 1, 1))
    for middle in ('[{"id":1 "x":2}]', '[{"id":1},]', "[" * 1_000_000 + "]" * 1_000_000):
        body = f'{{{" " * LINK_BYTES}"value":{middle},"nextLink":"{path}"}}'
        world.tenant.faults.append(Fault("status", status=200, body=body))
        with pytest.raises(PipelineStepFailed) as caught:
            load(world.pipeline())
        assert "is not as documented" in explain(caught.value).message
        assert world.tenant.faults == []
    load(world.pipeline())
    world.check()


def page(value: str = "[]", **links: str) -> Fault:
    body = json.dumps({"value": "VALUE", **links}).replace('"VALUE"', value)
    return Fault("status", status=200, body=body)


def linked(*names: str) -> list[Fault]:
    """Pages with a record each, of which each leads to the next name."""
    return [page('[{"id": 1}]', nextLink=f"{PATH}?page={name}") for name in names]


@pytest.mark.parametrize("names", ["aa", "aba", "abca", "abb", "abcb"])
def test_pages_that_lead_in_a_circle_are_an_error(
    world: World, session: ApiSession, names: str
) -> None:
    world.tenant.faults += linked(*names)
    with pytest.raises(ProtocolError, match="lead in a circle"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == len(names)


def test_a_link_that_leads_to_itself_is_an_error(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("loop", times=99))
    with pytest.raises(ProtocolError, match="lead in a circle"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == 2  # we write `delta`, the tenant's links have `delta=`


def test_empty_pages_without_end_are_an_error(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("chain", times=2 * MAX_EMPTY_PAGES))
    with pytest.raises(ProtocolError, match=f"{MAX_EMPTY_PAGES + 1} pages in a row were empty"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == MAX_EMPTY_PAGES + 1


@pytest.mark.parametrize("empty", ["[]", "[ ]", "[\n\t]"])
def test_only_empty_pages_in_a_row_count(
    world: World, session: ApiSession, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    monkeypatch.setattr(pages_module, "MAX_EMPTY_PAGES", 2)
    values = [empty, empty, "[{}]", empty, empty]
    world.tenant.faults += [
        page(value, nextLink=f"{PATH}?page={number}") for number, value in enumerate(values)
    ]
    world.tenant.faults.append(page("[[]]", deltaLink=f"{PATH}?deltaToken=x"))
    pages = list(iter_pages(session, ASSIGNMENTS, START))
    assert [each.is_empty for each in pages] == [value == empty for value in values] + [False]
    world.tenant.faults += [page(empty, nextLink=f"{PATH}?page={number}") for number in range(3)]
    with pytest.raises(ProtocolError, match="3 pages in a row"):
        list(iter_pages(session, ASSIGNMENTS, START))


def test_what_is_empty_and_what_is_not() -> None:
    shown = {text: Page.read(b'{"value":%b}' % text).is_empty for text in (b"[]", b"[1]", b"null")}
    assert shown == {b"[]": True, b"[1]": False, b"null": True}


@pytest.mark.parametrize(
    ("links", "shown"),
    [
        ({"nextLink": "/a", "deltaLink": "/b"}, ("/a", None)),
        ({"nextLink": "", "deltaLink": "/b"}, (None, "/b")),
        ({"nextLink": "/a", "deltaLink": ""}, ("/a", None)),
        ({"nextLink": "", "deltaLink": None}, (None, None)),
    ],
)
def test_an_answer_that_goes_on_is_not_the_last(
    links: dict[str, str], shown: tuple[str | None, str | None]
) -> None:
    page = Page.read(msgspec.json.encode({"value": [], **links}))
    assert (page.next_link, page.delta_link) == shown
