"""What happened in a tenant, so that it can happen again in a new one."""

from __future__ import annotations

from typing import Any

from protime_source.demo import DemoTenant

Fields = dict[str, Any]
Step = tuple[int | None, Fields | None]
"""An assignment's id and its new fields, which are None when it was deleted; without an id, a
delta was started."""

_OF_THE_TENANT = ("id", "changeVersion")


class Story:
    """The changes of a tenant and the deltas on its assignments, in their order.

    In a new tenant they lead to the same ids and versions, and the links that the first one gave
    work there.

    Args:
        tenant: A tenant without assignments.

    Attributes:
        steps: What has happened so far.
    """

    def __init__(self, tenant: DemoTenant) -> None:
        self._tenant = tenant
        self.steps: list[Step] = []
        self._versions: dict[int, str] = {}

    @property
    def live(self) -> list[int]:
        """The ids of all assignments that there are now."""
        return sorted(self._tenant.records)

    def create(self, **fields: Any) -> int:
        """Creates an assignment, with those of the fields that are its own, and returns its id."""
        id_ = self._tenant.create({"person": {"id": 7}, "isRejected": False, **fields})
        self._note(id_)
        return id_

    def update(self, id_: int, **fields: Any) -> None:
        """Changes some fields of an assignment."""
        record = self._tenant.records[id_]
        kept = {name: value for name, value in record.items() if name not in _OF_THE_TENANT}
        self._tenant.update(id_, {**kept, **fields})
        self._note(id_)

    def delete(self, id_: int) -> None:
        """Deletes an assignment."""
        self._tenant.delete(id_)
        self._note(id_)

    def catch_up(self) -> None:
        """Notes what was created and updated by others, in its order."""
        records = self._tenant.records
        new = {
            record["changeVersion"]: id_
            for id_, record in records.items()
            if self._versions.get(id_) != record["changeVersion"]
        }
        for version in sorted(new):
            self._note(new[version])

    def delta_was_started(self) -> None:
        """Notes that somebody has started a delta."""
        self.steps.append((None, None))

    def tell(self, steps: list[Step]) -> None:
        """Makes it happen here."""
        for id_, fields in steps:
            if id_ is None:
                self._tenant.steal_delta()
                self.delta_was_started()
                continue
            if fields is None:
                self._tenant.delete(id_)
            elif id_ in self._tenant.records:
                self._tenant.update(id_, fields)
            elif id_ in self._versions:
                self._tenant.restore(id_, fields)
            else:
                assert self._tenant.create(fields) == id_, "the tenant gives other ids"
            self._note(id_)

    def restore(self, id_: int, **fields: Any) -> None:
        """Brings an assignment back that was deleted."""
        self._tenant.restore(id_, {"person": {"id": 7}, "isRejected": False, **fields})
        self._note(id_)

    def _note(self, id_: int) -> None:
        record = self._tenant.records.get(id_)
        self._versions[id_] = record["changeVersion"] if record else ""
        self.steps.append(
            (id_, record and {k: v for k, v in record.items() if k not in _OF_THE_TENANT})
        )
