"""The errors of this package, as one tree.

ProtimeError
├── SettingsError            a setting is missing or invalid; no request was sent
├── WarehouseError           the destination cannot be used as it is
│   ├── OtherTenantError     it holds what belongs to another tenant
│   ├── IncompleteFullLoadError  it lost what the first parts of a full load showed
│   └── PublishError         all is loaded, but there is no new copy for readers
├── VanishedRowsError        a full load no longer found more rows than the limit allows
├── TooManyDeletesError      a push was to delete more assignments than the limit allows
├── AlreadyRunningError      another run is active, on the pipeline or the dataset
├── UnhealthyError           `status` found the warehouse unhealthy
├── DifferencesError         `verify` found that the warehouse differs from Protime
└── ApiError                 Protime, or the network on the way to it, failed
    ├── AuthenticationError  the token endpoint refused the credentials
    │   └── ScopeError           or a scope
    ├── RefusedCollectionsError  Protime refused some of the collections asked for
    ├── UnwrittenRowsError   a push could not write some of its rows
    ├── UnavailableError     no usable response
    │   ├── RateLimitedError     429: Protime did not process the request
    │   ├── NotConnectedError    no connection was made, so the request was not sent
    │   ├── TokenUnavailableError  the token endpoint gave no usable response
    │   └── UntrustedCertificateError  the server's certificate is not trusted
    ├── ProtocolError        a response that breaks the documented protocol
    │   ├── TooLargeError        or is larger than the limit
    │   └── UnknownChangeError   or has an event of an undocumented change type
    └── ResponseError        an error status, with Protime's reasons
        ├── BadRequestError      400
        ├── UnauthorizedError    401, also with a new token
        ├── ForbiddenError       403
        ├── NotFoundError        404
        └── ExpiredError         409 or 410: the link has expired, a full load is needed
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar


class ProtimeError(Exception):
    """Base of all errors of this package. Its text is one line, written for people.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code: ClassVar[int] = 1


class SettingsError(ProtimeError):
    """A setting is missing or invalid. Raised before any request."""

    exit_code = 2


class WarehouseError(ProtimeError):
    """The destination cannot be used as it is."""

    exit_code = 4


class OtherTenantError(WarehouseError):
    """The dataset holds rows or receipts of another tenant; no later run can change that."""


class IncompleteFullLoadError(WarehouseError):
    """The ids that the first parts of a full load showed are lost; only a new one can tell."""


class PublishError(WarehouseError):
    """All is loaded, but the copy for readers could not be made; the old one is as it was.

    Attributes:
        summary: From `load`: the `Summary` of the run.
    """

    def __init__(self, message: str, summary: Any = None) -> None:
        super().__init__(message)
        self.summary = summary


class VanishedRowsError(ProtimeError):
    """A complete full load no longer found more live rows than `max_vanished_share` allows.

    Attributes:
        table_name: The table of these rows, or the first of several.
        summary: From `load`: the `Summary` of the run, which loaded all others.
    """

    exit_code = 5

    def __init__(self, message: str, table_name: str = "", summary: Any = None) -> None:
        super().__init__(message)
        self.table_name = table_name
        self.summary = summary


class TooManyDeletesError(ProtimeError):
    """A push was to delete more assignments than `max_deleted_share` allows; it sent nothing.

    Attributes:
        report: The `PushReport`.
    """

    exit_code = 5

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class AlreadyRunningError(ProtimeError):
    """Another run is active, on the pipeline or the dataset. Raised before any request."""

    exit_code = 6


class UnhealthyError(ProtimeError):
    """A collection failed, is too old, or its delta expires too soon.

    Attributes:
        status: The `Status`.
    """

    exit_code = 7

    def __init__(self, message: str, status: Any = None) -> None:
        super().__init__(message)
        self.status = status


class DifferencesError(ProtimeError):
    """A verification found that the warehouse differs from what Protime shows.

    Attributes:
        report: The `VerifyReport`.
    """

    exit_code = 8

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class ApiError(ProtimeError):
    """Protime, or the network on the way to it, failed."""

    exit_code = 3


class AuthenticationError(ApiError):
    """The token endpoint refused the credentials, or a scope."""


class ScopeError(AuthenticationError):
    """Protime does not grant this client the scope."""


class RefusedCollectionsError(ApiError):
    """Protime does not let this client read some collections, or does not have them.

    Attributes:
        tables: Their tables.
        summary: From `load`: the `Summary` of the run, which loaded all others.
    """

    def __init__(self, message: str, tables: Sequence[str] = (), summary: Any = None) -> None:
        super().__init__(message)
        self.tables = tuple(tables)
        self.summary = summary


class UnwrittenRowsError(ApiError):
    """A push could not write some of its rows; all others are written.

    Attributes:
        report: The `PushReport`.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class UnavailableError(ApiError):
    """No usable response: unreachable, rate limited, failing, or a truncated or garbled body.

    Attributes:
        retry_after: Seconds that Protime asked to wait, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(UnavailableError):
    """429: Protime did not process the request."""


class NotConnectedError(UnavailableError):
    """No connection was made, so the request was not sent; not by an earlier attempt either."""


class TokenUnavailableError(UnavailableError):
    """The token endpoint gave no usable response, although the request was retried."""


class UntrustedCertificateError(UnavailableError):
    """The server's certificate is not trusted; a retry cannot change that."""


class ProtocolError(ApiError):
    """A well-formed response that breaks the documented protocol."""


class TooLargeError(ProtocolError):
    """A response larger than the limit; the rest was not read."""


class UnknownChangeError(ProtocolError):
    """A delta event of an undocumented change type; only a full load shows what it means.

    Args:
        change_type: As Protime sent it.
    """

    def __init__(self, change_type: str) -> None:
        super().__init__(f"A delta event has the undocumented change type {change_type[:40]!r}.")


class ResponseError(ApiError):
    """A response with an error status.

    Attributes:
        status: The HTTP status.
        code: Protime's error code; empty when the body has none.
        reasons: Protime's detailed reasons, or the validation errors of a request body.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", reasons: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reasons = tuple(reasons)


class BadRequestError(ResponseError):
    """400: the query or the body is not valid."""


class UnauthorizedError(ResponseError):
    """401, although the token was new: the client lacks the scope, or was withdrawn."""


class ForbiddenError(ResponseError):
    """403: the scope is missing, or the tenant does not have the feature."""


class NotFoundError(ResponseError):
    """404: no such record, collection or structure."""


class ExpiredError(ResponseError):
    """409 or 410 on a link: the link has expired, and only a full load can continue."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and its causes, outermost first.

    An error raised `from None` keeps its context, which counts as its cause here.
    """
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, or its class name when it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
