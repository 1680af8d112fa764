"""The settings of the source: where they come from, their defaults and their checks."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import REFERENCE, Collection
from protime_source.configuration import SECRETS, SECTIONS, ConfigSections, find_typos
from protime_source.errors import SettingsError

__version__ = "0.1.0"

logger = logging.getLogger(__name__)

_LONGEST_SHOWN = 300
"""Characters of a wrong value."""

Environment = Literal["production", "sandbox"]
Deletes = Literal["mark", "remove"]

REQUIRED = ("tenant", *SECRETS)
"""The settings without a default."""

_DOMAINS: dict[Environment, str] = {"production": "myprotime.eu", "sandbox": "myprotimesandbox.eu"}

_LABEL = r"^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)?\Z"
_CHECKS: dict[str, tuple[Any, str]] = {
    "tenant": (
        Annotated[str, msgspec.Meta(pattern=_LABEL)],
        "the first label of a host: acme of https://acme.myprotime.eu",
    ),
    "environment": (Environment, "production or sandbox"),
    "company": (str, "text"),
    "deletes": (Deletes, "mark or remove"),
    "max_vanished_share": (Annotated[float, msgspec.Meta(ge=0, le=1)], "a number from 0 to 1"),
    "publish_to": (str, "the path of a file"),
    "lock_timeout": (Annotated[float, msgspec.Meta(ge=0)], "a number of seconds from 0"),
}
"""By setting: the type that its value must convert to, and that type in words."""


@dataclass(frozen=True)
class Settings:
    """The settings, from arguments, the environment or `.dlt/` files.

    Attributes:
        tenant: First label of the customer's myProtime host.
        client_id: OAuth2 client id, given by Protime.
        client_secret: OAuth2 client secret, given by Protime.
        environment: `production` (myprotime.eu) or `sandbox` (myprotimesandbox.eu).
        company: Named in the mandatory `User-Agent`; by default, the tenant.
        start_date: First day of the delta's date filter, `YYYY-MM-DD`; by default, 1 January of
            the previous year.
        deletes: `mark` keeps a deleted row with its last-known values, `remove` deletes it.
        max_vanished_share: A full load that would soft-delete a larger share (0 to 1) of the live
            rows in its window soft-deletes nothing and fails.
        api_url: Scheme, host and port of the API; by default, from tenant and environment.
        token_url: Full URL of the token endpoint; by default, from tenant and environment.
        collections: The tables to load, or `all`.
        sensitive_columns: Columns with personal data to load, like `people.birth_date`.
        external_references: By table, the references to request, like `(people,@badge-number)`.
        activity_structures: Where activity definitions are: `<GUID of a version>/<level>`.
        history: Whether to keep every version of a row, in `<table>__history`.
        models: Whether to keep the analysts' models, views of the dataset.
        publish_to: Where to put a copy of DuckDB's file for readers after each run.
        lock_timeout: Seconds to wait for a DuckDB file that another program has open.
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
    models: bool = False
    publish_to: str | None = None
    lock_timeout: float = 300.0

    @classmethod
    def from_config(
        cls, *, complete: bool = True, sections: ConfigSections = SECTIONS, **explicit: Any
    ) -> Settings:
        """Reads and checks the settings.

        Args:
            complete: Whether the tenant and the credentials are required. When false, dlt's
                providers are not asked for them, and they are empty unless given in code: that
                is enough to define the source, not to run it.
            sections: Where dlt's configuration holds them.
            **explicit: Settings given in code; they win over the configuration.

        Returns:
            The settings, checked.

        Raises:
            SettingsError: When a setting is missing, unknown or invalid.
        """
        names = [each.name for each in fields(cls)]
        if unknown := sorted(set(explicit) - set(names)):
            raise SettingsError(
                f"Unknown setting: {', '.join(unknown)}. Nothing was changed. The settings are:"
                f" {', '.join(names)}."
            )
        _warn_of_typos(names)
        values = {name: value for name, value in explicit.items() if value is not None}
        for name in names:
            if name not in values and (complete or name not in REQUIRED):
                values[name] = _configured(name, sections)
        values = {name: value for name, value in values.items() if value is not None}
        values |= {name: str(values.get(name, "")) for name in REQUIRED}
        if complete and (missing := [name for name in REQUIRED if not values[name].strip()]):
            raise SettingsError(_missing_message(missing, sections))
        settings = cls(**_checked(values))
        settings.window_start()  # raises when `start_date` is not a date
        return settings

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

        HTTP headers are ASCII: accents are removed, and so are characters without an ASCII form.
        """
        plain = unicodedata.normalize("NFKD", self.company or self.tenant)
        company = re.sub(r"[^ -~]|[()]", "", plain).strip() or self.tenant
        return f"dlt-source-protime/{__version__} ({company})"

    def collection(self, table: str) -> Collection:
        """A collection with the columns, references and path parameters that are selected."""
        selected = [name.partition(".") for name in self.sensitive_columns]
        collection = COLLECTIONS[table].without_sensitive(
            frozenset(column for owner, _, column in selected if owner == table)
        )
        if not collection.needs_structure:
            return collection.with_references(self.external_references.get(table, ""))
        pairs = [each.split("/") for each in self.activity_structures]
        path_parameters = (
            {"structure_version": guid, "level": int(level)} for guid, level in pairs
        )
        return replace(collection, path_parameters=tuple(path_parameters))

    def window_start(self) -> date:
        """First day of the delta's date filter.

        Raises:
            SettingsError: When `start_date` is not a date.
        """
        if self.start_date is None:
            return earliest_start()
        try:
            return date.fromisoformat(str(self.start_date))
        except ValueError as error:
            raise invalid_setting(
                "start_date", self.start_date, "a date like 2026-01-31"
            ) from error

    def check_defined_as(self, defined: Settings, pipeline_name: str) -> None:
        """Checks that the settings which shape the tables are those the source was defined with.

        Args:
            defined: The settings when the source was defined.
            pipeline_name: The pipeline that runs it, whose own sections count now.

        Raises:
            SettingsError: When they are not.
        """
        shaping = ("collections", "deletes", "sensitive_columns", "external_references")
        if other := [name for name in shaping if getattr(self, name) != getattr(defined, name)]:
            raise SettingsError(
                f"{', '.join(other)}: the configuration says one thing for the pipeline"
                f" {pipeline_name}, and said another when protime() was called. Nothing was asked"
                " of Protime and nothing was changed. Make the pipeline first, then call protime()."
            )

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
    """The earliest first day that Protime allows for a delta (documentation: reference/delta).

    The documentation names no time zone. In Brussels the year turns before it does in UTC, so a
    date that is allowed there is allowed in both.
    """
    return date(datetime.now(ZoneInfo("Europe/Brussels")).year - 1, 1, 1)


def invalid_setting(name: str, value: object, wanted: str) -> SettingsError:
    """The error for a setting, or an option like `--port`, with an invalid value."""
    kind = "option" if name.startswith("--") else "setting"
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    return SettingsError(
        f"The {kind} {name} is {shown}, but must be {wanted}. Nothing was changed."
    )


def parse_list(value: Any) -> tuple[str, ...]:
    """The names in a list from a file or code, or in text: `a, b` or `["a", "b"]`.

    Any other value becomes the one name of the list, for the setting's own check to refuse.
    """
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    elif not isinstance(value, Iterable):
        value = (value,)
    return tuple(text for each in value if (text := str(each).strip().strip("\"'")))


def parse_bool(name: str, value: Any) -> bool:
    """The value of a switch, from a bool or text.

    Raises:
        SettingsError: When the value is neither true nor false.
    """
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise invalid_setting(name, value, "true or false")
    return text == "true"


_warned: set[str] = set()


def _warn_of_typos(names: list[str]) -> None:
    for name, near in find_typos(names):
        if name not in _warned:
            _warned.add(name)
            logger.warning("%s is not a setting and has no effect. Did you mean %s?", name, near)


def _missing_message(missing: list[str], sections: ConfigSections) -> str:
    variables = ", ".join(f"{sections.environment_prefix}{name.upper()}" for name in missing)
    setting_is, variable = (
        ("setting is", "variable") if len(missing) == 1 else ("settings are", "variables")
    )
    return (
        f"The {setting_is} missing: {', '.join(missing)}. Nothing was changed. Set the environment"
        f" {variable} {variables}, or write to .dlt/secrets.toml in this folder, under"
        f" [{sections.name}]."
    )


def _configured(name: str, sections: ConfigSections) -> Any:
    """A setting from dlt's providers; `None` when it is not set."""
    if name == "external_references":
        by_table = {t: sections.value(name, table_name=t) for t in COLLECTIONS}
        return {table: value for table, value in by_table.items() if value is not None} or None
    value = sections.value(name)
    is_list = name in ("collections", "sensitive_columns", "activity_structures")
    return value if value is None or is_list else str(value).strip()


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values, each checked and of the type that `Settings` gives it."""
    checked = dict(values)
    for name, value in values.items():
        # A variable may hold any bytes. The path of a file may, too.
        if name != "publish_to" and isinstance(value, str) and not _is_text(value):
            raise SettingsError(
                f"The setting {name} holds bytes that are no text in UTF-8. Nothing was changed."
                " Write it again where it is set."
            )
    for name, (type_, wanted) in _CHECKS.items():
        if name in values:
            try:
                checked[name] = msgspec.convert(values[name], type_, strict=False)
            except msgspec.ValidationError as error:
                raise invalid_setting(name, values[name], wanted) from error
    _check_url(values, "api_url", "just scheme and host: https://acme.myprotime.eu")
    _check_url(values, "token_url", "a URL like https://host/connect/token")
    structures = _activity_structures(values.get("activity_structures", ()))
    return checked | {
        "activity_structures": structures,
        "collections": _collections(values.get("collections", Settings.collections), structures),
        "sensitive_columns": _sensitive_columns(values.get("sensitive_columns", ())),
        "external_references": _external_references(values.get("external_references", {})),
        "history": parse_bool("history", values.get("history", False)),
        "models": parse_bool("models", values.get("models", False)),
    }


def _is_text(value: str) -> bool:
    """Whether it can be sent and stored: no half of a surrogate pair is in it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_url(values: dict[str, Any], name: str, wanted: str) -> None:
    """Checks that it is an HTTP URL without user, password, query or blanks; `api_url`: no path."""
    url = values.get(name)
    if url is None:
        return
    valid = isinstance(url, str) and not re.search(r"[\s@?#\\]", url)
    try:
        parts = urlsplit(str(url))
        valid = valid and parts.scheme in ("http", "https") and bool(parts.hostname)
        valid = valid and parts.port != 0 and (name == "token_url" or parts.path in ("", "/"))
    except ValueError:
        valid = False
    if not valid:
        without_query = re.sub(r"\?.*", "?***", str(url), flags=re.DOTALL)
        raise invalid_setting(name, re.sub(r"[^/]*@", "***@", without_query), wanted)


def _collections(value: Any, structures: tuple[str, ...]) -> tuple[str, ...]:
    """The selected tables; `all` includes activity definitions only when structures are set."""
    tables = tuple(dict.fromkeys(name.replace("-", "_") for name in parse_list(value)))
    if tables == ("all",):
        return tuple(t for t, each in COLLECTIONS.items() if structures or not each.needs_structure)
    unknown = ", ".join(table for table in tables if table not in COLLECTIONS)
    if unknown or not tables:
        wanted = f"all or some of the collections {_suggestion(unknown, COLLECTIONS)}"
        raise invalid_setting("collections", unknown, wanted)
    return tables


def _sensitive_columns(value: Any) -> tuple[str, ...]:
    """The sensitive columns to load, as `table.column`."""
    selected = parse_list(value)
    known = {
        f"{t}.{c.name}" for t, each in COLLECTIONS.items() for c in each.columns if c.sensitive
    }
    if unknown := [name for name in selected if name not in known]:
        wanted = f"sensitive columns {_suggestion(unknown[0], sorted(known))}"
        raise invalid_setting("sensitive_columns", ", ".join(unknown), wanted)
    return selected


def _external_references(value: Any) -> dict[str, str]:
    """The external references to request, by table."""
    if not isinstance(value, Mapping):
        wanted = 'by table: {"assignments": "(people,...)"}'
        raise invalid_setting("external_references", value, wanted)
    requested = {
        table.replace("-", "_"): re.sub(r"\s", "", str(text)) for table, text in value.items()
    }
    for table, text in requested.items():
        if table not in COLLECTIONS:
            wanted = f"by table, of {_suggestion(table, COLLECTIONS)}"
            raise invalid_setting("external_references", table, wanted)
        offered = COLLECTIONS[table].references
        pairs = REFERENCE.findall(text)
        if not re.fullmatch(rf"(?:{REFERENCE.pattern})+", text) or any(
            collection not in offered for collection, _ in pairs
        ):
            wanted = (
                f"pairs like (people,@badge-number), of {', '.join(offered) or 'no collection'}"
            )
            raise invalid_setting(f"{table}.external_references", text, wanted)
        columns = {(collection, name.removeprefix("@")) for collection, name in pairs}
        if len(columns) < len(pairs):
            wanted = "references of different names"
            raise invalid_setting(f"{table}.external_references", text, wanted)
    return requested


def _activity_structures(value: Any) -> tuple[str, ...]:
    """The structure versions and levels whose activity definitions to load."""
    structures = parse_list(value)
    for each in structures:
        if not re.fullmatch(r"[0-9A-Fa-f-]{36}/[0-9]{1,3}", each):
            wanted = "the GUID of a structure version and a level: 7c1f...-...-...-...-.../1"
            raise invalid_setting("activity_structures", each, wanted)
    return structures


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The name that was probably meant, else all."""
    near = get_close_matches(name, known, 1, 0.7)
    return f"(did you mean {near[0]}?)" if near else ", ".join(known)
