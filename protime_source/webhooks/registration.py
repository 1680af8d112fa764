"""The webhooks at Protime: made, renewed before they end, made anew, and removed.

Documentation: reference/webhooks, how-to/set-up-webhooks, concepts/webhook-lifecycle. They advise
to load everything again before a webhook that was disabled is replaced. That is for those who take
the changes from the events. Here an event is only a ring: the changes come by the delta, whose link
says where the last run ended, whether anything rang since or not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from protime_source.api.http import ApiSession, HttpClient
from protime_source.api.responses import Response
from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import API_PATH, Collection
from protime_source.errors import (
    ApiError,
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    ScopeError,
    UnauthorizedError,
)
from protime_source.webhooks.memory import KnownWebhook, Memory

logger = logging.getLogger(__name__)

PATH = f"{API_PATH}/webhooks"

SCOPES = ("connector-protimeapi-webhooks.read", "connector-protimeapi-webhooks.write")

RENEWED_AT = 2 / 3
"""The part of its life after which a webhook is replaced: Protime does not say how long that is."""

_SOONEST_RENEWAL_SECONDS = 1.0

_NAMES = tuple(each.name for each in COLLECTIONS.values() if each.has_delta)

_REFUSED = (ForbiddenError, UnauthorizedError)


@dataclass(frozen=True)
class _Listed:
    """A webhook as Protime lists it, or as it is remembered where Protime lists none."""

    id: str
    url: str
    collection: str
    is_alive: bool
    valid_until: datetime | None


class Registration:
    """Keeps one webhook alive for each collection that has them.

    All webhooks below the listener's URL are its own, also those that it does not remember: a start
    that was killed, or a lost file, leaves some.

    Args:
        http: The HTTP client.
        tables: The tables that the listener keeps up to date.
        url: The listener's public address.
        memory: What is remembered of the webhooks.

    Attributes:
        listening: The tables that have a webhook.
        renew_at: When to call `sync` at the latest (seconds since 1970).
    """

    def __init__(self, http: HttpClient, tables: Iterable[str], url: str, memory: Memory) -> None:
        self._http, self._memory, self._url = http, memory, url.rstrip("/")
        self._collections = {
            each.name: each for table in tables if (each := COLLECTIONS[table]).has_delta
        }
        self._deleted: set[str] = set()
        self._said = ""
        self.listening: tuple[str, ...] = ()
        self.renew_at = math.inf

    def sync(self) -> tuple[str, ...]:
        """Makes what is missing, disabled or about to end, and deletes what is no longer needed.

        What Protime refuses is said once; the collections concerned are loaded at the interval.

        Returns:
            The tables that had no webhook until now, so that nothing rang for their changes.
        """
        problems: dict[str, ApiError] = {}
        kept: dict[str, KnownWebhook] = {}
        silent: list[str] = []
        try:
            session = self._session()
            ours = self._list(session)
            for name, collection in self._collections.items():
                old = [each for each in ours if each.collection == name]
                alive = [each for each in old if each.is_alive and self._leads_here(each)]
                known = self._known(alive)
                try:
                    if not known:
                        known = self._create(session, collection, old)
                        self._memory.keep(self._memory.webhooks | known)
                        silent += [] if alive else [collection.table]
                except ApiError as error:
                    problems[name] = error
                    known = self._adopted(alive)
                kept |= known
            ended = [each for each in ours if each.id in self._memory.webhooks.keys() - kept.keys()]
            if disabled := [each.collection for each in ended if not each.is_alive]:
                logger.info(
                    "%s: Protime disabled the webhook, so a new one is made. Nothing is lost: the"
                    " delta has what it did not ring for.",
                    ", ".join(disabled),
                )
            if kept != self._memory.webhooks:
                self._memory.keep(kept)
            superfluous = [each for each in ours if each.is_alive and each.id not in kept]
            self._delete(session, [each.id for each in (*superfluous, *ended)])
        except ApiError as error:
            problems = dict.fromkeys(self._collections, error)
        else:
            ringing = {each.collection for each in kept.values()}
            tables = ((name, each.table) for name, each in self._collections.items())
            self.listening = tuple(table for name, table in tables if name in ringing)
        # What failed is tried again at the interval, not at once.
        renewals = (_renew_at(k) for k in kept.values() if k.collection not in problems)
        self.renew_at = min(renewals, default=math.inf)
        self._say(problems)
        return tuple(silent)

    def remove(self) -> int:
        """Deletes all webhooks below the listener's URL, and returns how many.

        Raises:
            ApiError: When Protime refuses.
        """
        session = self._session()
        ids = [each.id for each in self._list(session) if each.is_alive]
        self._delete(session, ids, is_patient=False)
        self._memory.keep({})
        return len(ids)

    def _known(self, alive: Sequence[_Listed]) -> dict[str, KnownWebhook]:
        """The webhook of a collection whose key is known, if it need not be replaced."""
        now = datetime.now(UTC).timestamp()
        for each in alive:
            known = self._memory.webhooks.get(each.id)
            if known:
                known = msgspec.structs.replace(
                    known, valid_until=each.valid_until or known.valid_until
                )
                if _renew_at(known) > now:
                    return {each.id: known}
        return {}

    def _adopted(self, alive: Sequence[_Listed]) -> dict[str, KnownWebhook]:
        """The first webhook that was not deleted, even if its key is lost, or it ends soon."""
        for each in alive:
            if each.id not in self._deleted:
                now = datetime.now(UTC)
                unknown = KnownWebhook(each.collection, each.url, "", now, each.valid_until)
                return {each.id: self._memory.webhooks.get(each.id) or unknown}
        return {}

    def _leads_here(self, webhook: _Listed) -> bool:
        """Whether events of a webhook come; what it was made with counts, if that is known."""
        known = self._memory.webhooks.get(webhook.id)
        url, destination = webhook.url, self._destination(webhook.collection)
        return known.url == destination if known else url.casefold() == destination.casefold()

    def _create(
        self, session: ApiSession, collection: Collection, old: Sequence[_Listed]
    ) -> dict[str, KnownWebhook]:
        """Makes the webhook of a collection; those that it replaces are deleted after that.

        Whether Protime takes two for the same address is not documented: if not, the old ones go
        first. Nor is whether the token needs the scope of the collection too, as in
        tutorials/real-time-sync.
        """
        try:
            response = self._post(session, collection)
        except _REFUSED:
            for scope in collection.read_scopes:
                try:
                    response = self._post(self._http.session((*SCOPES, scope)), collection)
                    break
                except (ScopeError, *_REFUSED):
                    pass
            else:
                raise
        except (BadRequestError, ExpiredError):
            if not old:
                raise
            self._delete(session, [each.id for each in old])
            response = self._post(session, collection)
        content = _fields(response.content)
        id_ = _text(content, "id") or response.headers.get("Location", "").rpartition("/")[2]
        if not id_:
            raise ProtocolError("Protime made a webhook, but the response has no id (Location).")
        keys = (_text(content, name) for name in content if "key" in name.lower())
        now = datetime.now(UTC)
        until = _moment(_text(content, "validUntil"))
        url = self._destination(collection.name)
        return {id_: KnownWebhook(collection.name, url, next(keys, ""), now, until)}

    def _post(self, session: ApiSession, collection: Collection) -> Response:
        destination = self._destination(collection.name)
        body = {"destinationUrl": destination, "collectionName": collection.name}
        return session.send("POST", PATH, body)

    def _destination(self, name: str) -> str:
        """Where the webhook of a collection leads. Its last segment says what rang."""
        return f"{self._url}/{self._memory.path}/{name}"

    def _delete(self, session: ApiSession, ids: Iterable[str], *, is_patient: bool = True) -> None:
        """Deletes webhooks; one that cannot be deleted rings on, or ends by itself."""
        for id_ in ids:
            if id_ in self._deleted:  # the list may still show it
                continue
            try:
                session.send("DELETE", f"{PATH}/{id_}")
            except NotFoundError:
                pass
            except ApiError as error:
                if not is_patient:
                    raise
                logger.info("A webhook that is no longer needed could not be deleted: %s", error)
                continue
            self._deleted.add(id_)

    def _session(self) -> ApiSession:
        """A session that may read and write webhooks, or at least write them."""
        session = self._http.session(SCOPES)
        try:
            session.authenticate()
        except ScopeError:
            session = self._http.session(SCOPES[1:])
            session.authenticate()
        return session

    def _list(self, session: ApiSession) -> list[_Listed]:
        """The webhooks below the listener's URL, those that end last first."""
        try:
            found = list(_pages(session, PATH))
        except _REFUSED:
            return [
                _Listed(id_, known.url, known.collection, True, None)
                for id_, known in self._memory.webhooks.items()
            ]
        except BadRequestError:  # without a filter; the lists of most collections need one
            found = [
                each
                for name in _NAMES
                for each in _pages(session, f"{PATH}?filter=collection-name eq '{name}'")
            ]
        base = f"{self._url}/".casefold()
        ours = [
            _Listed(
                id_,
                url,
                _text(each, "collectionName"),
                _text(each, "status") != "Disabled" and id_ not in self._deleted,
                _moment(_text(each, "validUntil")),
            )
            for each in found
            if (id_ := _text(each, "id"))
            and (
                (url := _text(each, "destinationUrl")).casefold().startswith(base)
                or id_ in self._memory.webhooks  # however Protime shows its URL
            )
        ]
        return sorted(ours, key=lambda w: w.valid_until.timestamp() if w.valid_until else 0)[::-1]

    def _say(self, problems: Mapping[str, ApiError]) -> None:
        """Says which collections have no webhook, and why, unless that was said last."""
        reasons: dict[str, list[str]] = {}
        for name, error in problems.items():
            reasons.setdefault(str(error), []).append(self._collections[name].table)
        text = " ".join(
            f"{'No collection' if len(tables) == len(self._collections) else ', '.join(tables)}"
            f"{' has a webhook' if len(tables) == len(self._collections) else ': no webhook'},"
            f" because: {reason} Changes are loaded at the interval."
            for reason, tables in reasons.items()
        )
        if text != self._said and text:
            logger.warning("%s", text)
        elif text != self._said:
            logger.info("All collections that have webhooks ring again.")
        self._said = text


def _pages(session: ApiSession, link: str | None) -> Iterator[dict[str, Any]]:
    """The entries of all pages of a list."""
    seen: set[str] = set()
    while link and link not in seen:
        seen.add(link)
        page = session.get(link, msgspec.json.Decoder(dict[str, Any]).decode)
        value = page.get("value")
        yield from (each for each in value or () if isinstance(each, dict))
        link = _text(page, "nextLink")


def _renew_at(webhook: KnownWebhook) -> float:
    """When a webhook is to be replaced (seconds since 1970)."""
    if webhook.valid_until is None:
        return math.inf
    made = webhook.created_at.timestamp()
    life = webhook.valid_until.timestamp() - made
    return made + max(life * RENEWED_AT, _SOONEST_RENEWAL_SECONDS)


def _fields(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
