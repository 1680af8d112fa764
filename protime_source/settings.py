"""The settings of the source and their checks."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import dlt
import pendulum

from protime_source import choices
from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection
from protime_source.choices import PREFIX, SECTION, wrong
from protime_source.errors import SettingsError
from protime_source.version import __version__

logger = logging.getLogger(__name__)

Environment = Literal["production", "sandbox"]
Deletes = Literal["mark", "remove"]

_DOMAINS: dict[Environment, str] = {"production": "myprotime.eu", "sandbox": "myprotimesandbox.eu"}
REQUIRED = ("tenant", "client_id", "client_secret")
"""The settings without a default."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, in the environment, in `.dlt/` files or as arguments.

    Attributes:
        tenant: First label of the customer's myProtime host.
        client_id: OAuth2 client id, given by Protime.
        client_secret: OAuth2 client secret, given by Protime.
        environment: `production` (myprotime.eu) or `sandbox` (myprotimesandbox.eu).
        company: Named in the mandatory `User-Agent`; the tenant unless set.
        start_date: First day of the delta's date filter, `YYYY-MM-DD`; unset, 1 January of the
            previous year.
        deletes: `mark` keeps a deleted row with its last-known values, `remove` deletes it.
        max_vanished_share: A resync that would mark a larger share of the live rows in its
            window (0 to 1) changes nothing and fails.
        api_url: Scheme, host and port of the API, instead of the one of tenant and environment.
        token_url: Full URL of the token endpoint, instead of the one of tenant and environment.
        collections: The tables to load, or `all`.
        sensitive_columns: Columns with personal data to load all the same: `people.birth_date`.
        external_references: By table, the references to ask for: `(people,@badge-number)`.
        activity_structures: `<GUID of a structure version>/<level>` of activity definitions.
        history: Whether to keep a log of every event, in `<table>__changes`.
    """

    tenant: str
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    environment: Environment = "production"
    company: str | None = None
    start_date: str | None = None
    deletes: Deletes = "mark"
    max_vanished_share: float = 0.5
    api_url: str | None = None
    token_url: str | None = None
    collections: tuple[str, ...] = ("assignments",)
    sensitive_columns: tuple[str, ...] = ()
    external_references: Mapping[str, str] = field(default_factory=dict)
    activity_structures: tuple[str, ...] = ()
    history: bool = False

    @classmethod
    def from_config(cls, *, complete: bool = True, **explicit: Any) -> Settings:
        """Reads and checks the settings.

        Only the section `sources.protime` counts. dlt's injection would go on to look for a bare
        `ENVIRONMENT` or `COMPANY`, which other programs set for other reasons.

        Args:
            **explicit: Settings given in code; they win over the configuration.

        Returns:
            The settings, complete and checked.

        Raises:
            SettingsError: When one is missing, unknown or wrong.
        """
        names = [each.name for each in fields(cls)]
        if unknown := set(explicit) - set(names):
            raise SettingsError(
                f"Unknown setting: {', '.join(sorted(unknown))}. Nothing was changed. There are:"
                f" {', '.join(names)}."
            )
        _tell_misspelt(names)
        given = {name: value for name, value in explicit.items() if value is not None}
        found = {name: _configured(name) for name in names if name not in given}
        values = given | {name: value for name, value in found.items() if value is not None}
        if not complete:
            values = {**dict.fromkeys(REQUIRED, "x"), **values}
        if missing := [name for name in REQUIRED if not str(values.get(name, "")).strip()]:
            raise SettingsError(_missing(missing))
        settings = cls(**_chosen({**values, **{name: str(values[name]) for name in REQUIRED}}))
        settings.check()
        return settings

    def check(self) -> None:
        """Checks what can be checked without a request.

        Raises:
            SettingsError: When a setting is wrong.
        """
        _check_tenant(self.tenant)
        _check_choice("environment", self.environment, get_args(Environment))
        _check_choice("deletes", self.deletes, get_args(Deletes))
        if not _is_share(self.max_vanished_share):
            raise wrong("max_vanished_share", self.max_vanished_share, "a number from 0 to 1")
        if self.company is not None and not isinstance(self.company, str):
            raise wrong("company", self.company, "text")
        if self.api_url is not None and not _is_http(self.api_url, path=False):
            raise wrong(
                "api_url", _shown(self.api_url), "just scheme and host: https://acme.myprotime.eu"
            )
        if self.token_url is not None and not _is_http(self.token_url, path=True):
            raise wrong(
                "token_url", _shown(self.token_url), "a URL like https://host/connect/token"
            )
        self.window_start()  # raises when it is no date

    @property
    def api_origin(self) -> str:
        """Scheme, host and port of the API, without a slash at the end."""
        url = self.api_url or f"https://{self.tenant}.{_DOMAINS[self.environment]}"
        return url.rstrip("/")

    @property
    def token_endpoint(self) -> str:
        """URL of the token endpoint (documentation: reference/authentication)."""
        domain = _DOMAINS[self.environment]
        default = f"https://authentication.{domain}/tenants/{self.tenant}/connect/token"
        return self.token_url or default

    @property
    def user_agent(self) -> str:
        """`ServiceName/Version (Company Name)`, mandatory (documentation: reference/general-specs).

        HTTP headers are ASCII: accents are taken off, what cannot be written is left out.
        """
        plain = unicodedata.normalize("NFKD", self.company or self.tenant)
        company = re.sub(r"[^ -~]|[()]", "", plain).strip() or self.tenant
        return f"dlt-source-protime/{__version__} ({company})"

    def collection(self, table: str) -> Collection:
        """A collection as it is to be loaded: its columns, references and path_parameters."""
        wanted = [each.partition(".") for each in self.sensitive_columns]
        found = COLLECTIONS[table].without_sensitive(
            frozenset(column for of, _, column in wanted if of == table)
        )
        if not found.needs_structure:
            return found.with_references(self.external_references.get(table, ""))
        pairs = [each.split("/") for each in self.activity_structures]
        path_parameters = (
            {"structure_version": guid, "level": int(level)} for guid, level in pairs
        )
        return replace(found, path_parameters=tuple(path_parameters))

    def window_start(self) -> date:
        """First day of the delta's date filter.

        Raises:
            SettingsError: When `start_date` is no date.
        """
        if self.start_date is None:
            return earliest_start()
        try:
            return date.fromisoformat(str(self.start_date))
        except ValueError as error:
            raise wrong("start_date", self.start_date, "a date like 2026-01-31") from error

    def check_window(self) -> None:
        """Checks that Protime would start a delta at `start_date`.

        Raises:
            SettingsError: When it is earlier than 1 January of the previous year.
        """
        if (start := self.window_start()) < (earliest := earliest_start()):
            raise SettingsError(
                f"start_date {start} is too early: Protime starts a delta no earlier than"
                f" {earliest}, 1 January of the previous year. Nothing was changed. Set start_date"
                f" to {earliest} or later, or leave it out."
            )


def earliest_start() -> date:
    """The earliest first day that Protime allows a delta (documentation: reference/delta).

    The documentation names no time zone. Brussels turns the year before UTC does, so a date
    that is allowed there is allowed in both.
    """
    return date(pendulum.now("Europe/Brussels").year - 1, 1, 1)


_told: set[str] = set()


def _tell_misspelt(names: list[str]) -> None:
    """Warns once of each name that was set and means nothing: nobody else would."""
    for found, meant in choices.misspelt(names):
        if found not in _told:
            _told.add(found)
            logger.warning("%s is no setting, and changes nothing: is %s meant?", found, meant)


def _missing(missing: list[str]) -> str:
    variables = ", ".join(f"{PREFIX}{name.upper()}" for name in missing)
    these = "variable" if len(missing) == 1 else "variables"
    noun = "setting is" if len(missing) == 1 else "settings are"
    return (
        f"The {noun} missing: {', '.join(missing)}. Nothing was changed. Set the environment"
        f" {these} {variables}, or write to .dlt/secrets.toml in this folder, under"
        f" [{SECTION}]."
    )


def _configured(name: str) -> Any:
    """A setting from dlt's providers, as the type it has; `None` when nobody set it."""
    accessor = dlt.secrets if name in ("client_id", "client_secret") else dlt.config
    if name == "external_references":
        return _references_by_table()
    value: Any = accessor.get(f"{SECTION}.{name}")
    if value is None or name in ("collections", "sensitive_columns", "activity_structures"):
        return value
    if name != "max_vanished_share":
        return str(value).strip()
    try:
        return float(value)
    except ValueError as error:
        raise wrong(name, value, "a number from 0 to 1") from error


def _references_by_table() -> dict[str, Any] | None:
    """What stands under `sources.protime.<table>`."""
    found: dict[str, Any] = {
        table: dlt.config.get(f"{SECTION}.{table}.external_references") for table in COLLECTIONS
    }
    return {table: value for table, value in found.items() if value is not None} or None


def _chosen(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with those that name collections and columns looked up."""
    structures = choices.activity_structures(values.get("activity_structures", ()))
    return {
        **values,
        "activity_structures": structures,
        "collections": choices.collections(
            values.get("collections", Settings.collections), structures
        ),
        "sensitive_columns": choices.sensitive_columns(values.get("sensitive_columns", ())),
        "external_references": choices.external_references(values.get("external_references", {})),
        "history": choices.is_on("history", values.get("history", False)),
    }


def _check_tenant(value: object) -> None:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", str(value)):
        label = "the first label of a host: acme of https://acme.myprotime.eu"
        raise wrong("tenant", value, label)


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise wrong(name, value, " or ".join(allowed))


def _shown(url: object) -> str:
    """A URL without what may be a password."""
    return re.sub(r"[^/]*@", "***@", re.sub(r"\?.*", "?***", str(url), flags=re.DOTALL))


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_http(url: object, *, path: bool) -> bool:
    """Whether it is an HTTP URL without user, password, query and blanks, `path` if wanted."""
    if not isinstance(url, str) or re.search(r"[\s@?#\\]", url):
        return False
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return valid and (path or parts.path in ("", "/"))
