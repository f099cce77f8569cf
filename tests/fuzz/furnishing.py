"""What there is in a caller's world, made when a request first asks for it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from insula.core.ids import new_id, to_text, to_uuid
from insula.core.tokens import Kind, credential_id, mint
from tests.factories import Member, Person, World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, give_password
from tests.features.test_platform import dead_letter, operator
from tests.invitations import fresh_address, invite, token_of
from tests.resources import PREFIXES, TABLES
from tests.rows import stock

CALLERS = ("owner", "viewer", "stranger", "operator")
"""Two members, nobody, and who keeps the installation running and is in no organization."""


class Scene:
    """An organization with its owner, whoever calls, and what the two have."""

    def __init__(self, world: World, owner: Member, person: Person, caller: str) -> None:
        self.world, self.owner, self.person, self.caller = world, owner, person, caller
        self._made: dict[str, list[str]] = {}

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.caller == "stranger" else {"authorization": f"Bearer {self.person.token}"}

    async def values(self, name: str, operation: str) -> Sequence[str]:
        """What may stand where ``name`` stands; the first is what lets this operation succeed."""
        for key in (f"{operation} {name}", name):
            if key in FRESH:
                return FRESH[key]()
            if key in FURNISHINGS:
                if key not in self._made:
                    self._made[key] = await FURNISHINGS[key](self)
                return self._made[key]
        return ()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The owner makes something of the organization's, or does something with it."""
        answer = await self.owner.client.post(self.owner.url(path), json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()


async def furnish(world: World, caller: str) -> Scene:
    """A world for one caller, in which nothing has happened yet."""
    owner = await world.owner()
    if caller == "viewer":
        return Scene(world, owner, (await world.member(owner.organization_id, "viewer")).person, caller)
    return Scene(world, owner, await operator(world) if caller == "operator" else owner.person, caller)


async def _organization(scene: Scene) -> list[str]:
    return [scene.owner.organization_id]


async def _deleted_organization(scene: Scene) -> list[str]:
    owner = await scene.world.owner()
    await scene.world.member(owner.organization_id, "owner", scene.person)
    assert (await owner.client.delete(owner.url(""), headers={"if-match": "*"})).status_code == 204
    return [owner.organization_id, scene.owner.organization_id]


async def _members(scene: Scene) -> list[str]:
    active = await scene.world.member(scene.owner.organization_id, "member")
    suspended = await scene.world.member(scene.owner.organization_id, "billing")
    await scene.post(f"/members/{suspended.membership_id}/suspension")
    return [active.membership_id, suspended.membership_id, scene.owner.membership_id]


async def _users(scene: Scene) -> list[str]:
    return [scene.person.id, scene.owner.person.id]


async def _teams(scene: Scene) -> list[str]:
    team = (await scene.post("/teams", {"name": "Research"}))["id"]
    for member in (await scene.values("member_id", ""))[:2]:
        await scene.owner.client.put(scene.owner.url(f"/teams/{team}/members/{member}"))
    return [team]


async def _projects(scene: Scene) -> list[str]:
    return [(await scene.post("/projects", {"name": "Relaunch", "key": "WEB"}))["id"]]


async def _deleted_projects(scene: Scene) -> list[str]:
    gone = (await scene.post("/projects", {"name": "Gone", "key": "GONE"}))["id"]
    await scene.owner.client.delete(scene.owner.url(f"/projects/{gone}"), headers={"if-match": "*"})
    return [gone, *await scene.values("project_id", "")]


async def _deleted_teams(scene: Scene) -> list[str]:
    gone = (await scene.post("/teams", {"name": "Gone"}))["id"]
    await scene.owner.client.delete(scene.owner.url(f"/teams/{gone}"), headers={"if-match": "*"})
    return [gone, *await scene.values("team_id", "")]


async def _events(scene: Scene) -> list[str]:
    await scene.values("team_id", "")
    page = (await scene.owner.client.get(scene.owner.url("/events"))).json()
    return [event["id"] for event in page["data"]]


async def _invitations(scene: Scene) -> list[str]:
    return [(await invite(scene.owner))["id"]]


async def _own_invitations(scene: Scene) -> list[str]:
    return [(await invite(await scene.world.owner(), scene.person.email))["id"]]


async def _own_invitation_tokens(scene: Scene) -> list[str]:
    invitation = await invite(await scene.world.owner(), scene.person.email)
    return [await token_of(scene.world, invitation)]


async def _invitation_tokens(scene: Scene) -> list[str]:
    return [await token_of(scene.world, await invite(scene.owner))]


async def _sessions(scene: Scene) -> list[str]:
    await scene.world.session(scene.person.id)
    latest = "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'session' ORDER BY id DESC"
    rows = await scene.world.superuser.fetch(latest, to_uuid("usr", scene.person.id))
    return [to_text("crd", row["id"]) for row in rows]


async def _jobs(scene: Scene) -> list[str]:
    return [await dead_letter(scene.world.superuser), await dead_letter(scene.world.superuser)]


async def _verification_tokens(scene: Scene) -> list[str]:
    """Of a sign-up, whose password waits in its letter."""
    person, execute = await scene.world.person(), scene.world.superuser.execute
    await give_password(scene.world, person)
    token = await _letter(scene, "verification", person)
    await execute('UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", person.id))
    await execute(
        "UPDATE app.credential AS c SET details = jsonb_build_object('name', 'Ada', 'password_hash', p.hash)"
        "  FROM app.password AS p WHERE p.user_id = c.user_id AND c.user_id = $1 AND c.kind = 'verification'",
        to_uuid("usr", person.id),
    )
    await execute("DELETE FROM app.password WHERE user_id = $1", to_uuid("usr", person.id))
    return [token]


async def _reset_tokens(scene: Scene) -> list[str]:
    return [await _letter(scene, "reset", await scene.world.person())]


async def _letter(scene: Scene, kind: Kind, person: Person) -> str:
    """The token of a letter, as a worker would have sent it."""
    credential = credential_id()
    token = mint(kind, credential)
    await scene.world.superuser.execute(
        "INSERT INTO app.credential (id, kind, hash, user_id, expires_at)"
        " VALUES ($1, $2, $3, $4, now() + interval '1 hour')",
        to_uuid("crd", credential),
        kind,
        scene.world.digest(token),
        to_uuid("usr", person.id),
    )
    return token


async def _passwords(scene: Scene) -> list[str]:
    await give_password(scene.world, scene.person)
    return [PASSWORD]


async def _addresses(scene: Scene) -> list[str]:
    await scene.values("current_password", "")
    return [scene.person.email]


async def _rows(prefix: str, scene: Scene) -> list[str]:
    tenant = to_uuid("org", scene.owner.organization_id)
    made = await stock(scene.world.superuser, TABLES[prefix].fullname, tenant)
    return [to_text(prefix, row) for row in made]


OWNED = {f"{noun.replace(' ', '_')}_id": prefix for noun, prefix in PREFIXES.items() if prefix in TABLES}
"""What names something of an organization's -> the prefix of its ids."""

FURNISHINGS: dict[str, Callable[[Scene], Awaitable[list[str]]]] = {
    **{name: partial(_rows, prefix) for name, prefix in OWNED.items()},  # unless it is said below how it is made
    "organization_id": _organization,
    "restore_organization organization_id": _deleted_organization,
    "member_id": _members,
    "user_id": _users,
    "actor_id": _users,
    "target_id": _teams,
    "team_id": _teams,
    "project_id": _projects,
    "restore_project project_id": _deleted_projects,
    "restore_team team_id": _deleted_teams,
    "event_id": _events,
    "invitation_id": _invitations,
    "accept_my_invitation invitation_id": _own_invitations,
    "decline_my_invitation invitation_id": _own_invitations,
    "accept_invitation token": _own_invitation_tokens,
    "decline_invitation token": _invitation_tokens,
    "join_by_invitation token": _invitation_tokens,
    "preview_invitation token": _invitation_tokens,
    "verify_sign_up token": _verification_tokens,
    "reset_password token": _reset_tokens,
    "session_id": _sessions,
    "job_id": _jobs,
    "current_password": _passwords,
    "sign_in email": _addresses,
}
"""What names something -> how it comes to be there. "operation name" where the operation wants a certain one."""

FRESH: dict[str, Callable[[], list[str]]] = {
    "password": lambda: [PASSWORD],
    "new_password": lambda: [NEW_PASSWORD],
    "email": lambda: [fresh_address()],
    "slug": lambda: [new_id("x").replace("_", "-")],
    "type": lambda: ["team.created", "member.updated"],
    "list_my_events type": lambda: ["session.revoked", "account.updated"],
    "task": lambda: ["test.dead"],
    "name_prefix": lambda: ["re", "P"],
    "email_prefix": lambda: ["person", "ada"],
    "If-Match": lambda: ["*", '"1"', '"2"', '"1", "1.pending.true"'],
    "If-None-Match": lambda: ['"2"', '"1"', "*", '"1.pending.true"'],
    "Idempotency-Key": lambda: [new_id("key")],
}
"""What needs nobody's world."""
