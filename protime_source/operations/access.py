"""What Protime lets a client read: token, scopes and collections, without starting a delta."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pendulum

from protime_source.api.http import ApiSession, HttpClient
from protime_source.api.pages import Page
from protime_source.api.redaction import redacted_url
from protime_source.api.responses import Response, decode_body
from protime_source.catalogue.model import Collection
from protime_source.errors import (
    ApiError,
    AuthenticationError,
    ProtimeError,
    ScopeError,
    SettingsError,
    UnavailableError,
)
from protime_source.operations.lines import CheckLine
from protime_source.pipeline.source import REFUSALS
from protime_source.pipeline.summary import refusal_message
from protime_source.settings import Settings

MAX_SKEW_SECONDS = 60
"""Seconds between this machine's clock and Protime's from which on `check` warns."""


class AccessCheck:
    """Asks Protime for a token of each scope, and for a page of each collection.

    Args:
        settings: The tenant, and the collections to ask for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_token = False
        self._skew: float | None = None
        self._granted: dict[str, bool] = {}

    def lines(self) -> list[CheckLine]:
        """Returns what was found: the token endpoint first, then the clock, scopes, collections."""
        found: list[CheckLine] = []
        with HttpClient(self._settings) as http:
            try:
                for table in self._settings.collections:
                    found.append(self._collection(http, self._settings.collection(table)))
            except (AuthenticationError, UnavailableError, SettingsError) as error:
                # It concerns all collections: to ask for the others would only take time.
                name = "Protime" if self._has_token else "token endpoint"
                return [*self._general(), *found, _problem(name, error)]
        return [*self._general(), *found]

    def _general(self) -> Iterator[CheckLine]:
        """What holds for all collections."""
        if self._has_token or self._granted:
            endpoint = redacted_url(self._settings.token_endpoint)
            yield CheckLine("token endpoint", "ok", endpoint)
        if self._skew is not None:
            yield _clock(self._skew)
        for scope, is_granted in self._granted.items():
            if is_granted:
                yield CheckLine("scope", "ok", scope)
            elif self._is_needed(scope):
                text = f"{scope}: Protime does not give it to this client. Ask Protime to add it."
                yield CheckLine("scope", "problem", text, ApiError.exit_code)

    def _is_needed(self, scope: str) -> bool:
        """Whether a collection cannot be read by any other of its scopes."""
        alternatives = (
            self._settings.collection(t).read_scopes for t in self._settings.collections
        )
        return any(
            scope in scopes and not any(self._granted.get(each) for each in scopes)
            for scopes in alternatives
        )

    def _collection(self, http: HttpClient, collection: Collection) -> CheckLine:
        """Tries a collection with the first of its scopes that Protime accepts, as a run does."""
        if not collection.path_parameters:
            text = "It needs the setting activity_structures: <GUID of a version>/<level>."
            return CheckLine(collection.table, "problem", text, SettingsError.exit_code)
        refusals: list[ApiError] = []
        for scope in collection.read_scopes:
            session = http.session([scope])
            try:
                session.authenticate()
                self._has_token = self._granted[scope] = True
                self._read(session, collection)
            except REFUSALS as error:
                self._granted[scope] = not isinstance(error, ScopeError)
                refusals.append(error)
            except (AuthenticationError, UnavailableError):
                raise
            except ApiError as error:
                return _problem(collection.table, error)
            else:
                return CheckLine(collection.table, "ok", "readable")
        text = refusal_message(collection, refusals[-1])
        return CheckLine(collection.table, "problem", text, ApiError.exit_code)

    def _read(self, session: ApiSession, collection: Collection) -> None:
        """Requests the first page of each of a collection's lists."""
        for parameters in collection.path_parameters:
            link = _smallest_list(collection, collection.path.format(**parameters))
            response = session.send("GET", link)
            self._note_time(response)
            decode_body(response, f"{self._settings.api_origin}{collection.path}", Page.read)

    def _note_time(self, response: Response) -> None:
        """How far this machine's clock is ahead of Protime's."""
        try:
            sent = parsedate_to_datetime(response.headers["Date"])
            self._skew = (datetime.now(UTC) - sent).total_seconds()
        except (KeyError, ValueError, TypeError):
            pass  # a gateway in between may send none


def _smallest_list(collection: Collection, path: str) -> str:
    """The link to a plain list: of one day where it has dates, else of all, in pages."""
    parameters = []
    if collection.date_column:
        day = pendulum.today("UTC").date().isoformat()
        parameters.append("filter=" + quote(f"date ge '{day}' and date le '{day}'"))
    if collection.requested:
        parameters.append("externalReferences=" + quote(collection.requested, safe="(),@"))
    return "?".join(filter(None, (path, "&".join(parameters))))


def _clock(skew: float) -> CheckLine:
    seconds = abs(round(skew))
    if seconds < MAX_SKEW_SECONDS:
        return CheckLine("clock", "ok", "as Protime's, to the minute")
    way = "ahead of" if skew > 0 else "behind"
    text = (
        f"This machine's clock is {seconds:,} seconds {way} Protime's. The times in synced_at and"
        " sync_runs are wrong by that. Let the machine set its clock by NTP."
    )
    return CheckLine("clock", "warning", text)


def _problem(name: str, error: ProtimeError) -> CheckLine:
    return CheckLine(name, "problem", str(error), error.exit_code)
