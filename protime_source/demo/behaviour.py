"""What a test controls in a demo tenant: its behaviour where the documentation is open, its clock.

Page names are relative to https://documentation.myprotime.eu/protimeapi/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from protime_source.demo.messages import LinkStyle

_READABLE = (
    "assignments clockings access-clockings people contracts people-historical-data departments"
    " employers job-categories jobs sectors work-locations absences absence-definitions"
    " absence-groups activity-durations activity-definitions calculated-totals breaks"
    " break-definitions work-interruptions counters counter-definitions counter-groups"
    " shift-definitions"
)
ALL_SCOPES = (
    *(f"connector-protimeapi-{name}.read" for name in _READABLE.split()),
    "connector-protimeapi-assignments.write",
    "connector-protimeapi-webhooks.read",
    "connector-protimeapi-webhooks.write",
    "connector-protimeapi-clockings.write",
)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The switches of a demo tenant; the defaults are the likeliest reading of the documentation.

    Attributes:
        links_rereadable: A used deltaLink returns its changes again, and later ones; otherwise
            the response is 410.
        pages_rereadable: A used nextLink returns its page again; otherwise it is invalid.
        older_delta_dies: Starting a delta ends the older one: its links return 410. The
            documentation says that only one can be active (`how-to/track-changes-with-delta/`),
            not how the older one ends.
        events: All events since the cursor, or only the last of each record.
        order: Order of the events inside a response.
        repeat_events: Each delta response also repeats some events of earlier responses, with
            their old versions, and returns some of its own events twice.
        window: What the date filter compares: `from`, as in
            `reference/collections/assignments/get-list/`, or any overlap of `from`..`until`.
        leaving_window: The event of a record whose dates move out of the window: a Delete, no
            event, or an InsertOrUpdate. Moving in is always an InsertOrUpdate.
        delete_payload: A Delete carries all last fields; otherwise only `id` and `changeVersion`,
            as in the example of `reference/delta/`.
        delete_version: A Delete has a changeVersion of its own, or the last one of the record.
        delta_page_size: Events in a page of a delta response; None for one single page, as
            `concepts/delta-synchronization/` states.
        empty_last_page: The last page of anything paged is empty (and has the deltaLink).
        empty_middle_page: The second page of anything paged is empty, with a nextLink.
        page_overlap: Number of rows of the previous page that each page repeats.
        stale_continuation_status: Status for an invalid or expired continuationToken; 409 on the
            pages of several collections.
        continuation_lifetime_hours: Lifetime of a continuationToken, in hours; None for no limit.
        token_lifetime: Lifetime of an access token, in seconds (`reference/authentication/`).
        unknown_scope: A requested scope that the client lacks: 400 `invalid_scope`, or left out of
            the token.
        granted_scopes: The scopes that the client has.
        missing_scope_status: Status of the API when the token lacks the scope: 403
            (`reference/responses/`) or 401 (most collection pages).
        feature_disabled: The customer uses Planning Flex or Shift: assignments return 403
            (`tutorials/first-assignment-integration/`).
        link_style: Links as documented (path without host, not encoded), percent-encoded, or
            percent-encoded and with the host.
        require_user_agent: 400 when `User-Agent` is not `Name/Version (Company)`
            (`reference/general-specs/`).
        extra_fields: More fields for each record written from now on.
        without_version: Collections whose records and events have no changeVersion, as in the
            newer tables of `reference/collections/activities/activity-durations/delta/`.
        created_body: The response to a POST has the record as its body, besides `Location`.
        delete_status: Status of a successful DELETE; the documentation has both
            (`reference/responses/`).
        fills_in: What a write leaves out gets a value: the last day is the first one, the break 0
            minutes, the comments are empty.
        latency: Seconds added to each request.
        webhook_lateness: Seconds between a change and its event.
        webhook_loss: Share of the events that are never sent.
        webhook_repeats: How many more times each event is sent.
        webhook_attempts: Attempts to deliver an event before the webhook is disabled.
        webhook_retry_seconds: Seconds between them.
        webhook_signature: How the HMAC of the body is written; `other` is one of something else.
            The reference documents it in a part that could not be read.
        webhook_signature_header: Its header, which is in that part too.
        webhook_validity_hours: Hours until `validUntil`; the length is not documented.
        webhook_list_needs_filter: The list of webhooks returns 400 without a filter, as those of
            most collections do.
        webhook_deleted_listed: The list still has webhooks that were deleted.
        webhook_url_hidden: The list shows only the host of each `destinationUrl`.
        webhook_twins: A second webhook for the same collection and URL: created, or 409.
        webhook_needs_collection_scope: To create one needs the collection's `.read` scope as well,
            which the token of `tutorials/real-time-sync/` has.
    """

    links_rereadable: bool = True
    pages_rereadable: bool = True
    older_delta_dies: bool = True
    events: Literal["all", "compacted"] = "compacted"
    order: Literal["oldest_first", "newest_first", "shuffled"] = "oldest_first"
    repeat_events: bool = False
    window: Literal["from", "overlap"] = "from"
    leaving_window: Literal["delete", "silent", "update"] = "delete"
    delete_payload: bool = False
    delete_version: Literal["new", "same"] = "new"
    delta_page_size: int | None = None
    empty_last_page: bool = False
    empty_middle_page: bool = False
    page_overlap: int = 0
    stale_continuation_status: Literal[409, 410] = 409
    continuation_lifetime_hours: float | None = 72
    token_lifetime: int = 1800
    unknown_scope: Literal["refuse", "omit"] = "refuse"
    granted_scopes: tuple[str, ...] = ALL_SCOPES
    missing_scope_status: Literal[401, 403] = 403
    feature_disabled: bool = False
    link_style: LinkStyle = "plain"
    require_user_agent: bool = True
    extra_fields: Mapping[str, Any] = field(default_factory=dict)
    without_version: tuple[str, ...] = ()
    created_body: bool = False
    delete_status: Literal[200, 204] = 200
    fills_in: bool = False
    latency: float = 0
    webhook_lateness: float = 0
    webhook_loss: float = 0
    webhook_repeats: int = 0
    webhook_attempts: int = 3
    webhook_retry_seconds: float = 0.2
    webhook_signature: Literal["hex", "base64", "other"] | None = "hex"
    webhook_signature_header: str = "X-Signature"
    webhook_validity_hours: float = 720
    webhook_list_needs_filter: bool = False
    webhook_deleted_listed: bool = False
    webhook_url_hidden: bool = False
    webhook_twins: Literal["allowed", "refused"] = "allowed"
    webhook_needs_collection_scope: bool = False


class Clock:
    """A UTC clock that starts at the real time, runs on, and can be advanced in an instant."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """The tenant's time, in UTC."""
        return datetime.now(UTC) + self._offset

    def today(self) -> date:
        """The machine's UTC date, because no client has seen a New Year that `advance` passes."""
        return datetime.now(UTC).date()

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Move the clock forward."""
        self._offset += timedelta(days=days, hours=hours, seconds=seconds)
