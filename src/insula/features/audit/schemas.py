"""What the audit API takes and gives."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from insula.core.events import AccessDenied, Event
from insula.core.ids import describe
from insula.core.schemas import Read, Timestamp

EventId = Annotated[str, describe("evt", "an event")]
EventType = Annotated[str, Meta(max_length=100, description="`noun.verb_past`", examples=["member.updated"])]
AccountEventType = Annotated[str, Meta(max_length=100, description="`noun.verb_past`", examples=["session.started"])]
ActorType = Annotated[
    Literal["user", "job", "system"],
    Meta(description="A person, background work, or the program itself.", examples=["user"]),
]
ReferenceId = Annotated[
    str, Meta(max_length=100, description="The id of anything.", examples=["usr_01j865wyhvfh6rwqv0e619795n"])
]
TargetType = Annotated[str, Meta(max_length=100, description="What kind of thing it happened to.", examples=["member"])]
Instant = Annotated[Timestamp, Meta(description="RFC 3339, with an offset.", examples=["2026-11-01T00:00:00Z"])]


EventContext = Annotated[
    dict[str, str],
    Meta(
        description="As far as known: `ip`, `user_agent`, `request_id`, `trace_id`.",
        examples=[{"ip": "192.0.2.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}],
    ),
]


class EventRead(Read, frozen=True):
    """Something that happened in the organization: what, to what, by whom, from where."""

    id: EventId
    type: EventType
    schema_version: Annotated[int, Meta(description="Of the type's schema, which `data` follows.")]
    occurred_at: Timestamp
    actor_type: ActorType
    actor_id: ReferenceId | None
    credential_id: Annotated[
        Annotated[str, describe("crd", "a session")] | None,
        Meta(description="What the actor showed: a session, a mailed token, or the job itself."),
    ]
    target_type: TargetType
    target_id: Annotated[str, Meta(max_length=100, examples=["mem_01j865wyhvfh6rwqv0e619795n"])] | None
    data: Annotated[
        dict[str, Any],
        Meta(
            description="What the type says; changes carry `before` and `after`.",
            examples=[{"user_id": "usr_01j865wyhvfh6rwqv0e619795n", "role": "member"}],
        ),
    ]
    personal: Annotated[
        dict[str, Any] | None,
        Meta(
            description="What of it names people; null where nothing does, and where it was erased.",
            examples=[{"name": "Grace Hopper", "email": "grace@acme.example"}],
        ),
    ]
    context: EventContext


class AccountEventRead(Read, frozen=True):
    """Something that happened to your account: what, by which of your credentials, from where."""

    id: EventId
    type: AccountEventType
    schema_version: Annotated[int, Meta(description="Of the type's schema, which `data` follows.")]
    occurred_at: Timestamp
    credential_id: Annotated[
        Annotated[str, describe("crd", "a session")] | None,
        Meta(description="What was shown: a session, or the token of a mailed link."),
    ]
    target_type: Annotated[
        str, Meta(max_length=100, description="What it happened to: you, or a session of yours.", examples=["session"])
    ]
    target_id: Annotated[str, Meta(max_length=100, examples=["crd_01j865wyhvfh6rwqv0e619795n"])] | None
    data: Annotated[
        dict[str, Any],
        Meta(description="What the type says; changes carry `before` and `after`.", examples=[{}]),
    ]
    context: EventContext


class EventTypeRead(Read, frozen=True):
    """A type of event there is."""

    type: EventType
    version: int
    feature: Annotated[str, Meta(description="The part of the product that it belongs to.", examples=["organizations"])]
    target_type: TargetType
    description: Annotated[str, Meta(examples=["A member's role or profile changed."])]
    schema: Annotated[
        dict[str, Any],
        Meta(description="JSON Schema (2020-12) of `data`, all of it: with another field it would be another version."),
    ]
    personal_schema: Annotated[
        dict[str, Any] | None,
        Meta(description="The same of its `personal`; null where nothing of it is kept apart, as in your own record."),
    ]


class EventTypeList(Read, frozen=True):
    """The catalogue."""

    data: list[EventTypeRead]


class AuditRead(Event, frozen=True, kw_only=True):
    """Somebody looked at the organization's events; ``filters`` is what they looked for."""

    TYPE = "audit.read"
    TARGET = "organization"
    QUIET_SECONDS = 600.0

    filters: dict[str, str]


EVENTS = (AccessDenied, AuditRead)
