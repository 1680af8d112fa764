"""Single clockings: create. Protime's documentation has neither update nor delete.

with Client.from_config() as client:
    client.clockings.create(
        Clocking(person_id=1, date=date(2026, 3, 10), time_of_day_in_minutes=480)
    )
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date  # noqa: N812  # a field is called date
from typing import Any, Literal

from protime_source.api.assignments import ActivityLevel, levels_to_json
from protime_source.api.http import ApiSession
from protime_source.api.responses import created_id
from protime_source.catalogue.time import CLOCKINGS


@dataclass(frozen=True, kw_only=True)
class Clocking:
    """A clocking to create, with the names that the warehouse table has.

    Attributes:
        person_id: The person who clocks.
        date: The day.
        time_of_day_in_minutes: Minutes since local midnight, -1440 to 2880.
        kind: What it means.
        terminal_id: The terminal.
        reason_id: The kind of absence that is the reason; only for the kind Reason.
        is_open: Whether it is open; only for the kind Reason.
        activity_levels: Activity definition per level; only for the kind Activity.
        longitude: Where it was made.
        latitude: Where it was made.
    """

    person_id: int
    date: Date
    time_of_day_in_minutes: int
    kind: Literal["InOut", "Reason", "Activity", "ActivityEnd"] = "InOut"
    terminal_id: int | None = None
    reason_id: int | None = None
    is_open: bool | None = None
    activity_levels: tuple[ActivityLevel, ...] = ()
    longitude: float | None = None
    latitude: float | None = None


class Clockings:
    """The clockings of a tenant.

    Args:
        session: Sends the requests.
    """

    def __init__(self, session: ApiSession) -> None:
        self._session = session

    def create(self, clocking: Clocking) -> int:
        """Creates a clocking (documentation: reference/collections/clockings/post).

        It is not sent again after a failure, because Protime may have created the clocking: after
        an `UnavailableError` check whether it exists.

        Returns:
            The new id.

        Raises:
            BadRequestError: When Protime finds it invalid; `reasons` says why.
            ApiError: When Protime does not accept it for another reason.
        """
        response = self._session.send("POST", CLOCKINGS.path, _to_json(clocking))
        return created_id(response, "clocking")


def _to_json(clocking: Clocking) -> dict[str, Any]:
    geolocation = {"longitude": clocking.longitude, "latitude": clocking.latitude}
    body = {
        "person": {"id": clocking.person_id},
        "date": clocking.date.isoformat(),
        "timeOfDayInMinutes": clocking.time_of_day_in_minutes,
        "kind": clocking.kind,
        "terminal": clocking.terminal_id and {"id": clocking.terminal_id},
        "reason": clocking.reason_id and {"id": clocking.reason_id},
        "isOpen": clocking.is_open,
        "geolocation": geolocation if None not in geolocation.values() else None,
        "activityLevels": levels_to_json(clocking.activity_levels) or None,
    }
    return {name: value for name, value in body.items() if value is not None}
