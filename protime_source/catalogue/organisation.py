"""What people belong to. Protime offers no delta for these collections."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, translated
from protime_source.catalogue.model import Collection, column

DEPARTMENTS = Collection(
    name="departments",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/departments/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
        column("externalCode", "text", "External code."),
    ),
)

EMPLOYERS = Collection(
    name="employers",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/employers/get-list/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
        column("externalCode", "text", "External code."),
        column("address", "text", "Street address."),
        column("town", "text", "Town."),
        column("postalCode", "text", "Postal code."),
        column("bankAccount", "text", "Bank account number.", sensitive=True),
        column("companyRegistrationNumber", "text", "Company registration number."),
    ),
)

JOBS = Collection(
    name="jobs",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/jobs/get/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
    ),
)

JOB_CATEGORIES = Collection(
    name="job-categories",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/job-categories/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
        column("externalCode", "text", "External code."),
    ),
)

SECTORS = Collection(
    name="sectors",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/sectors/get/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
    ),
)

WORK_LOCATIONS = Collection(
    name="work-locations",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/work-locations/get/",
    has_delta=False,
    columns=(
        *KEYS,
        *translated("name", "Name in the default language."),
        column("description", "text", "Description."),
    ),
)
