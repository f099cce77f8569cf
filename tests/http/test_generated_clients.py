"""What makers of client code read in the document, and clients that they made, at work on the running program."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest

from insula.settings import Settings
from tests.factories import Member, World
from tests.features.test_identity import PASSWORD, give_password
from tests.journeys.test_processes import Process, answers, environment, free_port

CLIENTS: Final = Path(__file__).parent / "clients"
ANSWERED: Final = re.compile(r"#/components/schemas/(\w+)")


def answered(document: dict[str, Any]) -> set[str]:
    """The schemas of whatever is answered."""
    schemas = document["components"]["schemas"]
    replies = [item["responses"] for path in document["paths"].values() for item in path.values()]
    found = set[str]()
    new = set(ANSWERED.findall(repr([replies, document["components"]["responses"]])))
    while new:
        found |= new
        new = {name for each in new for name in ANSWERED.findall(repr(schemas[each]))} - found
    return found


def test_a_schema_s_title_is_its_name(document: dict[str, Any]) -> None:
    """Makers of code name classes by it."""
    schemas = document["components"]["schemas"]
    assert {name: schema["title"] for name, schema in schemas.items() if schema["title"] != name} == {}


def test_what_an_answer_always_says_is_required(document: dict[str, Any]) -> None:
    """A client would have to ask whether it is there; a problem alone leaves out what it has nothing to say about."""
    answers = {name: document["components"]["schemas"][name] for name in answered(document)}
    assert len(answers) > 40
    optional = {name for name, each in answers.items() if each.get("properties", {}).keys() - each.get("required", ())}
    assert optional == {"Problem"}


class Running(NamedTuple):
    """The program, its document in a folder, and who signs in."""

    url: str
    folder: Path
    owner: Member

    def run(self, *command: str | Path) -> str:
        asked = [*map(str, command)]
        done = subprocess.run(asked, cwd=self.folder, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def judge(self, *client: str | Path) -> None:
        """Run a client, and see that it was told what happened."""
        told = await asyncio.to_thread(self.run, *client, self.url, self.owner.person.email, PASSWORD)
        said: dict[str, Any] = json.loads(told)
        (project,) = (await self.owner.client.get(self.owner.url("/projects?key=WEB"))).json()["data"]
        assert project["metadata"] == {"cost_center": "4711", "floor": 3, "open": True, "note": None}
        assert said.pop("changed").items() >= {key: project[key] for key in ("id", "name", "metadata")}.items()
        assert said == {
            "organization": self.owner.organization_id,
            "same": True,
            "replayed": [None, "true"],
            "unchanged": 304,
            "late": "precondition_failed",
            "keys": ["WEB", "APP", "SHED"],
            "missing": [404, "not_found"],
            "unknown": [422, "unknown_reference", "/team_id"],
        }


@pytest.fixture
async def running(world: World, settings: Settings, tmp_path: Path) -> AsyncIterator[Running]:
    owner, port = await world.owner(), free_port()
    await give_password(world, owner.person)
    url = f"http://127.0.0.1:{port}"
    api = Process("api", environment(settings, port=port), tmp_path / "api.log")
    try:
        await answers(url)
        async with httpx.AsyncClient() as client:
            (tmp_path / "openapi.json").write_bytes((await client.get(f"{url}/openapi.json")).content)
        for file in CLIENTS.iterdir():
            shutil.copy(file, tmp_path)
        yield Running(url, tmp_path, owner)
    finally:
        await asyncio.to_thread(api.end)


@pytest.mark.peers
async def test_a_client_made_in_typescript_does_what_its_user_asks(running: Running) -> None:
    programs = running.folder / "node_modules" / ".bin"
    running.run("npm", "install", "--no-package-lock", "--ignore-scripts", "--silent")
    running.run(programs / "openapi-typescript", "openapi.json", "-o", "api.ts", "--default-non-nullable=false")
    running.run(programs / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "client.ts")
    await running.judge("node", "client.js")


@pytest.mark.peers
async def test_a_client_made_in_python_does_what_its_user_asks(running: Running) -> None:
    programs = running.folder / "venv" / "bin"
    running.run(sys.executable, "-m", "venv", "venv")
    running.run(programs / "pip", "install", "-qq", "--only-binary", ":all:", "-r", "requirements.txt")
    made = ("--output-path", "made", "--config", "openapi-python-client.yaml", "--fail-on-warning")
    running.run(programs / "openapi-python-client", "generate", "--path", "openapi.json", *made)
    (running.folder / "made" / "insula_client").rename(running.folder / "insula_client")
    running.run(programs / "mypy", "--strict", "client.py")
    await running.judge(programs / "python", "client.py")
