"""What operators are shown."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from insula.core.ids import describe, describe_any
from insula.core.jobs import ID_PREFIX
from insula.core.schemas import Read, Timestamp

JobId = Annotated[str, describe(ID_PREFIX, "a job")]
OrganizationId = Annotated[str, describe("org", "the organization it works for")]
JobStatus = Literal["due", "leased", "waiting", "done", "dead", "discarded"]


_STATUSES: Final = (
    "`waiting`: for its time, `due_at`, also between two tries. `due`: for a worker. `leased`: a worker was given it."
    " `done`: for good. `dead`: it will not be tried again unless an operator says so. `discarded`: an operator gave it"
    " up."
)
_ANEW: Final = "; counted anew when an operator has it tried again."


class JobRead(Read, frozen=True):
    """A background job. Its payload says what it is about, by ids, numbers and moments: it holds no secrets and nothing
    about people.
    """

    id: JobId
    organization_id: OrganizationId | None
    user_id: Annotated[str, describe("usr", "the user who caused it")] | None
    queue: Annotated[str, Meta(examples=["default"])]
    task: Annotated[str, Meta(examples=["identity.send_reset"])]
    payload: dict[str, Any]
    status: Annotated[JobStatus, Meta(description=_STATUSES)]
    attempt: Annotated[int, Meta(description="How often a worker was given it, whatever came of that.")]
    failures: Annotated[int, Meta(description=f"How often it failed{_ANEW}")]
    crashes: Annotated[int, Meta(description=f"How often the worker that ran it was lost{_ANEW}")]
    last_error: Annotated[str, Meta(examples=["MailUnavailable: 421 try again later"])] | None
    trace_id: Annotated[str, Meta(examples=["0af7651916cd43dd8448eb211c80319c"])] | None
    due_at: Timestamp
    created_at: Timestamp
    finished_at: Timestamp | None


class OperatorActionRead(Read, frozen=True):
    """Something an operator did, or `insula operator` about one."""

    id: Annotated[str, describe("opa", "the action")]
    user_id: Annotated[str, describe("usr", "the operator who did it; null where the command line did")] | None
    action: Annotated[str, Meta(examples=["job.retried", "operator.added"])]
    target: Annotated[str, describe_any((ID_PREFIX, "usr"), "the job or the person that it was done to")]
    context: dict[str, Any]
    occurred_at: Timestamp
