"""The work that chaos interrupts: three kinds of jobs, each leaving one effect for each time it counted."""

import asyncio
import random
from typing import Final

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from insula.core.db import Transaction
from insula.core.feature import Feature
from insula.core.jobs import Effect, JobContext, enqueue
from insula.core.permissions import EVERYONE, Permission
from insula.core.schemas import Read, Task, Write

TABLES: Final = {"chaos_effect": ("key",), "chaos_call": ("job_id",)}
"""No key is unique here: what happens twice must show."""

_SLOWEST: Final = 0.2


class Stamp(Task, frozen=True):
    """An effect in the database."""

    NAME = "chaos.stamp"

    key: str


class Call(Task, frozen=True):
    """An effect outside of it: may be repeated after a crash, under one idempotency key, and is recorded once."""

    NAME = "chaos.call"

    key: str


class Chain(Task, frozen=True):
    """An effect, and a further job."""

    NAME = "chaos.chain"

    key: str


RUN: Final = Permission("errands:run", "Ask for errands.", EVERYONE)


class ErrandCreate(Write, frozen=True, kw_only=True):
    """One of the three kinds, by its task's name."""

    task: str
    key: str


class Errand(Read, frozen=True):
    """What was asked for."""

    job_id: str


class ErrandController(Controller):
    """A route that only asks for a job: nothing in the database keeps it from asking twice."""

    path = "/v1/organizations/{organization_id:str}/errands"
    tags = ["Errands"]

    @post("/", permission=RUN)
    async def run_errand(self, db: NamedDependency[Transaction], data: JSONBody[ErrandCreate]) -> Errand:
        """Run an errand."""
        kinds = {kind.NAME: kind for kind in (Stamp, Call, Chain)}
        return Errand(enqueue(db, kinds[data.task](key=data.key)))


async def stamp(db: Transaction, task: Stamp | Call | Chain, context: JobContext) -> None:
    await db.driver.execute("INSERT INTO app.chaos_effect (id, key) VALUES (gen_random_uuid(), $1)", task.key)
    await asyncio.sleep(random.uniform(0, _SLOWEST))


async def chain(db: Transaction, task: Chain, context: JobContext) -> None:
    enqueue(db, Stamp(key=f"{task.key}/after"))
    await stamp(db, task, context)


async def prepare_call(db: Transaction, task: Call, context: JobContext) -> str:
    await db.driver.execute("INSERT INTO app.chaos_call (id, job_id) VALUES (gen_random_uuid(), $1)", context.job_id)
    return task.key


async def perform_call(key: str, context: JobContext) -> str:
    await asyncio.sleep(random.uniform(0, _SLOWEST))
    return key


async def record_call(db: Transaction, task: Call, result: str, context: JobContext) -> None:
    await stamp(db, Stamp(key=result), context)


FEATURE: Final = Feature(
    name="chaos",
    controllers=(ErrandController,),
    permissions=(RUN,),
    handlers={
        Stamp: stamp,
        Chain: chain,
        Call: Effect(prepare=prepare_call, perform=perform_call, record=record_call),
    },
)
