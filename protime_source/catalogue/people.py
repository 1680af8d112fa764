"""People and their contracts."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, PERIOD, PERSON
from protime_source.catalogue.model import Collection, column

PEOPLE = Collection(
    name="people",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/people/personal-information/",
    references=("people",),
    columns=(
        *KEYS,
        column("periodClosingDate", "date", "Calendar is locked up to this date."),
        column("hourlyRateCurrencyDefinition.id", "bigint", "Currency of hourly rate."),
        column("advanceCurrencyDefinition.id", "bigint", "Currency of advances."),
        column("lastName", "text", "Last name."),
        column("firstName", "text", "First name."),
        column("initials", "text", "Initials."),
        column("telephone", "text", "Phone.", sensitive=True),
        column("mobile", "text", "Mobile.", sensitive=True),
        column("email", "text", "Email.", sensitive=True),
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
        column("sex", "text", "Unknown | Female | Male | Other.", sensitive=True),
        column(
            "maritalStatus",
            "text",
            "Unknown | Single | Married | Widow | Widower | Divorced | LivingTogether.",
            sensitive=True,
        ),
        column("birthDate", "date", "YYYY-MM-DD.", sensitive=True),
        column("placeOfBirth", "text", "Place of birth.", sensitive=True),
        column("drivingLicense", "text", "Licence number.", sensitive=True),
        column("registerNumber", "text", "Register number.", sensitive=True),
        column("passportNumber", "text", "Passport number.", sensitive=True),
        column("socialSecurityNumber", "text", "Social security number.", sensitive=True),
        column("bankAccount", "text", "Bank account.", sensitive=True),
        column("inServiceDate", "date", "In service from, YYYY-MM-DD."),
        column("outOfServiceDate", "date", "Out of service, YYYY-MM-DD; empty = open-ended."),
        column("wtdStartDate", "date", "WTD start date, YYYY-MM-DD."),
        column("employeeNumber", "text", "Employee number."),
        column("payGroup", "text", "Pay group."),
        column("hourlyRate", "double", "Hourly rate.", sensitive=True),
        column("maxAdvance", "double", "Maximum advance.", sensitive=True),
        column("terminalGroup.id", "bigint", "Terminal group."),
        column("badgeNumber", "text", "Badge number, unique.", sensitive=True),
        column("pinCode", "bigint", "PIN code.", sensitive=True),
        column("terminalLanguageISOCode", "text", "Language on terminals."),
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
        column("contractHoursInMinutes", "bigint", "Contract hours in minutes."),
        column("fullTimeEquivalentInMinutes", "bigint", "Full-time equivalent in minutes."),
        column("contractPercentage", "double", "Percentage of full time."),
        column("numberOfWorkingDaysPerWeek", "double", "Working days per week."),
        column("numberOfDaysInContractPeriod", "bigint", "Days in contract period."),
        column("kind", "text", "Contract | Addendum."),
        column("parentContract.id", "bigint", "Parent contract.", refers="contracts"),
    ),
)
