"""Requests from the document, the same for the same seed."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import CoverageScenario

BOTH = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def generated(operation: Any, mode: GenerationMode, count: int, luck: Random) -> list[Case]:
    """So many requests that are as documented, or are not; none where nothing can be wrong. Short lists repeat."""
    found: list[Case] = []

    @seed(luck.getrandbits(64))
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def keep(case: Case) -> None:
        found.append(case)

    try:
        keep()
    except Unsatisfiable:
        return []
    return [found[number] if number < len(found) else found[number % len(found)].derive() for number in range(count)]


def borders(operation: Any, count: int, luck: Random) -> list[Case]:
    """So many of the requests at and over each border of the document; those without a header it wants are among them."""
    schema = operation.schema
    config = schema.config.generation_for(operation=operation)
    cases = list(schema.iter_coverage_cases(operation, generation_modes=BOTH, generation_config=config))
    luck.shuffle(cases)
    return sorted(cases, key=lambda case: not _lacks_a_header(case))[:count]


def _lacks_a_header(case: Case) -> bool:
    data = case.meta.phase.data
    return data.scenario is CoverageScenario.MISSING_PARAMETER and data.parameter_location is ParameterLocation.HEADER
