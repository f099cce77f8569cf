"""The append-only streams: every state change records what happened, in its own transaction."""

from typing import Any, ClassVar, Literal

import msgspec

from insula.core.db import Transaction
from insula.core.lately import LATELY
from insula.core.permissions import Facts
from insula.core.schemas import Change

ID_PREFIX = "evt"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to ``target_id``. Subclasses add the typed payload; it is public (webhooks carry it)."""

    TYPE: ClassVar[str]
    """``noun.verb_past``"""
    TARGET: ClassVar[str]
    """What kind of thing ``target_id`` names."""
    VERSION: ClassVar[int] = 1
    PERSONAL: ClassVar[frozenset[str]] = frozenset()
    """The fields that say who somebody is. They are kept apart, so that they can be erased and the rest stays."""
    QUIET_SECONDS: ClassVar[float] = 0.0
    """The same, by the same actor, is told once in so long: for what can be done at will and changes nothing."""

    target_id: str


class OfAccount(Event, frozen=True, kw_only=True):
    """Something that happened to a person: it stands in their own record, which no organization sees.

    All of it is personal, so nothing of it is kept apart.
    """


class Changed(Event, frozen=True, kw_only=True):
    """An event with the changed fields as they were and as they are."""

    CHANGE: ClassVar[type[Change]]
    """The body that asks for the change: what it may name may differ, and is described as it is there."""

    before: dict[str, Any]
    after: dict[str, Any]

    def __post_init__(self) -> None:
        if self.before.keys() != self.after.keys() or not self.after.keys() <= set(self.CHANGE.__struct_fields__):
            raise TypeError(
                f"{self.TYPE} tells of fields that {self.CHANGE.__name__} does not have, or of one side only"
            )


class AccessDenied(Event, frozen=True, kw_only=True):
    """A member tried something their role does not allow; ``target_id`` is the member."""

    TYPE = "access.denied"
    TARGET = "member"
    QUIET_SECONDS = 60.0

    permission: str
    operation: str
    """Its operationId."""
    reason: Literal["permission_missing", "role_above_theirs", "member_suspended", "organization_suspended"]


def record(db: Transaction, event: Event) -> None:
    """Write ``event`` down when this transaction commits: with its change, or not at all.

    It goes to the organization's stream; outside of organizations, to the person's own.
    """
    principal, facts = db.principal, db.facts
    own = principal is not None and principal.organization_id is None
    if own is not isinstance(event, OfAccount):
        raise TypeError(f"{event.TYPE} does not belong into {'a person' if own else 'an organization'}'s record")
    if event.QUIET_SECONDS and principal is not None:
        who = principal.user_id or principal.credential_id  # not each of a person's sessions for itself
        what = (principal.organization_id, who, event.TYPE, msgspec.json.encode(event))
        if LATELY.said(what, event.QUIET_SECONDS):
            return
        db.journal.said.append(what)
    data, personal = parted(event)
    (db.journal.account if own else db.journal.events).append(
        {
            "type": event.TYPE,
            "version": event.VERSION,
            "actor_type": actor_type(db),
            "actor_id": principal.user_id or principal.credential_id if principal else None,
            "credential_id": principal.credential_id if principal else None,
            "target_type": event.TARGET,
            "target_id": event.target_id,
            "data": data,
            "personal": personal,
            "context": context(facts),
        }
    )


def record_denied(
    db: Transaction, permission: str, reason: Literal["permission_missing", "role_above_theirs"] = "permission_missing"
) -> None:
    """Leave a trace of what the member may not do, which is kept although the answer is a refusal."""
    assert db.principal is not None
    db.keeps_refusal = True
    member = str(db.principal.membership_id)
    record(db, AccessDenied(target_id=member, permission=permission, operation=db.operation, reason=reason))


def parted(event: Event) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The payload without what names people, and that: None where nobody is named."""
    data = msgspec.to_builtins(event)
    del data["target_id"]
    personal = _taken(data, event.PERSONAL)
    if isinstance(event, Changed):
        for side in ("before", "after"):
            if taken := _taken(data[side], event.PERSONAL):
                personal[side] = taken
    return data, personal or None


def _taken(fields: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: fields.pop(name) for name in names & fields.keys()}


def context(facts: Facts) -> dict[str, Any]:
    """The request facts that are known; doors that write an event themselves take them in this form."""
    return {name: value for name, value in msgspec.structs.asdict(facts).items() if value}


def actor_type(db: Transaction) -> str:
    """``user`` for a person, ``job`` for background work, ``system`` for neither."""
    if db.principal is None:
        return "system"
    return "job" if db.principal.credential_kind == "job" else "user"


def changed(row: Any, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set ``values`` on a mapped row; returns the fields that differ, as they were and as they are."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, value in values.items():
        attribute = f"{name}_" if name == "metadata" else name
        old = getattr(row, attribute)
        if not row.__mapper__.columns[attribute].type.compare_values(old, value):
            before[name], after[name] = old, value
            setattr(row, attribute, value)
    return before, after
