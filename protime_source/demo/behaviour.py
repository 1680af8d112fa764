"""How the tenant behaves where the documentation leaves it open, and what goes wrong on request.

Page names are relative to https://documentation.myprotime.eu/protimeapi/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from protime_source.demo.messages import Call

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
)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The switches of a demo tenant; the defaults are the likeliest reading of the documentation.

    Attributes:
        links_rereadable: A deltaLink already used gives its changes again, and later ones;
            otherwise it answers 410.
        pages_rereadable: A nextLink already used shows its page again; otherwise it is invalid.
        older_delta_dies: Starting a delta kills the older one: its links answer 410. That only
            one can be active is documented (`how-to/track-changes-with-delta/`), how the older
            one ends is not.
        events: Every event since the cursor, or only the last of each record.
        order: Order of the events inside an answer.
        repeat_events: Each delta answer also repeats some events of earlier answers, with their
            old versions, and gives some of its own twice.
        window: What the date filter looks at: `from`, as in
            `reference/collections/assignments/get-list/`, or any overlap of `from`..`until`.
        leaving_window: What a delta says of a record whose dates move out of its window: a Delete,
            nothing, or the InsertOrUpdate. Moving in is always an InsertOrUpdate.
        delete_payload: A Delete carries all last fields; otherwise only `id` and `changeVersion`,
            as in the example of `reference/delta/`.
        delete_version: A Delete has a changeVersion of its own, or the last one of the record.
        delta_page_size: Events in a page of a delta answer; None for one single page, as
            `concepts/delta-synchronization/` states.
        empty_last_page: The last page of anything paged is empty (it has the deltaLink).
        empty_middle_page: The second page of anything paged is empty, with a nextLink.
        page_overlap: Rows of the page before that each page repeats.
        stale_walk_status: Answer to an invalid or expired continuationToken; 409 on the pages
            of several collections.
        continuation_lifetime_hours: Life of a continuationToken, in hours; None for ever.
        token_lifetime: Life of an access token, in seconds (`reference/authentication/`).
        unknown_scope: A scope that the client lacks: 400 `invalid_scope`, or left out of the token.
        granted_scopes: The scopes that the client has.
        missing_scope_status: Answer of the API when the token lacks the scope: 403
            (`reference/responses/`) or 401 (most collection pages).
        feature_disabled: The customer uses Planning Flex or Shift: assignments answer 403
            (`tutorials/first-assignment-integration/`).
        link_style: Links as documented (path without host, nothing encoded), percent-encoded,
            or percent-encoded with the host in front.
        require_user_agent: 400 when `User-Agent` is not `Name/Version (Company)`
            (`reference/general-specs/`).
        extra_fields: Fields that every record written from now on also carries.
        without_version: Collections whose records and events show no changeVersion, as in the
            newer tables of `reference/collections/activities/activity-durations/delta/`.
        latency: Seconds that each request takes on top.
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
    stale_walk_status: Literal[409, 410] = 409
    continuation_lifetime_hours: float | None = 72
    token_lifetime: int = 1800
    unknown_scope: Literal["refuse", "omit"] = "refuse"
    granted_scopes: tuple[str, ...] = ALL_SCOPES
    missing_scope_status: Literal[401, 403] = 403
    feature_disabled: bool = False
    link_style: Literal["plain", "encoded", "absolute"] = "plain"
    require_user_agent: bool = True
    extra_fields: Mapping[str, Any] = field(default_factory=dict)
    without_version: tuple[str, ...] = ()
    latency: float = 0


FaultKind = Literal[
    "status",
    "drop",
    "cut",
    "truncated_json",
    "html",
    "expired_token",
    "redirect",
    "foreign_link",
    "loop",
    "chain",
    "endless",
]


@dataclass
class Fault:
    """Something that goes wrong with the next matching requests.

    A faulty answer with content of its own (`status`, `html`, `expired_token`, `redirect`, `chain`,
    `endless`) and `drop` come before the tenant does any work; `cut`, `truncated_json`,
    `foreign_link` and `loop` spoil the answer to work that was done.

    Attributes:
        kind: `status` answers `status`; `drop` closes the connection without an answer; `cut`
            announces the whole body, sends half and closes (an answer without a body, as to a
            write, is lost whole); `truncated_json` is a complete answer
            whose JSON stops in the middle; `html` is a 200 with a web page; `expired_token` a 401;
            `redirect` sends to `location`, with `status` if that is a 3xx, else with 302;
            `foreign_link` puts `location` in front of the answer's
            link; `loop` makes the nextLink the link just asked for; `chain` is an empty page with a
            new nextLink each time; `endless` answers `status` with `size` blanks and does not
            announce how many.
        status: HTTP status for `status`, `redirect` and `endless`.
        retry_after: Value of the `Retry-After` header: seconds or an HTTP date.
        body: Body for `status`; None for the usual error body.
        content_type: Content type of that body.
        headers: More headers for `status`, or others in place of the usual ones.
        size: Bytes of the body of `endless`.
        location: Absolute URL for `redirect` and `foreign_link`.
        times: Number of requests to hit.
        where: Part of the path and query, as sent; "" is any request to the API, none for tokens.
        after: Number of matching requests to let through first.
    """

    kind: FaultKind
    status: int = 500
    retry_after: int | str | None = None
    body: bytes | str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 2**30
    location: str = "http://elsewhere.invalid"
    times: int = 1
    where: str = ""
    after: int = 0
    _seen: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def number(self) -> int:
        """How many requests it has seen."""
        return self._seen

    @property
    def spent(self) -> bool:
        """Whether it will hit nothing any more."""
        return self._seen >= self.after + self.times

    def hits(self, call: Call) -> bool:
        """Count this request if it matches, and say whether the fault hits it."""
        if self.spent or not self._matches(call):
            return False
        self._seen += 1
        return self._seen > self.after

    def _matches(self, call: Call) -> bool:
        return self.where in call.target if self.where else call.is_api
