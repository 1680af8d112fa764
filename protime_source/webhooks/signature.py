"""Whether an event was signed with the private key of a webhook.

Protime signs events with an HMAC (documentation: how-to/set-up-webhooks). The header, the algorithm
and what is signed stand in a part of its pages that could not be read. So all likely forms are
tried, and no signature is required of a webhook until one of its events had a valid one: from then
on, what is not signed is forged. If that is ever wrong, Protime disables the webhook, and a new one
begins without that requirement.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from protime_source.webhooks.memory import KnownWebhook

_ALGORITHMS = ("sha256", "sha512", "sha1")

_HEADER = re.compile(r"signature|hmac", re.IGNORECASE)


class Signatures:
    """Checks the signatures of events.

    Args:
        webhooks: Returns the webhooks by their ids.
    """

    def __init__(self, webhooks: Callable[[], Mapping[str, KnownWebhook]]) -> None:
        self._webhooks = webhooks
        self._signing: set[str] = set()

    def accepts(self, collection: str, headers: Iterable[tuple[str, str]], body: bytes) -> bool:
        """Whether an event may be one of Protime's.

        Args:
            collection: Protime's name of the collection that its path names.
            headers: All of its headers.
            body: Its body as received.
        """
        webhooks = self._webhooks()
        of_collection = {
            id_: each.key for id_, each in webhooks.items() if each.collection == collection
        }
        shown = {part for name, value in headers if _HEADER.search(name) for part in _parts(value)}
        for id_, key in of_collection.items() if shown else ():
            if key and any(
                hmac.compare_digest(part, written)
                for written in _forms(key, body)
                for part in shown
            ):
                self._signing = {*(self._signing & webhooks.keys()), id_}
                return True
        return self._signing.isdisjoint(of_collection)


def _parts(value: str) -> Iterator[bytes]:
    """What may be the signature in a header like `sha256=...` or `t=..., v1=...`."""
    for part in re.split(r"[\s,;]+", value):
        for each in (part, part.partition("=")[2]):
            if text := each.rstrip("="):
                yield text.encode()
                yield text.lower().encode()


def _forms(key: str, body: bytes) -> Iterator[bytes]:
    """The signature of a body in all likely forms, without `=` at its end."""
    for secret in _secrets(key):
        for algorithm in _ALGORITHMS:
            digest = hmac.digest(secret, body, algorithm)
            yield digest.hex().encode()
            yield base64.b64encode(digest).rstrip(b"=")
            yield base64.urlsafe_b64encode(digest).rstrip(b"=")


def _secrets(key: str) -> Iterator[bytes]:
    """The key as text, and as what its text may stand for."""
    yield key.encode()
    for decode in (bytes.fromhex, base64.b64decode):
        with suppress(ValueError):  # also binascii's
            yield decode(key)
