"""The operators' plane over HTTP."""

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery

from insula.core.db import Transaction
from insula.core.errors import NotDead, NotFound
from insula.core.listing import Page, PageRequest
from insula.core.permissions import Principal
from insula.core.schemas import QueueName, Search
from insula.features.platform.repository import ACTIONS, JOB, JOBS
from insula.features.platform.schemas import JobId, JobRead, JobStatus, OperatorActionRead, OrganizationId
from insula.features.platform.service import DeadLetters

_OPERATORS = "operators keep the installation running; to everybody else this plane does not exist"


def provide_dead_letters(db: NamedDependency[Transaction], principal: NamedDependency[Principal]) -> DeadLetters:
    assert principal.user_id is not None
    return DeadLetters(db, principal.user_id)


class PlatformController(Controller):
    """For operators: background jobs of the whole installation."""

    path = "/v1/platform"
    tags = ["Platform"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"dead_letters": Provide(provide_dead_letters, sync_to_thread=False)}  # noqa: RUF012

    @get("/jobs", operator=_OPERATORS, listing=JOBS)
    async def list_jobs(  # noqa: PLR0913, PLR0917  # a parameter per filter
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        status: FromQuery[JobStatus | None] = None,
        queue: FromQuery[QueueName | None] = None,
        task: FromQuery[Search | None] = None,
        organization_id: FromQuery[OrganizationId | None] = None,
    ) -> Page[JobRead]:
        """List background jobs; ``status=dead`` are the dead letters."""
        return await JOBS.page(db, page, status=status, queue=queue, task=task, organization_id=organization_id)

    @get("/jobs/{job_id:str}", operator=_OPERATORS)
    async def get_job(self, db: NamedDependency[Transaction], job_id: FromPath[JobId]) -> JobRead:
        """Get a background job."""
        job = await JOB.one_or_none(db, id=job_id)
        if job is None:
            raise NotFound
        return job

    @post("/jobs/{job_id:str}/redelivery", operator=_OPERATORS, status_code=204, refusals=[NotDead])
    async def retry_job(self, dead_letters: NamedDependency[DeadLetters], job_id: FromPath[JobId]) -> None:
        """Give a dead letter all of its attempts again."""
        await dead_letters.retry(job_id)

    @post("/jobs/{job_id:str}/disposal", operator=_OPERATORS, status_code=204, refusals=[NotDead])
    async def discard_job(self, dead_letters: NamedDependency[DeadLetters], job_id: FromPath[JobId]) -> None:
        """Give a dead letter up for good."""
        await dead_letters.discard(job_id)

    @get("/actions", operator=_OPERATORS, listing=ACTIONS)
    async def list_operator_actions(
        self, db: NamedDependency[Transaction], page: NamedDependency[PageRequest]
    ) -> Page[OperatorActionRead]:
        """List what operators did, newest first."""
        return await ACTIONS.page(db, page)


CONTROLLERS = (PlatformController,)
