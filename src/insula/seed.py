"""The demo: two organizations with people, teams, projects, invitations and a dead letter, made through the API."""

from typing import Any, Final

import asyncpg
import httpx
import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_uuid
from insula.core.mendable import Mendable
from insula.core.passwords import Passwords
from insula.core.reach import reaching
from insula.core.runner import GAVE_UP
from insula.embedded.inbox import NO_MAILBOX
from insula.settings import Settings

PASSWORD: Final = "every demo needs a password"  # noqa: S105  # printed at every start
OPERATOR: Final = "olivia@example.com"

PEOPLE: Final = {
    "olivia@example.com": "Olivia Owens",
    "adam@example.com": "Adam Archer",
    "mia@example.com": "Mia Moreno",
    "bill@example.com": "Bill Baker",
    "vera@example.com": "Vera Voss",
    "gustav@example.com": "Gustav Globe",
}

ORGANIZATIONS: Final[dict[str, dict[str, Any]]] = {
    "Acme": {
        "owner": "olivia@example.com",
        "members": {
            "adam@example.com": "admin",
            "mia@example.com": "member",
            "bill@example.com": "billing",
            "vera@example.com": "viewer",
        },
        "teams": {"Web": ["adam@example.com", "mia@example.com"], "Research": ["mia@example.com"]},
        "projects": [
            ("Website relaunch", "WEB", "Web"),
            ("Rocket skates", "SKATES", "Research"),
            ("Anvil", "ANVIL", None),
        ],
        "invited": {"nora@example.com": "member", "felix@example.com": "admin"},
    },
    "Globex": {
        "owner": "gustav@example.com",
        "members": {"adam@example.com": "viewer"},
        "teams": {"Weather": []},
        "projects": [("Weather machine", "RAIN", "Weather")],
        # No mailbox takes the second letter: operators find it among the jobs that failed for good.
        "invited": {"otto@example.com": "viewer", "nobody@undeliverable.example": "member"},
    },
}

ACCOUNTS: Final = [
    *(f"{details['owner']:<20} owner of {name}" for name, details in ORGANIZATIONS.items()),
    "adam@example.com     admin of Acme, viewer of Globex",
    "mia@example.com      member of Acme",
    "bill@example.com     billing of Acme",
    "vera@example.com     viewer of Acme",
    f"{OPERATOR:<20} is also an operator (/v1/platform/jobs?status=dead shows the demo's own dead letter)",
]


class SeedRefused(Mendable):
    """There is to be no demo here, or the API refused a step of it; the message holds its answer."""


class UntoldOnce:
    """Keeps the demo's own dead letter out of the log, where it looks as if something was broken: `up` tells of it with
    the accounts. The next one is somebody's.
    """

    def __init__(self) -> None:
        self._awaited = True

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if self._awaited and event["event"] == GAVE_UP and NO_MAILBOX in event["reason"]:
            self._awaited = False
            raise structlog.DropEvent
        return event

    def listen(self) -> None:
        """Before all else that the log does with what it is told."""
        structlog.configure(processors=[self, *structlog.get_config()["processors"]])


def refuse_production(environment: str | None) -> None:
    """Raise SeedRefused where real people are."""
    if environment == "production":
        raise SeedRefused(
            "the demo's password is known to everybody: there is no demo where INSULA_ENVIRONMENT is production"
        )


async def plant(settings: Settings) -> bool:
    """Make the demo unless it is there already; returns whether it was made. Needs the owner's database."""
    refuse_production(settings.environment)
    assert settings.owner_database_url is not None
    with reaching(settings.owner_database_url):
        owner = await asyncpg.connect(settings.owner_database_url)
    try:
        if await owner.fetchval('SELECT EXISTS (SELECT FROM app."user" WHERE email_norm = $1)', OPERATOR):
            return False
        # Through the API, so that the demo has events and mail like anything else.
        app = create_litestar(_relaxed(settings))
        async with app.lifespan():
            transport = httpx.ASGITransport(app=AccessLog(app))  # type: ignore[arg-type]  # two spellings of ASGI
            async with httpx.AsyncClient(transport=transport, base_url=settings.base_url, timeout=30) as client:
                await _Demo(client, owner).make()
        return True
    finally:
        await owner.close()


def _relaxed(settings: Settings) -> Settings:
    """Limits are for strangers, and for what is done with the demo once it is there: it is the same whatever is set."""
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(Settings)
        if field.name.startswith(("limit_", "rate_", "request_"))
    }
    quick = {"rate_sign_in_per_minute": 6000, "rate_anonymous_per_minute": 6000}
    return msgspec.structs.replace(settings, **defaults | quick, metrics_port=0)


class _Demo:
    """Plays all the parts. Only the accounts are made without the API: their letters would have to be opened."""

    def __init__(self, client: httpx.AsyncClient, owner: asyncpg.Connection) -> None:
        self._client, self._owner = client, owner
        self._passwords = Passwords(parallel=2, min_length=len(PASSWORD))
        self._tokens: dict[str, str] = {}

    async def make(self) -> None:
        for email, name in PEOPLE.items():
            await self._join(email, name)
        await self._owner.execute(
            'INSERT INTO app.operator (user_id) SELECT id FROM app."user" WHERE email_norm = $1', OPERATOR
        )
        for name, details in ORGANIZATIONS.items():
            await self._found(name, details)

    async def _join(self, email: str, name: str) -> None:
        await self._owner.fetchval(
            "SELECT app.create_user($1, $2, $2, $3, $4)",
            new_uuid(),
            email,
            name,
            await self._passwords.hash(PASSWORD),
        )
        session = await self._post("/v1/auth/sign-in", {"email": email, "password": PASSWORD})
        self._tokens[email] = session["token"]

    async def _found(self, name: str, details: dict[str, Any]) -> None:
        boss = details["owner"]
        organization = await self._post("/v1/organizations", {"name": name, "slug": name.lower()}, boss)
        base = f"/v1/organizations/{organization['id']}"
        for email, role in details["members"].items():
            invitation = await self._post(f"{base}/invitations", {"email": email, "role": role}, boss)
            await self._post(f"/v1/me/invitations/{invitation['id']}/acceptance", {}, email)
        page = await self._request("GET", f"{base}/members?limit=100", None, boss)
        members = {member["email"]: member["id"] for member in page["data"]}
        teams: dict[str | None, str | None] = {None: None}
        for team, people in details["teams"].items():
            teams[team] = (await self._post(f"{base}/teams", {"name": team}, boss))["id"]
            for email in people:
                await self._request("PUT", f"{base}/teams/{teams[team]}/members/{members[email]}", None, boss)
        for title, key, team in details["projects"]:
            await self._post(f"{base}/projects", {"name": title, "key": key, "team_id": teams[team]}, boss)
        for email, role in details["invited"].items():
            await self._post(f"{base}/invitations", {"email": email, "role": role}, boss)

    async def _post(self, path: str, body: dict[str, Any], email: str | None = None) -> Any:
        return await self._request("POST", path, body, email)

    async def _request(self, method: str, path: str, body: dict[str, Any] | None, email: str | None) -> Any:
        headers = {"authorization": f"Bearer {self._tokens[email]}"} if email else {}
        answer = await self._client.request(method, path, json=body, headers=headers)
        if answer.status_code >= 400:
            raise SeedRefused(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None
