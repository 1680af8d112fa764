"""Where people belonged, and when; without a delta."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, PERIOD, PERSON
from protime_source.catalogue.model import Collection, column

_PAGE = (
    "https://documentation.myprotime.eu/protimeapi/reference/collections/people/"
    "historical-fields/get-list/"
)


def _history(field: str, singular: str, catalog: str) -> Collection:
    """All six look alike. The documentation gives them two scopes: the narrower one is first."""
    where = column(
        f"{field}.id",
        "bigint",
        f"Id in {catalog}.",
        refers=catalog,
        alias="historicalFieldCategory.id",
    )
    return Collection(
        name=f"{singular}-histories",
        documentation=_PAGE,
        has_delta=False,
        scopes=("people-historical-data", "people"),
        columns=(*KEYS, PERSON, *PERIOD, where),
    )


DEPARTMENT_HISTORIES = _history("department", "department", "departments")
EMPLOYER_HISTORIES = _history("employer", "employer", "employers")
JOB_HISTORIES = _history("job", "job", "jobs")
JOB_CATEGORY_HISTORIES = _history("jobCategory", "job-category", "job-categories")
SECTOR_HISTORIES = _history("sector", "sector", "sectors")
WORK_LOCATION_HISTORIES = _history("workLocation", "work-location", "work-locations")
