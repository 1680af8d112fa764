"""Keeps tokens out of logs, errors and what is printed."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

_SECRET_PARAMETER = re.compile(
    r"((?:deltaToken|continuationToken|access_token|client_secret|client_id)=)[^&\s\"']+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Replaces tokens and credentials in a URL or any text that may hold one.

    Args:
        text: What is about to reach a log or an error.

    Returns:
        The text with every token replaced by `***`.
    """
    return _BEARER.sub(r"\1***", _SECRET_PARAMETER.sub(r"\1***", text))


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
