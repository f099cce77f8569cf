"""Every operation with generated requests of four callers: no error, no undeclared answer, and somebody gets through."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
from schemathesis import Case, GenerationMode

from insula.settings import Settings
from tests.fuzz.filling import Filling
from tests.fuzz.furnishing import CALLERS, Scene, furnish
from tests.fuzz.generating import borders, generated
from tests.fuzz.judging import Judge
from tests.fuzz.target import Target, complaints_in, operation_names, running_target

MOST_COMPLAINTS = 5


@pytest.fixture(scope="module")
async def target(
    addresses: dict[str, str], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    async with running_target(addresses, settings, tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@pytest.mark.attack(116)
@pytest.mark.parametrize("name", operation_names())
async def test_an_operation_answers_as_declared_whatever_it_is_asked(
    target: Target, name: str, request: pytest.FixtureRequest
) -> None:
    seed, examples = (request.config.getoption(option) for option in ("--fuzz-seed", "--fuzz-examples"))
    again = f"\n\nAgain: ./insula test '{request.node.nodeid}' -n 0 --fuzz-seed {seed} --fuzz-examples {examples}"
    fuzz = Fuzz(target, name, Random(f"{seed} {name}"))
    await fuzz.run(examples)
    assert not fuzz.complaints, "\n\n".join(fuzz.complaints[:MOST_COMPLAINTS]) + again
    assert fuzz.admitted, f"nobody got a 2xx, only {fuzz.answers}{again}"


def test_every_operation_of_the_document_is_fuzzed(target: Target) -> None:
    assert operation_names() == sorted(target.operations)


def test_a_line_of_the_log_that_is_no_information_is_noticed() -> None:
    known, wrong = '{"level":"info","message":"request"}', ['{"level":"error","message":"x"}', "Traceback (most recent"]
    assert complaints_in("\n".join([known, "", *wrong])) == wrong


class Fuzz:
    """Asks one operation as each of the callers, and keeps what was wrong with the answers."""

    def __init__(self, target: Target, name: str, luck: Random) -> None:
        self._target, self._name, self._luck = target, name, luck
        self._operation = target.operations[name]
        self._judge = Judge(target)
        self._scenes: dict[str, Scene] = {}
        self.complaints: list[str] = []
        self.answers: set[int] = set()

    @property
    def admitted(self) -> bool:
        return any(200 <= status < 300 for status in self.answers)

    async def run(self, examples: int) -> None:
        """So many requests as documented of each caller's, half as many that are not, and some at the borders."""
        wanted = examples * len(CALLERS)
        for number, case in enumerate(generated(self._operation, GenerationMode.POSITIVE, wanted, self._luck)):
            # The first request of each caller's is filled as well as can be: it should get through.
            await self._ask(case, CALLERS[number % len(CALLERS)], surely=number < len(CALLERS))
        for number, case in enumerate(generated(self._operation, GenerationMode.NEGATIVE, wanted // 2, self._luck)):
            await self._ask(case, CALLERS[number % len(CALLERS)])
        insider = "operator" if self._operation.path.startswith("/v1/platform") else "owner"
        for case in borders(self._operation, wanted, self._luck):
            await self._ask(case, insider, surely=True)

    async def _ask(self, case: Case, caller: str, *, surely: bool = False) -> None:
        if caller not in self._scenes:
            self._scenes[caller] = await furnish(self._target.world, caller)
        scene, neighbour = self._scenes[caller], await self._target.neighbour()
        filling = Filling(scene, neighbour, self._name, None if surely else self._luck)
        await filling.fill(case)
        answer = await asyncio.to_thread(self._target.ask, case, scene.headers)
        if case.method.upper() == self._operation.method.upper():  # at the borders there are others
            self.answers.add(answer.status_code)
        found = [
            await asyncio.to_thread(self._judge.complaint, case, filling.filled, scene.headers, answer),
            await self._judge.complaint_afterwards(case, scene.headers, answer),
        ]
        self.complaints += [f"{caller}: {complaint}" for complaint in found if complaint]
        if answer.status_code < 300 and case.method.upper() != "GET":
            del self._scenes[caller]  # something has happened in it
