"""The document in the hands of others: a linter, and makers of client code."""

import json
import subprocess
from pathlib import Path

import pytest
from litestar import Litestar

pytestmark = pytest.mark.peers


def npx(folder: Path, *command: str) -> str:
    ran = subprocess.run(
        ["npx", "--yes", *command], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def folder(litestar: Litestar, tmp_path: Path) -> Path:
    """A folder with the document in it."""
    (tmp_path / "openapi.json").write_bytes(litestar.state.description.write())
    return tmp_path


def test_a_linter_finds_no_fault(folder: Path) -> None:
    told = npx(folder, "@redocly/cli@2", "lint", "--format=json", "openapi.json")
    found = json.loads(told[told.index("{") :])
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, found["problems"]


def test_typescript_can_be_written_against_it(folder: Path) -> None:
    npx(folder, "openapi-typescript@7", "openapi.json", "-o", "api.ts", "--default-non-nullable=false")
    (folder / "client.ts").write_text(CLIENT)
    npx(folder, "--package=typescript@5", "tsc", "--noEmit", "--strict", "--target", "es2022", "client.ts")
    for right, wrong, complaint in WRONG:
        (folder / "client.ts").write_text(CLIENT.replace(right, wrong))
        with pytest.raises(AssertionError, match=complaint):
            npx(folder, "--package=typescript@5", "tsc", "--noEmit", "--strict", "--target", "es2022", "client.ts")


CLIENT = """
import type { components, operations } from "./api";

type Create = operations["create_project"];
const body: Create["requestBody"]["content"]["application/json"] = { name: "Website", key: "WEB" };
const query: operations["list_projects"]["parameters"]["query"] = { sort: "-updated_at", status: "active" };

function names(page: components["schemas"]["ProjectReadPage"]): string[] {
  return page.data.map((project) => project.name);
}

function reason(problem: components["schemas"]["Problem"]): string {
  return problem.detail ?? problem.code;
}

type Refused = operations["update_organization"]["responses"][409]["content"]["application/problem+json"];

function taken(problem: Refused): boolean {
  return problem.code === "slug_taken";
}

export { body, names, query, reason, taken };
"""

WRONG = (
    ('key: "WEB"', "key: 5", "not assignable to type 'string'"),
    ("problem.code ===", "problem.kode ===", "does not exist on type"),
)
"""What stands there, what shall not, and what TypeScript says of it."""
