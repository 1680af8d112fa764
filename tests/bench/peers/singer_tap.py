# /// script
# requires-python = ">=3.11"
# dependencies = ["singer-sdk>=0.54,<0.55"]
# ///
"""A Singer tap of Meltano's SDK, as its documentation shows one.

uv run --script singer_tap.py --config config.json | target-duckdb --config target.json
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator
from singer_sdk.pagination import JSONPathPaginator


class Login(OAuthAuthenticator):
    """Client credentials."""

    @property
    def oauth_request_body(self) -> dict[str, Any]:
        """The form that is sent for a token."""
        login = {"client_id": self.client_id, "client_secret": self.client_secret}
        return {"grant_type": "client_credentials", **login}


class Assignments(RESTStream[str]):
    """All assignments, in each run."""

    name = "assignments"
    path = "/connector/protimeapi/api/v1/assignments"
    primary_keys = ("id",)
    records_jsonpath = "$.value[*]"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("changeVersion", th.StringType),
        th.Property("isRejected", th.BooleanType),
        th.Property("person", th.ObjectType(th.Property("id", th.IntegerType))),
        th.Property("from", th.DateType),
        th.Property("until", th.DateType),
        th.Property("startTimeInMinutes", th.IntegerType),
        th.Property("endTimeInMinutes", th.IntegerType),
        th.Property("breakDurationInMinutes", th.IntegerType),
        th.Property("comments", th.StringType),
        th.Property("activityLevels", th.ArrayType(th.ObjectType())),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """The tenant's address."""
        return str(self.config["url"])

    @cached_property
    def authenticator(self) -> Login:
        """One login for all requests."""
        login = {name: self.config[name] for name in ("client_id", "client_secret")}
        return Login(auth_endpoint=f"{self.url_base}/token", **login)

    def get_new_paginator(self) -> JSONPathPaginator:
        """Follows the links."""
        return JSONPathPaginator("$.nextLink")

    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        """Takes the query from the link."""
        return dict(parse_qsl(urlsplit(next_page_token or "").query))


class TapProtime(Tap):
    """The tap."""

    name = "tap-protime"
    config_jsonschema = th.PropertiesList(
        th.Property("url", th.StringType, required=True),
        th.Property("client_id", th.StringType, required=True),
        th.Property("client_secret", th.StringType, required=True, secret=True),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        """The only stream."""
        return [Assignments(self)]


if __name__ == "__main__":
    TapProtime.cli()
