# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["airbyte>=0.71,<0.72"]
# ///
"""PyAirbyte with a manifest, as Airbyte's connector builder makes one, into its DuckDB cache.

uv run --script airbyte_script.py URL FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["AIRBYTE_OFFLINE_MODE"] = "1"  # neither its registry nor its statistics

import airbyte
from airbyte.caches import DuckDBCache

INTEGER, TEXT = {"type": ["null", "integer"]}, {"type": ["null", "string"]}
DATE = {"type": ["null", "string"], "format": "date"}
SCHEMA = {
    "type": "object",
    "additionalProperties": True,
    "properties": {
        "id": {"type": "integer"},
        "changeVersion": TEXT,
        "isRejected": {"type": ["null", "boolean"]},
        "person": {"type": "object", "properties": {"id": INTEGER}},
        "from": DATE,
        "until": DATE,
        "startTimeInMinutes": INTEGER,
        "endTimeInMinutes": INTEGER,
        "breakDurationInMinutes": INTEGER,
        "comments": TEXT,
        "activityLevels": {"type": ["null", "array"], "items": {"type": "object"}},
    },
}
REQUESTER = {
    "type": "HttpRequester",
    "url_base": "{{ config['url'] }}",
    "path": "/connector/protimeapi/api/v1/assignments",
    "http_method": "GET",
    "authenticator": {
        "type": "OAuthAuthenticator",
        "grant_type": "client_credentials",
        "token_refresh_endpoint": "{{ config['url'] }}/token",
        "client_id": "{{ config['client_id'] }}",
        "client_secret": "{{ config['client_secret'] }}",
    },
}
PAGINATOR = {
    "type": "DefaultPaginator",
    "page_token_option": {"type": "RequestPath"},
    "pagination_strategy": {
        "type": "CursorPagination",
        "cursor_value": "{{ config['url'] }}{{ response.get('nextLink') }}",
        "stop_condition": "{{ not response.get('nextLink') }}",
    },
}
STREAM = {
    "type": "DeclarativeStream",
    "name": "assignments",
    "primary_key": ["id"],
    "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
    "retriever": {
        "type": "SimpleRetriever",
        "requester": REQUESTER,
        "record_selector": {
            "type": "RecordSelector",
            "extractor": {"type": "DpathExtractor", "field_path": ["value"]},
        },
        "paginator": PAGINATOR,
    },
}
MANIFEST: dict[str, Any] = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["assignments"]},
    "streams": [STREAM],
    "spec": {
        "type": "Spec",
        "connection_specification": {
            "type": "object",
            "required": ["url", "client_id", "client_secret"],
            "properties": {
                "url": {"type": "string"},
                "client_id": {"type": "string"},
                "client_secret": {"type": "string", "airbyte_secret": True},
            },
        },
    },
}


def main(url: str, folder: Path) -> None:
    """Loads everything, and merges it by id."""
    login = {"client_id": "client", "client_secret": "not-a-secret"}
    source = airbyte.get_source(
        "source-protime", config={"url": url, **login}, source_manifest=MANIFEST
    )
    source.select_all_streams()
    source.read(cache=DuckDBCache(db_path=folder / "airbyte.duckdb", cache_dir=folder / "cache"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
