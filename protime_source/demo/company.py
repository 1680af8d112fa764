"""Generates the other collections of a customer from its assignments: people, clockings, ...

The fields are those of the pages `reference/collections/`; the ids in them refer to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from random import Random
from typing import Any

from protime_source.demo.data import STRUCTURE, Planning

Fields = dict[str, Any]

FIRST_NAMES = (
    "An",
    "Bram",
    "Chloé",
    "Dirk",
    "Elif",
    "François",
    "Grażyna",
    "Hasan",
    "Ines",
    "Jörg",
)
LAST_NAMES = ("Peeters", "Janssens", "Dubois", "Kiliç", "Müller", "Nowak", "De Smet", "El Amrani")
_CATALOGS = {
    "departments": ("Logistics", "Assembly", "Office", "Maintenance"),
    "employers": ("Acme NV", "Acme Logistics BV"),
    "jobs": ("Forklift driver", "Fitter", "Planner", "Receptionist"),
    "job-categories": ("Worker", "Employee"),
    "sectors": ("Metal", "Transport"),
    "work-locations": ("Antwerp", "Liège", "Home"),
    "absence-groups": ("Holiday", "Illness"),
    "absence-definitions": ("Annual leave", "Unpaid leave", "Sick leave"),
    "counter-groups": ("Premiums",),
    "counter-definitions": ("Night premium", "Kilometres"),
    "shift-definitions": ("Early", "Late", "Night", "Day"),
    "break-definitions": ("Lunch", "Coffee"),
}
_ACTIVITIES = {
    1: ("Warehouse", "Production", "Transport", "Quality control"),
    2: ("Receiving", "Assembly line", "Maintenance", "Packing"),
    3: (
        "Unloading",
        "Order picking",
        "Welding",
        "Painting",
        "Repairs",
        "Machine set-up",
        "Labelling",
        "Stocktaking",
    ),
}
"""Names of activity definitions by level."""
_TERMINALS = 4
_DAYS_BETWEEN_ABSENCES = 23
"""Worked days from the beginning of an absence to that of the next one."""
_LONGEST_ABSENCE_DAYS = 4


class Company:
    """The other collections of a customer.

    Args:
        planning: The people and the activity definitions.
        assignments: The initial assignments, from which the other records are derived.
        today: Records of worked days end before this date.
    """

    def __init__(
        self, planning: Planning, assignments: Iterable[Mapping[str, Any]], today: date
    ) -> None:
        self._planning, self._today = planning, today.isoformat()
        self._assignments = assignments

    def rows(self, name: str) -> list[Fields]:
        """The initial records of a collection, without changeVersion."""
        makers: dict[str, Callable[[], Iterator[Fields]]] = {
            "people": self._people,
            "contracts": self._contracts,
            "clockings": self._clockings,
            "access-clockings": self._access_clockings,
            "absences": self._absences,
            "activity-durations": self._activity_durations,
            "calculated-totals": self._totals,
            "paid-presences": self._paid_presences,
            "breaks": self._breaks,
            "work-interruptions": self._interruptions,
            "counters": self._counters,
        }
        if name in makers:
            return list(makers[name]())
        if name in _CATALOGS:
            return [self._entry(name, i, text) for i, text in enumerate(_CATALOGS[name], 1)]
        if name.endswith("-histories"):
            return list(self._history(name.removesuffix("-histories")))
        return self._definitions(int(name.split("/")[3]))

    @cached_property
    def _past(self) -> list[Fields]:
        """The past assignments with times, one for each person and day."""
        found = {
            (each["person"]["id"], each["from"]): dict(each)
            for each in self._assignments
            if each["from"] < self._today and "endTimeInMinutes" in each
        }
        return list(found.values())

    @cached_property
    def _missed(self) -> list[tuple[Fields, int]]:
        """Those that the person was absent from, in spells, with the kind of absence."""
        by_person: dict[int, list[Fields]] = {}
        for each in self._past:
            by_person.setdefault(each["person"]["id"], []).append(each)
        return [
            (each, 1 + (id_ + spell) % len(_CATALOGS["absence-definitions"]))
            for id_, days in by_person.items()
            for spell, start in enumerate(range(id_ % 17, len(days), _DAYS_BETWEEN_ABSENCES))
            for each in days[start : start + 1 + (id_ + spell) % _LONGEST_ABSENCE_DAYS]
        ]

    @cached_property
    def _worked(self) -> list[Fields]:
        """The others, with the times at which the person came and went."""
        missed = {id(each) for each, _ in self._missed}
        return [
            {
                **each,
                "startTimeInMinutes": each["startTimeInMinutes"] + number * 7 % 19 - 11,
                "endTimeInMinutes": each["endTimeInMinutes"] + number * 11 % 31 - 9,
            }
            for number, each in enumerate(self._past)
            if id(each) not in missed
        ]

    def _people(self) -> Iterator[Fields]:
        for number, id_ in enumerate(self._planning.people):
            yield {
                "id": id_,
                "firstName": FIRST_NAMES[number % len(FIRST_NAMES)],
                "lastName": LAST_NAMES[number // 3 % len(LAST_NAMES)],
                "employeeNumber": f"E{id_:06}",
                "badgeNumber": f"{4_100_000 + id_}",
                "pinCode": 1000 + id_ * 7 % 9000,
                "email": f"person{id_}@acme.example",
                "mobile": f"+32 470 {id_:06}",
                "address": f"Kerkstraat {id_ % 200 + 1}",
                "postalCode": "2000",
                "town": "Antwerpen",
                "countryISOCode": "BE",
                "nationalityISOCode": "BE",
                "sex": ("Female", "Male", "Other")[number % 3],
                "maritalStatus": ("Single", "Married")[number % 2],
                "birthDate": f"{1960 + number % 40}-0{number % 9 + 1}-1{number % 9}",
                "placeOfBirth": "Gent",
                "socialSecurityNumber": f"SSN-{id_:011}",
                "bankAccount": f"BE{id_:014}",
                "passportNumber": f"EP{id_:06}",
                "hourlyRate": 17.5 + number % 20,
                "inServiceDate": "2015-03-01",
                "outOfServiceDate": "",
                "payGroup": "PG1",
                "terminalLanguageISOCode": "nl",
            }

    def _contracts(self) -> Iterator[Fields]:
        for number, id_ in enumerate(self._planning.people):
            share = (100, 80, 50)[number % 3]
            yield {
                "person": {"id": id_},
                "code": f"C{id_}",
                "from": "2015-03-01",
                "contractHoursInMinutes": 2280 * share // 100,
                "fullTimeEquivalentInMinutes": 2280,
                "contractPercentage": float(share),
                "numberOfWorkingDaysPerWeek": 5 * share / 100,
                "kind": "Contract",
            }

    def _clockings(self) -> Iterator[Fields]:
        """In and out; now and then somebody forgot to clock out."""
        for number, each in enumerate(self._worked):
            sides = ("startTimeInMinutes", "endTimeInMinutes")
            for side in sides[: 1 if number % 97 == 96 else 2]:
                yield {
                    **_of(each),
                    "timeOfDayInMinutes": each[side],
                    "calculatedTimeOfDayInMinutes": each[side],
                    "isGenerated": False,
                    "terminal": {"id": 1 + each["person"]["id"] % _TERMINALS},
                    "geolocation": {"longitude": 4.4, "latitude": 51.2},
                    "kind": "InOut",
                    "status": "Active",
                }

    def _access_clockings(self) -> Iterator[Fields]:
        for each in self._worked[::5]:
            minute = max(0, each["startTimeInMinutes"] - 5) % 1440
            status = "AccessOk" if minute % 7 else "AccessRefused"
            terminal = {"id": 1 + each["person"]["id"] % _TERMINALS}
            yield {
                **_of(each),
                "timeOfDayInMinutes": minute,
                "terminal": terminal,
                "status": status,
            }

    def _absences(self) -> Iterator[Fields]:
        for number, (each, kind_id) in enumerate(self._missed):
            kind, is_half = {"id": kind_id}, number % 7 == 6
            minutes = _length(each) // (2 if is_half else 1)
            yield {
                **_of(each),
                "resultingAbsenceDefinition": kind,
                "requestedAbsenceDefinition": kind,
                "startTimeInMinutes": each["startTimeInMinutes"],
                "durationInMinutes": minutes,
                "calculatedDurationInMinutes": minutes,
                "dayPart": "First" if is_half else "Unknown",
                "request": {"id": f"1-{each['person']['id']}-{each['from']}"},
                "status": "Manual",
                "approvalLevel": "Approved",
                "isLocked": False,
                "periodType": "Day",
            }

    def _activity_durations(self) -> Iterator[Fields]:
        for each in self._worked[::4]:
            yield {
                **_of(each),
                "durationInMinutes": _length(each),
                "activityLevels": each.get("activityLevels", []),
                "counterDefinitions": [{"id": 1}],
                "status": "Auto",
                "isAuthorized": True,
            }

    def _totals(self) -> Iterator[Fields]:
        """The totals of each worked day."""
        for each in self._worked:
            present = each["endTimeInMinutes"] - each["startTimeInMinutes"]
            yield {
                **_of(each),
                "normalTimeDurationInMinutes": 456,
                "timePresentDurationInMinutes": present,
                "calculatedPresenceDurationInMinutes": _length(each),
                "flextimeDurationInMinutes": _length(each) - 456,
                "shiftDefinition": _shift(each),
            }

    def _paid_presences(self) -> Iterator[Fields]:
        for each in self._worked:
            shift = {"shiftDefinition": _shift(each)}
            yield {**_of(each), "durationInMinutes": _length(each), **shift}

    def _breaks(self) -> Iterator[Fields]:
        for each in self._worked[::2]:
            pause = each.get("breakDurationInMinutes", 0)
            yield {
                **_of(each),
                "breakDefinition": {"id": 1},
                "calculatedDurationInMinutes": pause,
                "clockedDurationInMinutes": pause,
                "startTimeInMinutes": 690,
                "endTimeInMinutes": 840,
                "isBreakTaken": pause > 0,
            }

    def _interruptions(self) -> Iterator[Fields]:
        for each in self._worked[::25]:
            start = each["startTimeInMinutes"] + 60
            times = {"startTimeInMinutes": start, "endTimeInMinutes": start + 15}
            yield {**_of(each), "durationInMinutes": 15, **times}

    def _counters(self) -> Iterator[Fields]:
        for each in self._worked[::10]:
            yield {
                **_of(each),
                "counterDefinition": {"id": 1 + each["person"]["id"] % 2},
                "numberOfInstances": 1,
                "status": "Auto",
                "isAuthorized": True,
                "periodType": "Day",
            }

    def _history(self, catalog: str) -> Iterator[Fields]:
        field = catalog.split("-")[0] + "".join(part.title() for part in catalog.split("-")[1:])
        plural = catalog.removesuffix("y") + ("ies" if catalog.endswith("y") else "s")
        for id_ in self._planning.people:
            reference = {field: {"id": 1 + id_ % len(_CATALOGS[plural])}}
            yield {"person": {"id": id_}, "from": "2015-03-01", "until": None, **reference}

    def _entry(self, catalog: str, number: int, text: str) -> Fields:
        name = {"default": text, "translations": {"nl-BE": f"{text} (nl)", "en-GB": text}}
        return {"id": number, "name": name, **_extra_fields(catalog, number, text, name)}

    def _definitions(self, level: int) -> list[Fields]:
        """The activity definitions of a level, in the order of their GUIDs."""
        return [
            {
                "id": guid,
                "structureVersion": STRUCTURE,
                "level": level,
                "name": {"default": name, "translations": {}},
                "dataEntryCode": guid[:8],
                **({"parent": {"id": parent}} if parent else {}),
            }
            for (guid, parent), name in zip(
                sorted(self._planning.definitions(level).items()), _ACTIVITIES[level], strict=True
            )
        ]


def _of(assignment: Mapping[str, Any]) -> Fields:
    return {"person": assignment["person"], "date": assignment["from"]}


def _length(assignment: Mapping[str, Any]) -> int:
    present: int = assignment["endTimeInMinutes"] - assignment["startTimeInMinutes"]
    return present - int(assignment.get("breakDurationInMinutes", 0))


def _shift(assignment: Mapping[str, Any]) -> Fields:
    start = assignment["startTimeInMinutes"]
    return {
        "id": 3 if start < 0 or start >= 1200 else 1 if start < 420 else 2 if start > 720 else 4
    }


def _extra_fields(catalog: str, number: int, text: str, name: Fields) -> Fields:
    """The fields of a catalog entry besides id and name."""
    code = {"code": text[:3].upper(), "isEnabled": True, "friendlyName": name}
    match catalog:
        case "departments" | "job-categories":
            return {"externalCode": f"X{number}"}
        case "employers":
            return {"externalCode": f"X{number}", "town": "Gent", "bankAccount": "BE00 0000"}
        case "work-locations":
            return {"description": f"{text}, where people work"}
        case "absence-groups":
            return {"type": "Absence"}
        case "absence-definitions":
            group = {"absenceGroup": {"id": 1 if number < 3 else 2}}
            return {**code, "allowedDurations": ["FullDay", "HalfDay"], **group}
        case "counter-definitions":
            return {**code, "counterGroup": {"id": 1}, "unit": "Duration"}
        case "shift-definitions":
            return code
        case "break-definitions":
            return {"paidDurationInMinutes": 0, "maximumDurationInMinutes": 60}
    return {}


def edit(random: Random, record: Mapping[str, Any]) -> Fields:
    """The fields of a record of any collection after a random edit."""
    fields = {k: v for k, v in record.items() if k not in ("id", "changeVersion")}
    numbers = [k for k, value in fields.items() if type(value) is int and k != "level"]
    if numbers:
        name = random.choice(numbers)
        return {**fields, name: fields[name] + random.choice((-15, 15, 30))}
    if isinstance(text := fields.get("name"), dict):
        return {**fields, "name": {**text, "default": f"{text['default']} {random.randrange(100)}"}}
    return {**fields, "from": f"201{random.randrange(10)}-04-01"}
