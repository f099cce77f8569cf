"""A program that a user of the API writes: it imports nothing but the package made of the document."""

import json
import sys
from typing import Any, TypeVar

from insula_client import AuthenticatedClient, Client
from insula_client.api.organizations import list_my_organizations
from insula_client.api.projects import create_project, get_project, list_projects, update_project
from insula_client.api.sign_in import sign_in
from insula_client.models import (
    ListProjectsSort,
    MyOrganizationPage,
    Problem,
    ProjectCreate,
    ProjectRead,
    ProjectReadPage,
    ProjectUpdate,
    ProjectUpdateMetadata,
    ProjectUpdateStatus,
    SessionStarted,
    SignIn,
)
from insula_client.types import UNSET, Response, Unset

R = TypeVar("R")


def sure(kind: type[R], answer: Response[Any]) -> R:
    """The answer, which is not a problem."""
    assert isinstance(answer.parsed, kind), answer.content
    return answer.parsed


def main(url: str, email: str, password: str) -> dict[str, object]:
    """What happened, for the test to judge."""
    said: dict[str, object] = {}
    stranger = Client(base_url=url, raise_on_unexpected_status=True)
    session = sure(SessionStarted, sign_in.sync_detailed(client=stranger, body=SignIn(email=email, password=password)))
    assert session.token is not None
    client = AuthenticatedClient(base_url=url, token=session.token, raise_on_unexpected_status=True)
    organization = sure(MyOrganizationPage, list_my_organizations.sync_detailed(client=client)).data[0].id
    said["organization"] = organization
    made = create(client, organization, "Website", "WEB")
    again = create(client, organization, "Website", "WEB")
    project = sure(ProjectRead, made)
    said["same"] = sure(ProjectRead, again).id == project.id
    said["replayed"] = [each.headers.get("Idempotent-Replayed") for each in (made, again)]
    said |= changing(client, organization, project.id)
    for key in ("APP", "SHED"):
        create(client, organization, key.title(), key)
    said["keys"] = keys(client, organization)
    said |= refused(client, organization)
    return said


def create(client: AuthenticatedClient, organization: str, name: str, key: str) -> Response[ProjectRead | Problem]:
    body = ProjectCreate(name=name, key=key)
    return create_project.sync_detailed(organization, client=client, body=body, idempotency_key=f"client-{key}")


def changing(client: AuthenticatedClient, organization: str, project: str) -> dict[str, object]:
    etag = get_project.sync_detailed(organization, project, client=client).headers["ETag"]
    current = get_project.sync_detailed(organization, project, client=client, if_none_match=etag)
    metadata = ProjectUpdateMetadata.from_dict({"cost_center": "4711", "floor": 3, "open": True, "note": None})
    change = ProjectUpdate(name="Shop", metadata=metadata)
    changed = update_project.sync_detailed(organization, project, client=client, body=change, if_match=etag)
    pause = ProjectUpdate(status=ProjectUpdateStatus.PAUSED)
    late = update_project.sync_detailed(organization, project, client=client, body=pause, if_match=etag)
    return {
        "unchanged": int(current.status_code),
        "changed": sure(ProjectRead, changed).to_dict(),
        "late": sure(Problem, late).code,
    }


def keys(client: AuthenticatedClient, organization: str) -> list[str]:
    found = list[str]()
    cursor: str | Unset | None = UNSET
    while cursor is not None:
        oldest = ListProjectsSort.CREATED_AT
        answer = list_projects.sync_detailed(organization, client=client, limit=2, sort=oldest, cursor=cursor)
        page = sure(ProjectReadPage, answer)
        found += [each.key for each in page.data]
        cursor = page.next_cursor
    return found


def refused(client: AuthenticatedClient, organization: str) -> dict[str, object]:
    missing = sure(Problem, get_project.sync_detailed(organization, "prj_01j865wyhvfh6rwqv0e619795n", client=client))
    body = ProjectCreate(name="Barn", key="BARN", team_id="tea_01j865wyhvfh6rwqv0e619795n")
    unknown = sure(Problem, create_project.sync_detailed(organization, client=client, body=body))
    assert not isinstance(unknown.errors, Unset)
    return {
        "missing": [missing.status, missing.code],
        "unknown": [unknown.status, unknown.code, unknown.errors[0].pointer],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
