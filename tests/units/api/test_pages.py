"""An answer's links, found at its end or wherever they are."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.api.pages import LINK_BYTES, Page
from protime_source.catalogue import ASSIGNMENTS
from protime_source.cli.failures import explain
from protime_source.demo import Fault
from protime_source.pipeline.load import load
from tests.world import World

LONG = b'[{"id":1,"comments":"%b"}]' % (b"x" * LINK_BYTES)
LINK = rb'"/a?b=c&d=\"e\"\u0026\\"'


def _shown(body: bytes) -> tuple[str | None, str | None]:
    """The links by a parser that knows nothing of ends."""
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


@pytest.mark.parametrize("middle", [b'[{"id":1 "x":2}]', b'[{"id":1},]', b"[" * 2000 + b"]" * 2000])
def test_a_body_that_is_broken_in_its_middle_is_not_loaded(world: World, middle: bytes) -> None:
    """Its end leads on all the same; the next page is asked for before that is found out."""
    path = ASSIGNMENTS.delta_start(date(date.today().year, 1, 1))
    body = f'{{{" " * LINK_BYTES}"value":{middle.decode()},"nextLink":"{path}"}}'
    world.tenant.faults.append(Fault("status", status=200, body=body))
    with pytest.raises(PipelineStepFailed) as caught:
        load(world.pipeline())
    assert "is not as documented" in explain(caught.value).message
    load(world.pipeline())
    world.check()
