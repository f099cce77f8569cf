"""Whether an answer is one that the document declares for this request."""

import json
import re
from typing import Any

from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from insula.core.schemas import FAR, json_length
from tests.fuzz.filling import Filled
from tests.fuzz.target import Target

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
    missing_required_header,
    unsupported_method,
]

ID = re.compile(r"[a-z]+_[0-7][0-9a-hjkmnp-tv-z]{25}")
ANYTHINGS = {"actor_id", "target_id"}
"""Filters that take the id of whatever an event may be about; others ask for the form of theirs."""

UNSAID = re.compile(f"[{''.join(FAR[1:])}]")
"""What no name holds although its pattern lets it through: not every language's regular expressions read that part."""

MOST_METADATA = 16_384
"""Bytes; JSON Schema has no words for it, so that it stands in the description."""


class Judge:
    """Judges the answers to one operation."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._asked_without_credential = False

    def complaint(self, case: Case, filled: Filled, headers: dict[str, str], answer: Any) -> str | None:
        """What is wrong with it; None when nothing is."""
        checks = [*CHECKS]
        sayable = json_length(_metadata(case)) <= MOST_METADATA and not UNSAID.search(_text(case))
        if filled.whole and sayable and not _names_a_type(case):
            checks.append(positive_data_acceptance)
        if not _asks_for_nothing(case):
            checks.append(negative_data_rejection)
        if headers and 200 <= answer.status_code < 300 and not self._asked_without_credential:
            checks.append(ignored_auth)  # asks again, without the credential and with a wrong one
            self._asked_without_credential = True
        sent = {"base_url": self._target.url}
        try:
            case.validate_response(answer, checks=checks, headers=headers, transport_kwargs=sent)
        except FailureGroup as group:
            return str(group)
        name, code = case.operation.definition.raw["operationId"], _code(answer)
        its_own = case.method.upper() == case.operation.method.upper()
        if its_own and code is not None and not self._target.declares(name, answer.status_code, code):
            return f"{name} does not declare {answer.status_code} {code}: {case.as_curl_command(headers)}"
        if filled.foreign and answer.status_code < 400:
            return f"{answer.status_code} for what is a neighbour's: {case.as_curl_command(headers)}"
        return None

    async def complaint_afterwards(self, case: Case, headers: dict[str, str], answer: Any) -> str | None:
        """What is wrong with what is there now: what was deleted is not, and what was made is where the answer says."""
        if not 200 <= answer.status_code < 300:
            return None
        if case.method.upper() == "DELETE" and f"GET {case.path}" in self._target.labels:
            path, expected = case.formatted_path, 404
        elif "location" in answer.headers:
            path, expected, headers = answer.headers["location"][0], 200, _session_of(answer) or headers
        else:
            return None
        found = await self._target.world.client().get(path, headers=headers)
        if found.status_code == expected:
            return None
        return f"{found.status_code} from GET {path} after {case.method} {case.formatted_path}"


def _session_of(answer: Any) -> dict[str, str]:
    """Who somebody is who is signed in by the answer."""
    told = json.loads(answer.content).get("session")
    if told is None:
        return {}
    token = told["token"] or answer.headers["set-cookie"][0].partition("=")[2].partition(";")[0]
    return {"authorization": f"Bearer {token}"}


def _code(answer: Any) -> str | None:
    """Of a problem; None where it is none."""
    kind = answer.headers.get("content-type", [""])[0]
    return str(json.loads(answer.content)["code"]) if kind == "application/problem+json" else None


def _names_a_type(case: Case) -> bool:
    """Whether one of its made-up headers is by chance the one that says what the body is."""
    return any(name.lower() == "content-type" for name in case.headers or {})


def _asks_for_nothing(case: Case) -> bool:
    """Whether a filter by the id of anything is one that nothing can have: unknown, as others are, and not refused."""
    asked = [str(value) for name, value in (case.query or {}).items() if name in ANYTHINGS]
    return any(not ID.fullmatch(value) for value in asked)


def _text(case: Case) -> str:
    return json.dumps(case.body, ensure_ascii=False, default=repr)


def _metadata(case: Case) -> Any:
    return case.body.get("metadata") if isinstance(case.body, dict) else None
