"""What each model must show, computed plainly from the demo tenant's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.world import Row, World

DAY = timedelta(days=1)
BRUSSELS = ZoneInfo("Europe/Brussels")


class PlainModels:
    """The rows of each model, one dictionary each.

    Args:
        world: The tenant; of the warehouse, only the history and the times of writing are read.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._tenant = world.tenant
        self._today = datetime.now(BRUSSELS).date()
        self._people = self._if_loaded("people", "people")
        self._departments = self._if_loaded("departments", "departments")
        self._periods = self._if_loaded("department_histories", "department-histories")
        names = [n for n in self._tenant.collections if n.endswith("/activity-definitions")]
        self._activities = self._if_loaded("activity_definitions", *names)

    def _if_loaded(self, table: str, *collections: str) -> Row:
        """The records of a table that models do without when it is not loaded."""
        if not self._world.engine.holds(table):
            return {}
        return {id_: each for name in collections for id_, each in self._tenant.of(name).items()}

    def rows(self, name: str) -> list[Row]:
        """The rows of a model."""
        makers: dict[str, Callable[[], Iterator[Row]]] = {
            "current_assignments": self._current_assignments,
            "assignment_days": self._assignment_days,
            "planned_days": self._planned_days,
            "coverage": self._coverage,
            "absence_days": self._absence_days,
            "absence_spells": self._absence_spells,
            "bradford_factor": self._bradford_factor,
            "planned_vs_clocked": self._planned_vs_clocked,
            "short_notice_changes": self._short_notice_changes,
        }
        return [*makers[name]()]

    def _current_assignments(self) -> Iterator[Row]:
        stored = self._world.rows()
        for id_, record in self._tenant.records.items():
            if record.get("isRejected"):
                continue
            person = self._people.get(record["person"]["id"], {})
            start, end = record.get("startTimeInMinutes"), record.get("endTimeInMinutes")
            pause = record.get("breakDurationInMinutes")
            length = None
            if start is not None and end is not None and start <= end:
                length = end - start
            yield {
                "assignment_id": id_,
                "person_id": record["person"]["id"],
                "last_name": person.get("lastName"),
                "first_name": person.get("firstName"),
                "employee_number": person.get("employeeNumber"),
                "from_date": date.fromisoformat(record["from"]),
                "until_date": _date(record.get("until")),
                "start_time_in_minutes": start,
                "end_time_in_minutes": end,
                "break_duration_in_minutes": pause,
                "minutes_with_breaks": length,
                "planned_minutes": None if length is None else max(length - (pause or 0), 0),
                **self._activity(record),
                "comments": record.get("comments"),
                "synced_at": stored[id_]["synced_at"],
            }

    def _activity(self, record: Row) -> Row:
        levels = sorted(record.get("activityLevels", ()), key=lambda level: -level["level"])
        if not levels:
            return {"activity_definition_id": None, "activity": None}
        id_ = levels[0]["activityDefinition"]["id"]
        return {"activity_definition_id": id_, "activity": _name(self._activities.get(id_))}

    def _assignment_days(self) -> Iterator[Row]:
        for each in self._current_assignments():
            day, until = each["from_date"], each["until_date"] or each["from_date"]
            last = min(max(until, day), day + 365 * DAY)
            while day <= last:
                yield {
                    "assignment_id": each["assignment_id"],
                    "person_id": each["person_id"],
                    "day": day,
                    "start_time_in_minutes": each["start_time_in_minutes"],
                    "end_time_in_minutes": each["end_time_in_minutes"],
                    "minutes_with_breaks": each["minutes_with_breaks"],
                    "planned_minutes": each["planned_minutes"],
                    "is_open": each["until_date"] is None,
                    "activity_definition_id": each["activity_definition_id"],
                    "activity": each["activity"],
                }
                day += DAY

    def _planned_days(self) -> Iterator[Row]:
        by_day = defaultdict(list)
        for each in self._assignment_days():
            by_day[each["person_id"], each["day"]].append(each)
        for (person, day), found in by_day.items():
            timed = [each for each in found if each["minutes_with_breaks"] is not None]
            yield {
                "person_id": person,
                "day": day,
                "assignments": len(found),
                "untimed_assignments": len(found) - len(timed),
                "open_assignments": sum(each["is_open"] for each in found),
                "start_time_in_minutes": min(_all(timed, "start_time_in_minutes"), default=None),
                "end_time_in_minutes": max(_all(timed, "end_time_in_minutes"), default=None),
                "minutes_with_breaks": _sum(timed, "minutes_with_breaks"),
                "planned_minutes": _sum(timed, "planned_minutes"),
            }

    def _coverage(self) -> Iterator[Row]:
        """Minute by minute."""
        people: dict[Any, set[int]] = defaultdict(set)
        minutes: dict[Any, int] = defaultdict(int)
        for each in self._assignment_days():
            if each["minutes_with_breaks"] is None:
                continue
            activity = (each["activity_definition_id"], each["activity"])
            department = self._department(each["person_id"], each["day"])
            for minute in range(each["start_time_in_minutes"], each["end_time_in_minutes"]):
                day, half_hour = each["day"] + minute // 1440 * DAY, minute % 1440 // 30 * 30
                key = (day, half_hour, *activity, department)
                people[key].add(each["person_id"])
                minutes[key] += 1
        for key, found in people.items():
            day, half_hour, definition, activity, department = key
            yield {
                "day": day,
                "start_time_in_minutes": half_hour,
                "activity_definition_id": definition,
                "activity": activity,
                "department_id": department,
                "department": _name(self._departments.get(department)),
                "people": len(found),
                "minutes_with_breaks": minutes[key],
            }

    def _department(self, person: int, day: date) -> int | None:
        """The one that began last; when that has ended by then, there is none."""
        periods = [
            (record["from"], id_, record)
            for id_, record in self._periods.items()
            if record["person"]["id"] == person and record["from"] <= day.isoformat()
        ]
        newest: Row = max(periods)[2] if periods else {"until": "0001-01-01"}
        is_over = newest["until"] is not None and newest["until"] < day.isoformat()
        return None if is_over else newest["department"]["id"]

    def _absence_days(self) -> Iterator[Row]:
        definitions = self._tenant.of("absence-definitions")
        groups = self._tenant.of("absence-groups")
        by_kind = defaultdict(list)
        for each in self._tenant.of("absences").values():
            if each.get("approvalLevel", "Unknown") in ("Approved", "Unknown"):
                kind = each["resultingAbsenceDefinition"]["id"]
                by_kind[each["person"]["id"], each["date"], kind].append(each)
        for (person, day, kind), found in by_kind.items():
            group = definitions[kind]["absenceGroup"]["id"]
            halves = sum(1 if each.get("dayPart") in ("First", "Second") else 2 for each in found)
            yield {
                "person_id": person,
                "day": date.fromisoformat(day),
                "absence_definition_id": kind,
                "absence": definitions[kind]["name"]["default"],
                "absence_group_id": group,
                "absence_group": groups[group]["name"]["default"],
                "absence_group_type": groups[group]["type"],
                "days": min(halves, 2) / 2,
                "minutes": sum(each["calculatedDurationInMinutes"] for each in found),
            }

    def _days_of_absence(self) -> dict[tuple[int, int], dict[date, float]]:
        """By person and group: the share of each day."""
        found: dict[tuple[int, int], dict[date, float]] = defaultdict(dict)
        for each in self._absence_days():
            if each["absence_group_type"] != "WorkingElsewhere":
                days = found[each["person_id"], each["absence_group_id"]]
                days[each["day"]] = min(days.get(each["day"], 0) + each["days"], 1)
        return found

    def _spells(self) -> Iterator[tuple[int, int, dict[date, float]]]:
        for (person, group), days in self._days_of_absence().items():
            spell: dict[date, float] = {}
            for day in sorted(days):
                before = day - DAY
                while before.weekday() >= 5 and before not in spell:
                    before -= DAY
                if spell and before not in spell:
                    yield person, group, spell
                    spell = {}
                spell[day] = days[day]
            yield person, group, spell

    def _absence_spells(self) -> Iterator[Row]:
        for person, group, spell in self._spells():
            yield {
                **self._person_and_group(person, group),
                "first_day": min(spell),
                "last_day": max(spell),
                "days": sum(spell.values()),
                "calendar_days": (max(spell) - min(spell)).days + 1,
            }

    def _bradford_factor(self) -> Iterator[Row]:
        first = self._today - 363 * DAY
        found = defaultdict(list)
        for person, group, spell in self._spells():
            if days := [share for day, share in spell.items() if first <= day <= self._today]:
                found[person, group].append(sum(days))
        for (person, group), spells in found.items():
            yield {
                **self._person_and_group(person, group),
                "first_day": first,
                "last_day": self._today,
                "spells": len(spells),
                "days": sum(spells),
                "bradford_factor": len(spells) ** 2 * sum(spells),
            }

    def _person_and_group(self, person: int, group: int) -> Row:
        name = self._tenant.of("absence-groups")[group]["name"]["default"]
        return {"person_id": person, "absence_group_id": group, "absence_group": name}

    def _planned_vs_clocked(self) -> Iterator[Row]:
        planned = {(each["person_id"], each["day"]): each for each in self._planned_days()}
        absent = {(each["person_id"], each["day"]) for each in self._absence_days()}
        clocked = defaultdict(list)
        for each in self._tenant.of("clockings").values():
            if each["kind"] == "InOut" and each["status"] != "Deleted":
                key = each["person"]["id"], date.fromisoformat(each["date"])
                clocked[key].append(each["timeOfDayInMinutes"])
        for key in planned.keys() | clocked.keys():
            plan, times = planned.get(key, {}), sorted(clocked.get(key, ()))
            pairs = [*zip(times[::2], times[1::2], strict=False)]
            minutes = sum(out - in_ for in_, out in pairs) if pairs else None
            if key not in planned:
                status = "clocked without plan"
            elif times:
                status = "planned and clocked"
            elif key[1] >= self._today:
                status = "to come"
            else:
                status = "absent" if key in absent else "not clocked"
            net, gross = plan.get("planned_minutes"), plan.get("minutes_with_breaks")
            yield {
                "person_id": key[0],
                "day": key[1],
                "status": status,
                "planned_minutes": net,
                "planned_minutes_with_breaks": gross,
                "clocked_minutes": minutes,
                "variance_in_minutes": _minus(minutes, net),
                "variance_with_breaks_in_minutes": _minus(minutes, gross),
                "clockings": len(times),
                "unpaired_clockings": len(times) % 2,
                "untimed_assignments": plan.get("untimed_assignments", 0),
            }

    def _short_notice_changes(self) -> Iterator[Row]:
        """From the versions that the warehouse has; those of its first run are no changes."""
        dataset = self._world.dataset
        names, found = self._world.engine.ask(
            f"SELECT * FROM {dataset}.assignments__history ORDER BY recorded_at"
        )
        first = min(row[names.index("recorded_at")] for row in found)
        before: dict[int, Row] = {}
        for values in found:
            new = dict(zip(names, values, strict=True))
            new["is_planned"] = not new["is_deleted"] and not new["is_rejected"]
            old = before.get(new["id"])
            before[new["id"]] = new
            was_planned = bool(old and old["is_planned"])
            if new["recorded_at"] > first and (
                change := _change(new, old if was_planned else None)
            ):
                yield _noticed(change, new, old if was_planned else None)


def _change(new: Row, old: Row | None) -> str:
    if not new["is_planned"]:
        return "cancelled" if old else ""
    if old is None:
        return "added"
    compared = ("person_id", "from_date", "until_date", *_TIMES)
    return "moved" if any(new[name] != old[name] for name in compared) else ""


_TIMES = ("start_time_in_minutes", "end_time_in_minutes")


def _noticed(change: str, new: Row, old: Row | None) -> Row:
    affected = [each for each in (change != "cancelled" and new, old) if each]
    start = min(
        datetime.combine(each["from_date"], datetime.min.time())
        + timedelta(minutes=each["start_time_in_minutes"] or 0)
        for each in affected
    )
    recorded = new["recorded_at"].astimezone(UTC).astimezone(BRUSSELS)
    recorded = recorded.replace(tzinfo=None, second=0, microsecond=0)
    lead = round((start - recorded).total_seconds() / 60)
    between = (start.date() - recorded.date()).days - 1
    days = (recorded.date() + number * DAY for number in range(1, between + 1))
    working = sum(day.weekday() < 5 for day in days)
    limits = ((0, "after the start"), (24 * 60, "under 24 hours"), (4 * 24 * 60, "under 4 days"))
    notice = next((text for limit, text in limits if lead < limit), "")
    windows = ("under 7 working days", "7 working days or more")
    kept = ("person_id", "from_date", *_TIMES)
    return {
        "assignment_id": new["id"],
        "recorded_at": new["recorded_at"],
        "change": change,
        **{name: new[name] for name in kept},
        **{f"old_{name}": old and old[name] for name in kept},
        "lead_time_in_minutes": lead,
        "lead_working_days": working,
        "notice": notice or windows[working >= 7],
        "is_short_notice": lead >= 0 and working < 7,
    }


def _name(record: Row | None) -> str | None:
    return record["name"]["default"] if record else None


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _all(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _sum(rows: list[Row], name: str) -> int | None:
    return sum(_all(rows, name)) if rows else None


def _minus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other
