"""Settings: where they come from, their defaults, and the messages about invalid ones."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs import PluggableRunContext

from protime_source import Client, Settings, SettingsError
from protime_source.api.auth import ClientCredentials
from protime_source.api.http import HttpClient
from protime_source.configuration import ConfigSections
from protime_source.settings import __version__, earliest_start

GIVEN: dict[str, Any] = {
    "tenant": "acme",
    "client_id": "id-of-acme",
    "client_secret": "secret-of-acme",
}
DEFAULTS: dict[str, Any] = {
    "environment": "production",
    "company": None,
    "start_date": None,
    "deletes": "mark",
    "max_vanished_share": 0.5,
    "api_url": None,
    "token_url": None,
    "collections": ("assignments",),
    "sensitive_columns": (),
    "external_references": {},
    "activity_structures": (),
    "history": False,
    "models": False,
    "publish_to": None,
    "lock_timeout": 300,
}
CHANGED = {
    "tenant": "other",
    "client_id": "other-id",
    "client_secret": "other-secret",
    "environment": "sandbox",
    "company": "Other NV",
    "start_date": earliest_start().isoformat(),
    "deletes": "remove",
    "max_vanished_share": 0.25,
    "api_url": "http://127.0.0.1:8123",
    "token_url": "http://127.0.0.1:8123/connect/token",
    "collections": ("people", "assignments"),
    "sensitive_columns": ("people.birth_date",),
    "external_references": {"assignments": "(people,@badge-number)"},
    "activity_structures": ("7c1f2f0e-3b0a-4d55-9f43-0c5a6f7b8d90/1",),
    "history": True,
    "models": True,
    "publish_to": "plan.duckdb",
    "lock_timeout": 5.0,
}


def read(**explicit: Any) -> Settings:
    return Settings.from_config(**{**GIVEN, **explicit})


def as_environment(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as text: lists with commas; settings by table under the table's name."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= {f"{table}__{name}": text for table, text in value.items()}
        else:
            found[name] = ", ".join(value) if isinstance(value, tuple) else str(value)
    return found


def error_message(**explicit: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**explicit)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_only_tenant_and_credentials_are_required() -> None:
    settings = read()
    assert {name: getattr(settings, name) for name in GIVEN} == GIVEN
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert (
        GIVEN.keys() | DEFAULTS.keys() == CHANGED.keys() == {each.name for each in fields(settings)}
    )


@pytest.mark.parametrize("name", CHANGED)
def test_each_setting_is_read_from_its_environment_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for key, value in as_environment({**GIVEN, name: CHANGED[name]}).items():
        monkeypatch.setenv(f"SOURCES__PROTIME__{key.upper()}", value)
    assert getattr(Settings.from_config(), name) == CHANGED[name]


@pytest.mark.parametrize("name", CHANGED)
def test_a_setting_given_in_code_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SOURCES__PROTIME__{name.upper()}", "from-the-environment")
    assert getattr(read(**{name: CHANGED[name]}), name) == CHANGED[name]


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_missing_or_empty_required_setting_is_named(name: str, empty: str | None) -> None:
    assert error_message(**{name: empty}) == (
        f"The setting is missing: {name}. Nothing was changed. Set the environment variable"
        f" SOURCES__PROTIME__{name.upper()}, or write to .dlt/secrets.toml in this folder, under"
        " [sources.protime]."
    )


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__CLIENT_SECRET", "")
    with pytest.raises(SettingsError, match=r"^The setting is missing: client_secret\. "):
        Settings.from_config(tenant="acme", client_id="id")


def test_all_missing_settings_are_named_in_one_message() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config()
    assert str(caught.value) == (
        "The settings are missing: tenant, client_id, client_secret. Nothing was changed. Set the"
        " environment variables SOURCES__PROTIME__TENANT, SOURCES__PROTIME__CLIENT_ID,"
        " SOURCES__PROTIME__CLIENT_SECRET, or write to .dlt/secrets.toml in this folder, under"
        " [sources.protime]."
    )


def test_an_incomplete_source_has_no_credentials_and_asks_no_provider_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    get_value = EnvironProvider.get_value

    def record(self: EnvironProvider, key: str, *arguments: Any) -> Any:
        asked.append(key)
        return get_value(self, key, *arguments)

    monkeypatch.setattr(EnvironProvider, "get_value", record)
    for name in GIVEN:
        monkeypatch.setenv(f"SOURCES__PROTIME__{name.upper()}", "from-the-environment")
    monkeypatch.setenv("SOURCES__PROTIME__DELETES", "remove")
    settings = Settings.from_config(complete=False)
    assert {getattr(settings, name) for name in GIVEN} == {""}
    assert settings.deletes == "remove"
    assert not GIVEN.keys() & set(asked)
    assert set(asked) >= DEFAULTS.keys()


def test_an_incomplete_source_keeps_the_credentials_given_in_code() -> None:
    settings = Settings.from_config(complete=False, **GIVEN)
    assert {name: getattr(settings, name) for name in GIVEN} == GIVEN


@pytest.mark.parametrize(
    "invalid",
    [{"tenant": "-acme"}, {"tenant": 5.5}, {"deletes": "x"}, {"start_date": "soon"}, {"nope": 1}],
)
def test_an_incomplete_source_is_checked_all_the_same(invalid: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"Nothing was changed\."):
        Settings.from_config(complete=False, **invalid)


LABEL = "the first label of a host: acme of https://acme.myprotime.eu"
DAY = "a date like 2026-01-31"
SHARE = "a number from 0 to 1"
HOST = "just scheme and host: https://acme.myprotime.eu"
URL = "a URL like https://host/connect/token"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("tenant", "acme.myprotime.eu", LABEL),
        ("tenant", "https://acme", LABEL),
        ("tenant", "acme\n", LABEL),
        ("tenant", "-acme", LABEL),
        ("tenant", "acme@evil", LABEL),
        ("environment", "test", "production or sandbox"),
        ("environment", "Production", "production or sandbox"),
        ("deletes", "drop", "mark or remove"),
        ("start_date", "soon", DAY),
        ("start_date", "2026-02-30", DAY),
        ("start_date", "", DAY),
        ("max_vanished_share", 1.01, SHARE),
        ("max_vanished_share", -0.1, SHARE),
        ("max_vanished_share", float("nan"), SHARE),
        ("max_vanished_share", "a half", SHARE),
        ("max_vanished_share", True, SHARE),
        ("company", 5, "text"),
        ("api_url", "acme.myprotime.eu", HOST),
        ("api_url", "ftp://acme.myprotime.eu", HOST),
        ("api_url", "https://acme.myprotime.eu/connector", HOST),
        ("api_url", "https://acme.myprotime.eu ", HOST),
        ("api_url", "https://[acme", HOST),
        ("api_url", "https://acme.myprotime.eu:99999", HOST),
        ("api_url", "", HOST),
        ("token_url", "connect/token", URL),
        ("token_url", "https:///connect/token", URL),
    ],
)
def test_an_invalid_value_is_shown_with_what_it_must_be(name: str, value: Any, wanted: str) -> None:
    assert error_message(**{name: value}) == (
        f"The setting {name} is {value!r}, but must be {wanted}. Nothing was changed."
    )


@pytest.mark.parametrize(
    ("name", "value", "shown", "wanted"),
    [
        ("api_url", "https://acme.myprotime.eu?key=word", "https://acme.myprotime.eu?***", HOST),
        ("api_url", "https://user:word@acme.myprotime.eu", "https://***@acme.myprotime.eu", HOST),
        ("api_url", "user:word@acme.myprotime.eu", "***@acme.myprotime.eu", HOST),
        ("token_url", "https://user:word@host/token", "https://***@host/token", URL),
        ("token_url", "https://host/token?secret=word", "https://host/token?***", URL),
    ],
)
def test_a_password_in_a_url_is_redacted(name: str, value: str, shown: str, wanted: str) -> None:
    assert error_message(**{name: value}) == (
        f"The setting {name} is {shown!r}, but must be {wanted}. Nothing was changed."
    )


def test_a_number_in_the_environment_must_be_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__MAX_VANISHED_SHARE", "lots")
    assert error_message() == (
        "The setting max_vanished_share is 'lots', but must be a number from 0 to 1. Nothing was"
        " changed."
    )


def test_an_unknown_setting_is_named_with_all_valid_ones() -> None:
    assert error_message(tennant="acme", secret="x") == (
        "Unknown setting: secret, tennant. Nothing was changed. The settings are: tenant,"
        " client_id, client_secret, environment, company, start_date, deletes, max_vanished_share,"
        " api_url, token_url, collections, sensitive_columns, external_references,"
        " activity_structures, history, models, publish_to, lock_timeout."
    )


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.0])
def test_max_vanished_share_may_be_0_or_1(share: float) -> None:
    assert read(max_vanished_share=share).max_vanished_share == share


def test_the_window_starts_with_the_previous_year_by_default() -> None:
    assert read().window_start() == earliest_start()
    assert (earliest_start().month, earliest_start().day) == (1, 1)
    assert earliest_start().year in (date.today().year - 1, date.today().year)


@pytest.mark.parametrize("given", ["2026-03-01", date(2026, 3, 1)])
def test_the_window_starts_at_start_date(given: str | date) -> None:
    assert read(start_date=given).window_start() == date(2026, 3, 1)


def test_a_start_date_before_the_earliest_is_refused() -> None:
    earliest = earliest_start()
    before = earliest - timedelta(days=1)
    read(start_date=earliest.isoformat()).check_window()
    with pytest.raises(SettingsError) as caught:
        read(start_date=before.isoformat()).check_window()
    assert str(caught.value) == (
        f"start_date {before} is too early: Protime starts a delta no earlier than {earliest}, 1"
        f" January of the previous year. Nothing was changed. Set start_date to {earliest} or"
        " later, or leave it out."
    )


@pytest.mark.parametrize(
    ("company", "named"),
    [
        (None, "acme"),
        ("", "acme"),
        (" \t ", "acme"),
        ("Acme & Sons, Ltd.", "Acme & Sons, Ltd."),
        ("Crème Brûlée", "Creme Brulee"),
        ("Acme (Belgium) NV", "Acme Belgium NV"),
        ("株式会社", "acme"),
        ("Acme\r\nX-Evil: yes", "AcmeX-Evil: yes"),
        ("()", "acme"),
    ],
)
def test_the_user_agent_names_the_company_in_ascii(company: str | None, named: str) -> None:
    assert read(company=company).user_agent == f"dlt-source-protime/{__version__} ({named})"


@pytest.mark.parametrize(
    ("environment", "domain"),
    [("production", "myprotime.eu"), ("sandbox", "myprotimesandbox.eu")],
)
def test_tenant_and_environment_determine_the_urls(environment: str, domain: str) -> None:
    settings = read(environment=environment)
    assert settings.api_origin == f"https://acme.{domain}"
    assert settings.token_endpoint == f"https://authentication.{domain}/tenants/acme/connect/token"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8123", "http://127.0.0.1:8123/"])
def test_api_url_and_token_url_replace_the_defaults(url: str) -> None:
    settings = read(api_url=url, token_url="http://127.0.0.1:8124/token")
    assert settings.api_origin == "http://127.0.0.1:8123"
    assert settings.token_endpoint == "http://127.0.0.1:8124/token"


def test_no_object_with_the_settings_shows_a_secret() -> None:
    settings = read()
    with HttpClient(settings) as http, Client(settings) as client:
        session = http.session(["scope"])
        objects = [settings, http, session, client, client.assignments, vars(session)]
        shown = " ".join(f"{each!r} {each!s}" for each in objects)
    assert "Settings" in shown
    assert ClientCredentials.__name__ in shown
    assert GIVEN["client_secret"] not in shown
    assert GIVEN["client_id"] not in shown


@pytest.mark.parametrize("invalid", [{"deletes": "x"}, {"nope": 1}, {"max_vanished_share": 7}])
def test_no_error_message_shows_a_secret(invalid: dict[str, Any]) -> None:
    message = error_message(**invalid)
    assert "secret-of-acme" not in message
    assert "id-of-acme" not in message


PLACES = (
    "NIGHTLY__SOURCES__BETA__PROTIME__",
    "NIGHTLY__SOURCES__BETA__",
    "SOURCES__BETA__PROTIME__",
    "SOURCES__BETA__",
)
"""Where dlt's environment has the settings of the section `beta` for the pipeline `nightly`."""


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("place", PLACES)
def test_each_setting_is_read_where_dlt_looks_for_a_section_and_a_pipeline(
    monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    for prefix in PLACES[PLACES.index(place) :]:
        given = {**GIVEN, name: CHANGED[name]} if prefix == place else GIVEN
        for key, value in as_environment(given).items():
            monkeypatch.setenv(f"{prefix}{key.upper()}", value)
    for prefix in ("SOURCES__PROTIME__", "WEEKLY__SOURCES__BETA__", "SOURCES__"):
        monkeypatch.setenv(f"{prefix}{name.upper()}", "of another tenant")
    sections = ConfigSections("beta", "nightly")
    assert getattr(Settings.from_config(sections=sections), name) == CHANGED[name]


def test_a_file_has_sections_of_a_pipeline_too(tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(
        '[sources.protime]\ntenant = "acme"\nclient_id = "id"\nclient_secret = "secret"\n'
        '[nightly.sources.protime]\ntenant = "beta"\n'
        '[nightly.sources.protime.assignments]\nexternal_references = "(people,@badge-number)"\n'
    )
    with Container().injectable_context(PluggableRunContext()):
        nightly = Settings.from_config(sections=ConfigSections(pipeline_name="nightly"))
        weekly = Settings.from_config(sections=ConfigSections(pipeline_name="weekly"))
    assert (nightly.tenant, nightly.client_id, weekly.tenant) == ("beta", "id", "acme")
    assert nightly.external_references == {"assignments": "(people,@badge-number)"}
    assert weekly.external_references == {}


def test_a_missing_setting_is_asked_for_in_the_sections_own_words() -> None:
    with pytest.raises(SettingsError, match=r"SOURCES__BETA__TENANT.*under \[sources\.beta\]\."):
        Settings.from_config(sections=ConfigSections("beta"), client_id="id", client_secret="x")


def test_variables_outside_the_section_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "COMPANY", "SOURCES__ENVIRONMENT"):
        monkeypatch.setenv(name, "sandbox")
    settings = read()
    assert (settings.environment, settings.company) == ("production", None)


def test_a_misspelt_setting_is_warned_about_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__HISTROY", "true")
    monkeypatch.setenv("SOURCES__PROTIME__ASIGNMENTS__EXTERNAL_REFERENCES", "(people,x)")
    monkeypatch.setenv("SOURCES_PROTIME_DELETES", "remove")
    monkeypatch.setenv("SOURCES__PROTIME__ASSIGNMENTS__EXTERNAL_REFERENCES", "(people,x)")
    monkeypatch.setenv("SOURCES__PROTIME__SCHEMA_CONTRACT", "evolve")
    for _ in range(2):
        read()
    assert sorted(record.getMessage() for record in caplog.records) == [
        "SOURCES_PROTIME_DELETES is not a setting and has no effect. Did you mean deletes?",
        "SOURCES__PROTIME__ASIGNMENTS__EXTERNAL_REFERENCES is not a setting and has no effect. Did"
        " you mean assignments?",
        "SOURCES__PROTIME__HISTROY is not a setting and has no effect. Did you mean history?",
    ]
