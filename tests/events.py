"""Whether what was written down about what happened is as the catalogue of events says it is."""

import json
from typing import Any, Final

import asyncpg
import jsonschema_rs

from insula.features.audit.catalogue import catalogue
from insula.features.audit.schemas import EventTypeRead
from insula.product import FEATURES

_WRITTEN: Final = """
SELECT context ? 'request_id' AS asked, type, version, target_type, data::text AS data, personal::text AS personal
  FROM app.event
 UNION
SELECT context ? 'request_id', type, version, target_type, data::text, NULL
  FROM app.account_event
"""


class Catalogue:
    """What the API tells of types of events; knows whether an event is of one."""

    def __init__(self) -> None:
        told = [*catalogue(FEATURES, account=False).data, *catalogue(FEATURES, account=True).data]
        self._types = {each.type: each for each in told}
        self._validators = {each.type: [_validator(each.schema), _validator(each.personal_schema)] for each in told}

    def names(self, type_: str, target_type: str) -> bool:
        """Whether there is such a type."""
        return type_ in self._types and self._types[type_].target_type == target_type

    def misfit(self, type_: str, version: int, target_type: str, data: Any, personal: Any) -> str | None:
        """What is wrong with an event, all of whose fields the schemas name; ``personal`` may be erased."""
        told: EventTypeRead | None = self._types.get(type_)
        if told is None or (told.version, told.target_type) != (version, target_type):
            return f"{type_} {version} of a {target_type} is not in the catalogue"
        for part, validator in zip((data, personal or None), self._validators[type_], strict=True):
            if part is not None and not validator.is_valid(part):
                return f"{type_} says {part}: {'; '.join(error.message for error in validator.iter_errors(part))}"
        return None


async def misfits(superuser: asyncpg.Connection) -> list[str]:
    """A line for each event that the program wrote and the catalogue does not describe.

    What no request wrote was written by a job, or a test has planted it, mostly as a type that there is not.
    """
    known, found = Catalogue(), []
    for row in await superuser.fetch(_WRITTEN):
        if not (row["asked"] or known.names(row["type"], row["target_type"])):
            continue
        data, personal = json.loads(row["data"]), json.loads(row["personal"] or "null")
        found.append(known.misfit(row["type"], row["version"], row["target_type"], data, personal))
    return sorted({line for line in found if line is not None})


def _validator(schema: dict[str, Any] | None) -> jsonschema_rs.Validator:
    """Of nothing, where nothing is to be."""
    return jsonschema_rs.validator_for(False if schema is None else schema)
