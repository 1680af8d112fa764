"""A dlt source that keeps a warehouse true to Protime, by delta."""

from __future__ import annotations

from protime_source.api.assignments import ActivityLevel, Assignment, Client
from protime_source.errors import (
    AlreadyRunningError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    DifferencesError,
    ExpiredError,
    ForbiddenError,
    IncompleteFullLoadError,
    NotFoundError,
    ProtimeError,
    ProtocolError,
    RateLimitedError,
    RefusedCollectionsError,
    ResponseError,
    ScopeError,
    SettingsError,
    TokenUnavailableError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnhealthyError,
    UnknownChangeError,
    UntrustedCertificateError,
    VanishedRowsError,
    WarehouseError,
)
from protime_source.operations.check import Check, check
from protime_source.operations.reset import Reset, reset
from protime_source.operations.status import Status, status
from protime_source.pipeline.load import load
from protime_source.pipeline.source import protime
from protime_source.settings import Settings, __version__
from protime_source.verify.report import VerifyReport
from protime_source.verify.run import verify

__all__ = [
    "ActivityLevel",
    "AlreadyRunningError",
    "ApiError",
    "Assignment",
    "AuthenticationError",
    "BadRequestError",
    "Check",
    "Client",
    "DifferencesError",
    "ExpiredError",
    "ForbiddenError",
    "IncompleteFullLoadError",
    "NotFoundError",
    "ProtimeError",
    "ProtocolError",
    "RateLimitedError",
    "RefusedCollectionsError",
    "Reset",
    "ResponseError",
    "ScopeError",
    "Settings",
    "SettingsError",
    "Status",
    "TokenUnavailableError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnhealthyError",
    "UnknownChangeError",
    "UntrustedCertificateError",
    "VanishedRowsError",
    "VerifyReport",
    "WarehouseError",
    "__version__",
    "check",
    "load",
    "protime",
    "reset",
    "status",
    "verify",
]
