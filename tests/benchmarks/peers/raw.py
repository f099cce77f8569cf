"""The same write as one transaction of bare INSERTs, by pgbench: what PostgreSQL itself takes for it."""

import asyncio
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from insula.core.ids import to_uuid
from insula.embedded.postgres import find_binaries
from tests.benchmarks.harness import DATABASE
from tests.benchmarks.peers.data import Caller

AT_ONCE: Final = 8
"""As many as the others have connections."""
_ID: Final = (
    "(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'"
    " || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid"
)
_WRITE: Final = f"""
BEGIN;
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_by, created_at, updated_at, version)
VALUES ('TENANT', {_ID}, 'A project', 'a project', gen_random_uuid()::text, 'active', '{{}}', 'MEMBER', now(), now(), 1);
INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id, target_type, target_id, data, context)
VALUES ('TENANT', {_ID}, 'project.created', 1, 'user', 'USER', 'USER', 'project', 'USER',
        '{{"name": "A project", "key": "K12345"}}', '{{}}');
INSERT INTO app.outbox (id, tenant_id, user_id, lane, task, payload)
VALUES ({_ID}, 'TENANT', 'USER', 'TENANT', 'bench.announce', '{{"project_id": "USER"}}');
INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer)
VALUES ('USER', sha256(uuid_send(gen_random_uuid())), sha256('a'), decode(repeat('ab', 400), 'hex'));
COMMIT;
"""


class Raw:
    """Scripts for pgbench, one for each caller: it takes one of them at random for each transaction."""

    name = "pgbench, the same INSERTs"

    def __init__(self, admin: str, folder: Path, callers: list[Caller]) -> None:
        binaries = find_binaries()
        assert binaries is not None
        assert (binaries / "pgbench").exists(), f"there is no pgbench in {binaries}"
        self._pgbench = binaries / "pgbench"
        self._address, self._scripts = urlsplit(admin), list[Path]()
        for number, caller in enumerate(callers):
            member, script = caller.member, folder / f"write{number}.sql"
            names = {"TENANT": caller.tenant, "MEMBER": to_uuid("mem", member.membership_id)}
            names["USER"] = to_uuid("usr", member.person.id)
            text = _WRITE
            for name, value in names.items():
                text = text.replace(name, str(value))
            script.write_text(" ".join(text.split()).replace("; ", ";\n") + "\n")
            self._scripts.append(script)

    async def rate(self, seconds: int) -> float:
        """Transactions a second."""
        where = self._address
        words = ["-h", "127.0.0.1", "-p", str(where.port), "-U", str(where.username), "-n", "-M", "prepared"]
        words += ["-c", str(AT_ONCE), "-j", "1", "-T", str(seconds)]
        words += [word for script in self._scripts for word in ("-f", str(script))]
        process = await asyncio.create_subprocess_exec(
            *(self._pgbench, *words, DATABASE),
            env={"PGPASSWORD": unquote(where.password or "")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complained = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        found = re.search(rb"tps = ([\d.]+)", said)
        assert process.returncode == 0, complained.decode()
        assert found is not None, said.decode()
        return float(found[1])
