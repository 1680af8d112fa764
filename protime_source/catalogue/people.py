"""People, their contracts, and where they belonged over time."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, PERIOD, PERSON
from protime_source.catalogue.model import Collection, column

PEOPLE = Collection(
    name="people",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/people/personal-information/",
    references=("people",),
    columns=(
        *KEYS,
        column("periodClosingDate", "date", "The calendar is locked up to this date."),
        column("hourlyRateCurrencyDefinition.id", "bigint", "Currency of the hourly rate."),
        column("advanceCurrencyDefinition.id", "bigint", "Currency of advances."),
        column("lastName", "text", "Last name."),
        column("firstName", "text", "First name."),
        column("initials", "text", "Initials."),
        column("telephone", "text", "Telephone number.", sensitive=True),
        column("mobile", "text", "Mobile number.", sensitive=True),
        column("email", "text", "Email address.", sensitive=True),
        column("address", "text", "Street and number.", sensitive=True),
        column("postalCode", "text", "Postal code.", sensitive=True),
        column("town", "text", "Town.", sensitive=True),
        column("countryISOCode", "text", "Country code.", sensitive=True, alias="countryIsoCode"),
        column(
            "nationalityISOCode",
            "text",
            "Nationality code.",
            sensitive=True,
            alias="nationalityIsoCode",
        ),
        column("sex", "text", "Unknown, Female, Male or Other.", sensitive=True),
        column(
            "maritalStatus",
            "text",
            "Unknown, Single, Married, Widow, Widower, Divorced or LivingTogether.",
            sensitive=True,
        ),
        column("birthDate", "date", "Date of birth.", sensitive=True),
        column("placeOfBirth", "text", "Place of birth.", sensitive=True),
        column("drivingLicense", "text", "Number of the driving licence.", sensitive=True),
        column("registerNumber", "text", "Register number.", sensitive=True),
        column("passportNumber", "text", "Passport number.", sensitive=True),
        column("socialSecurityNumber", "text", "Social security number.", sensitive=True),
        column("bankAccount", "text", "Bank account number.", sensitive=True),
        column("inServiceDate", "date", "First day in service."),
        column(
            "outOfServiceDate", "date", "Day out of service; empty while the service has no end."
        ),
        column("wtdStartDate", "date", "WTD start date."),
        column("employeeNumber", "text", "Employee number."),
        column("payGroup", "text", "Pay group."),
        column("hourlyRate", "double", "Hourly rate.", sensitive=True),
        column("maxAdvance", "double", "Maximum advance.", sensitive=True),
        column("terminalGroup.id", "bigint", "The terminal group."),
        column("badgeNumber", "text", "Badge number; unique.", sensitive=True),
        column("pinCode", "bigint", "PIN code.", sensitive=True),
        column("terminalLanguageISOCode", "text", "Language shown on terminals."),
    ),
)

CONTRACTS = Collection(
    name="contracts",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/people/contracts/get/",
    references=("people", "contracts"),
    columns=(
        *KEYS,
        PERSON,
        column("code", "text", "Contract code."),
        *PERIOD,
        column("contractHoursInMinutes", "bigint", "Hours of the contract, in minutes."),
        column(
            "fullTimeEquivalentInMinutes", "bigint", "Hours of a full-time contract, in minutes."
        ),
        column("contractPercentage", "double", "Contract hours as a percentage of full time."),
        column("numberOfWorkingDaysPerWeek", "double", "Number of working days per week."),
        column("numberOfDaysInContractPeriod", "bigint", "Number of days in the contract period."),
        column("kind", "text", "Contract or Addendum."),
        column(
            "parentContract.id",
            "bigint",
            "The contract that an addendum belongs to.",
            refers="contracts",
        ),
    ),
)


def _history(field: str, name: str, category: str) -> Collection:
    """The history of one category; the documentation gives all six the same two scopes."""
    where = column(
        f"{field}.id",
        "bigint",
        f"Id in {category}.",
        refers=category,
        alias="historicalFieldCategory.id",
    )
    return Collection(
        name=f"{name}-histories",
        documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/people/historical-fields/get-list/",
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
