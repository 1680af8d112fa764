"""Signatures are checked where there are any, in whatever form they come."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from protime_source.webhooks.memory import KnownWebhook
from protime_source.webhooks.signature import Signatures

BODY = b'{"changeType":"Delete","data":{"id":1}}'
KEY = base64.b64encode(b"a key of some bytes").decode()
HEX_KEY = b"another key".hex()


def known(collection: str, key: str = KEY) -> KnownWebhook:
    return KnownWebhook(collection, "", key, datetime.now(UTC))


@pytest.fixture
def webhooks() -> dict[str, KnownWebhook]:
    return {"a": known("people"), "b": known("clockings", "")}


@pytest.fixture
def signatures(webhooks: dict[str, KnownWebhook]) -> Signatures:
    return Signatures(lambda: webhooks)


def signed(key: bytes = KEY.encode(), algorithm: str = "sha256", body: bytes = BODY) -> bytes:
    return hmac.digest(key, body, algorithm)


def in_hex(digest: bytes) -> str:
    return digest.hex()


def in_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


FORMS: dict[str, tuple[Callable[[bytes], str], str]] = {
    "hex": (in_hex, "{}"),
    "upper case": (lambda digest: digest.hex().upper(), "{}"),
    "base64": (in_base64, "{}"),
    "of the web": (lambda digest: base64.urlsafe_b64encode(digest).decode(), "{}"),
    "named": (in_hex, "sha256={}"),
    "named, base64": (in_base64, "sha256={}"),
    "with a time": (in_hex, "t=1750000000,v1={}"),
    "several": (in_base64, "v1={}; v0=x"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("header", ["X-Signature", "x-protime-hmac-sha256"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
def test_once_an_event_was_signed_what_is_not_is_refused(
    signatures: Signatures, form: str, header: str, algorithm: str
) -> None:
    write, pattern = FORMS[form]
    right = [(header, pattern.format(write(signed(algorithm=algorithm))))]
    assert signatures.accepts("people", [], BODY)
    assert signatures.accepts("people", right, BODY)
    assert not signatures.accepts("people", [], BODY)
    assert not signatures.accepts("people", right, BODY + b" ")
    assert signatures.accepts("people", right, BODY)


@pytest.mark.parametrize(
    ("key", "secret"), [(KEY, b"a key of some bytes"), (HEX_KEY, b"another key")]
)
def test_the_key_may_stand_for_bytes(key: str, secret: bytes) -> None:
    signatures = Signatures(lambda: {"a": known("people", key)})
    assert signatures.accepts("people", [("Signature", in_hex(signed(secret)))], BODY)
    assert not signatures.accepts("people", [], BODY)


def test_a_signature_that_is_not_understood_requires_none(signatures: Signatures) -> None:
    other = [("X-Signature", in_hex(signed(body=b"1750000000." + BODY)))]
    assert signatures.accepts("people", other, BODY)
    assert signatures.accepts("people", [], BODY)


def test_a_signature_counts_only_in_a_header_for_it(signatures: Signatures) -> None:
    assert signatures.accepts("people", [("X-Request-Id", in_hex(signed()))], BODY)
    assert signatures.accepts("people", [], BODY)


def test_each_webhook_is_known_by_its_own_key(signatures: Signatures) -> None:
    right = [("X-Signature", in_hex(signed()))]
    assert signatures.accepts("people", right, BODY)
    assert signatures.accepts("clockings", [], BODY)
    assert signatures.accepts("clockings", right, BODY)


def test_without_a_key_nothing_can_be_signed(signatures: Signatures) -> None:
    assert signatures.accepts("clockings", [("X-Signature", in_hex(signed(b"")))], BODY)
    assert signatures.accepts("clockings", [], BODY)


def test_a_new_webhook_begins_anew(
    signatures: Signatures, webhooks: dict[str, KnownWebhook]
) -> None:
    right = [("X-Signature", in_hex(signed()))]
    assert signatures.accepts("people", right, BODY)
    webhooks["new"] = known("people", "other")
    assert not signatures.accepts("people", [], BODY)
    del webhooks["a"]
    assert signatures.accepts("people", [], BODY)
    assert signatures.accepts("people", right, BODY)
    new = [("X-Signature", in_hex(signed(b"other")))]
    assert signatures.accepts("people", new, BODY)
    assert not signatures.accepts("people", right, BODY)
