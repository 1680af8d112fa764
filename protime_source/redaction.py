"""Keeps tokens out of logs and errors."""

from __future__ import annotations

import logging
import re

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
