"""Keeps tokens out of logs, errors and what is printed."""

from __future__ import annotations

import json
import logging
import re
from collections import deque
from functools import cache
from typing import Any
from urllib.parse import quote

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

_NAMES = "deltaToken|continuationToken|access_token|client_secret|client_id"
_SECRET_PARAMETER = re.compile(rf"((?:{_NAMES})=)[^&\s\"']+", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"((?:{_NAMES})\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+", re.IGNORECASE)
"""In JSON, also in JSON that is a text of JSON, and as Python shows it."""
_BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE)

_SHORTEST = 6
"""Characters of a value that is looked for: a shorter one would be found in ordinary words."""

_hidden: deque[str] = deque(maxlen=100)


def hide(value: str) -> None:
    """Makes a secret or a token known, so that it is found wherever a server repeats it.

    Args:
        value: What no text may show; the last hundred are kept.
    """
    if len(value) >= _SHORTEST:
        _hidden.append(value)


def redact(text: str) -> str:
    """Replaces tokens and credentials in a URL or any text that may hold one.

    Args:
        text: What is about to reach a log or an error.

    Returns:
        The text with every token replaced by `***`.
    """
    for value in set(_hidden):
        for form in (value, json.dumps(value)[1:-1], quote(value, safe="")):
            text = text.replace(form, "***")
    for pattern in (_SECRET_PARAMETER, _SECRET_FIELD, _BEARER):
        text = pattern.sub(r"\1***", text)
    return text


class RedactingFilter(logging.Filter):
    """A logging filter that redacts a record's text; urllib3 logs every URL at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts the record in place and keeps it."""
        record.msg, record.args = redact(record.getMessage()), ()
        return True


def redact_http_logs() -> None:
    """Puts the filter on urllib3's connection log, once."""
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(present, RedactingFilter) for present in logger.filters):
        logger.addFilter(RedactingFilter())


class QuietAdapter(HTTPAdapter):
    """Keeps `http.client` from printing headers and forms, whatever debug level it was given."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Makes all connections of the pool quiet ones."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _quiet(pool.ConnectionCls)
        return pool


@cache
def _quiet(connection: type[HTTPConnection]) -> type[HTTPConnection]:
    if connection.__dict__.get("debuglevel") == 0:
        return connection
    return type(connection.__name__, (connection,), {"debuglevel": 0})
