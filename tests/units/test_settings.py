"""Settings: where they come from, their defaults, and the messages about invalid ones."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import pytest

from protime_source import Client, Settings, SettingsError
from protime_source.api.auth import ClientCredentials
from protime_source.api.http import HttpClient
from protime_source.settings import __version__, earliest_start

GIVEN = {"tenant": "acme", "client_id": "id-of-acme", "client_secret": "secret-of-acme"}
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
}
OTHERS = {
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
}


def read(**explicit: Any) -> Settings:
    return Settings.from_config(**{**GIVEN, **explicit})


def as_environment(settings: dict[str, Any]) -> dict[str, str]:
    """Lists with commas; what each table may have, under the table."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= {f"{table}__{name}": text for table, text in value.items()}
        else:
            found[name] = ", ".join(value) if isinstance(value, tuple) else str(value)
    return found


def refusal(**explicit: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**explicit)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_only_the_tenant_and_its_client_are_needed() -> None:
    settings = read()
    assert {name: getattr(settings, name) for name in GIVEN} == GIVEN
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert (
        GIVEN.keys() | DEFAULTS.keys() == OTHERS.keys() == {each.name for each in fields(settings)}
    )


@pytest.mark.parametrize("name", OTHERS)
def test_each_setting_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for key, value in as_environment({**GIVEN, name: OTHERS[name]}).items():
        monkeypatch.setenv(f"SOURCES__PROTIME__{key.upper()}", value)
    assert getattr(Settings.from_config(), name) == OTHERS[name]


@pytest.mark.parametrize("name", OTHERS)
def test_what_code_gives_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SOURCES__PROTIME__{name.upper()}", "from-the-environment")
    assert getattr(read(**{name: OTHERS[name]}), name) == OTHERS[name]


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_required_setting_that_is_missing_or_empty_is_named(name: str, empty: str | None) -> None:
    assert refusal(**{name: empty}) == (
        f"The setting is missing: {name}. Nothing was changed. Set the environment variable"
        f" SOURCES__PROTIME__{name.upper()}, or write to .dlt/secrets.toml in this folder, under"
        " [sources.protime]."
    )


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__CLIENT_SECRET", "")
    with pytest.raises(SettingsError, match=r"^The setting is missing: client_secret\. "):
        Settings.from_config(tenant="acme", client_id="id")


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config()
    assert str(caught.value) == (
        "The settings are missing: tenant, client_id, client_secret. Nothing was changed. Set the"
        " environment variables SOURCES__PROTIME__TENANT, SOURCES__PROTIME__CLIENT_ID,"
        " SOURCES__PROTIME__CLIENT_SECRET, or write to .dlt/secrets.toml in this folder, under"
        " [sources.protime]."
    )


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
def test_a_wrong_value_is_shown_with_what_it_must_be(name: str, value: Any, wanted: str) -> None:
    assert refusal(**{name: value}) == (
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
def test_a_password_in_a_url_is_not_shown(name: str, value: str, shown: str, wanted: str) -> None:
    assert refusal(**{name: value}) == (
        f"The setting {name} is {shown!r}, but must be {wanted}. Nothing was changed."
    )


def test_text_for_a_number_in_the_environment_is_a_wrong_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__MAX_VANISHED_SHARE", "lots")
    assert refusal() == (
        "The setting max_vanished_share is 'lots', but must be a number from 0 to 1. Nothing was"
        " changed."
    )


def test_an_unknown_setting_is_named_with_the_known_ones() -> None:
    assert refusal(tennant="acme", secret="x") == (
        "Unknown setting: secret, tennant. Nothing was changed. The settings are: tenant,"
        " client_id, client_secret, environment, company, start_date, deletes, max_vanished_share,"
        " api_url, token_url, collections, sensitive_columns, external_references,"
        " activity_structures, history."
    )


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.0])
def test_the_ends_of_the_share_are_allowed(share: float) -> None:
    assert read(max_vanished_share=share).max_vanished_share == share


def test_the_window_starts_with_the_previous_year_unless_set() -> None:
    assert read().window_start() == earliest_start()
    assert (earliest_start().month, earliest_start().day) == (1, 1)
    assert earliest_start().year in (date.today().year - 1, date.today().year)


@pytest.mark.parametrize("given", ["2026-03-01", date(2026, 3, 1)])
def test_the_window_starts_where_it_is_set(given: str | date) -> None:
    assert read(start_date=given).window_start() == date(2026, 3, 1)


def test_the_earliest_start_is_allowed_and_the_day_before_is_not() -> None:
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
def test_the_addresses_follow_from_tenant_and_environment(environment: str, domain: str) -> None:
    settings = read(environment=environment)
    assert settings.api_origin == f"https://acme.{domain}"
    assert settings.token_endpoint == f"https://authentication.{domain}/tenants/acme/connect/token"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8123", "http://127.0.0.1:8123/"])
def test_addresses_can_be_given(url: str) -> None:
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


@pytest.mark.parametrize("wrong", [{"deletes": "x"}, {"nope": 1}, {"max_vanished_share": 7}])
def test_secrets_do_not_show_in_refusals(wrong: dict[str, Any]) -> None:
    message = refusal(**wrong)
    assert "secret-of-acme" not in message
    assert "id-of-acme" not in message


def test_a_bare_variable_of_another_program_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "COMPANY", "SOURCES__ENVIRONMENT"):
        monkeypatch.setenv(name, "sandbox")
    settings = read()
    assert (settings.environment, settings.company) == ("production", None)


def test_a_misspelt_setting_is_told_once(
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
