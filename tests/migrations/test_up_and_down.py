"""Every migration can be undone, and done again, and leaves the same schema."""

import pytest

from tests.migrations.conftest import VERSIONS, Schema, back, revisions
from tests.migrations.snapshot import snapshot

_LEFT = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace
 UNION ALL SELECT f.oid::regprocedure::text FROM pg_proc f
            WHERE f.pronamespace = 'app'::regnamespace AND f.prolang <> 12 -- provision.sql makes those: internal
 UNION ALL SELECT t.oid::regtype::text FROM pg_type t WHERE t.typnamespace = 'app'::regnamespace
"""

CHANGES = (
    "GRANT TRUNCATE ON app.project TO app_rw",
    "GRANT UPDATE (id) ON app.project TO app_rw",
    "GRANT USAGE ON SCHEMA app TO PUBLIC",
    "ALTER TABLE app.project NO FORCE ROW LEVEL SECURITY",
    "ALTER POLICY isolation ON app.project USING (true)",
    "ALTER TABLE app.project ALTER name DROP NOT NULL",
    "ALTER TABLE app.project ALTER status SET DEFAULT 'active'",
    "ALTER TABLE app.project DROP CONSTRAINT project_status",
    "DROP INDEX app.project_updated",
    "ALTER FUNCTION app.tenant_id() PARALLEL SAFE",
    "GRANT EXECUTE ON FUNCTION app.enter TO PUBLIC",
    "COMMENT ON TABLE app.project IS 'class: platform'",
    "CREATE TYPE app.mood AS ENUM ('good')",
    "ALTER TABLE app.project OWNER TO app_door",
)


async def test_down_and_up_again_leaves_the_same_schema_at_every_revision(schema: Schema) -> None:
    taken_apart = {}
    for revision in reversed(revisions()):
        taken_apart[revision] = await snapshot(schema.superuser)
        await schema.move(back(revision))
    for revision in revisions():
        await schema.move(revision)
        assert await snapshot(schema.superuser) == taken_apart[revision], revision


async def test_the_last_way_down_leaves_nothing(schema: Schema) -> None:
    await schema.move("base")
    assert await schema.superuser.fetch(_LEFT) == []
    assert await schema.superuser.fetch("SELECT * FROM migration.version") == []
    rights = "SELECT has_schema_privilege('app_door', 'app', 'CREATE')"
    assert await schema.superuser.fetchval(rights) is False


async def test_rows_survive_the_way_down_to_the_first_revision_and_up_again(schema: Schema) -> None:
    await schema.superuser.execute(
        """
        INSERT INTO app."user" (id, email, email_norm, name) VALUES (gen_random_uuid(), 'a@b.co', 'a@b.co', 'Ada');
        INSERT INTO app.outbox (id, task, payload, due_at)
        VALUES (gen_random_uuid(), 'a.task', '{}', now() + interval '1 day')
        """
    )
    for revision in reversed(revisions()[1:]):
        await schema.move(back(revision))
    await schema.move("heads")
    assert await schema.superuser.fetchval('SELECT name FROM app."user"') == "Ada"
    assert await schema.superuser.fetchval("SELECT task FROM app.outbox") == "a.task"


async def test_the_snapshot_notices_every_kind_of_change(schema: Schema) -> None:
    before = await snapshot(schema.superuser)
    for change in CHANGES:
        transaction = schema.superuser.transaction()
        await transaction.start()
        await schema.superuser.execute(change)
        assert await snapshot(schema.superuser) != before, change
        await transaction.rollback()


@pytest.mark.parametrize("branch", ["", "own_"])
def test_the_revisions_of_a_branch_are_numbered_in_one_line(branch: str) -> None:
    named = [path.name.removeprefix(branch)[:4] for path in VERSIONS if path.name.startswith("own_") == bool(branch)]
    assert named == [f"{number:04}" for number in range(1, len(named) + 1)]
    assert [revision for revision in revisions() if revision[:-4] == branch] == [branch + number for number in named]
