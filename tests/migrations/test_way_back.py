"""A way back takes nothing along that nobody named, and empties no database unasked."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from insula import provision
from insula.provision import RevisionRefused, alembic_config, migrate
from insula.schema import MIGRATIONS, REVISION
from insula.way_back import EVERYTHING, refused, stayed
from tests.migrations.conftest import Schema

NEWEST = max((MIGRATIONS / "versions").glob("*.py")).name[:4]
_OURS = '''"""A table of somebody's own."""

from alembic import op

revision = "own_0001"
down_revision = None
branch_labels = ("own",)
depends_on = "{newest}"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
'''


@pytest.fixture
def builds_on_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch of somebody's own that begins where Insula's ends."""
    (tmp_path / "own_0001_theirs.py").write_text(_OURS.format(newest=NEWEST), encoding="utf-8")
    monkeypatch.setattr(provision, "BRANCHES", (MIGRATIONS / "versions", tmp_path))


@pytest.mark.usefixtures("builds_on_the_newest")
async def test_what_builds_on_a_revision_is_taken_back_before_it_and_by_name(schema: Schema) -> None:
    at = await schema.move("heads")
    assert at == f"{REVISION} own_0001"
    with pytest.raises(RevisionRefused, match=r"take own_0001 along, .* first, with `insula migrate -- own@-1`"):
        await schema.move("insula@-1")
    assert await schema.superuser.fetchval("SELECT version_num FROM migration.version") == "own_0001"
    assert await schema.move("own@-1") == REVISION
    assert await schema.move("insula@-1") < REVISION


@pytest.mark.usefixtures("builds_on_the_newest")
@pytest.mark.parametrize(
    ("heads", "revision", "said"),
    [
        (["own_0001"], "base", EVERYTHING),
        (["own_0001"], "insula@base", EVERYTHING),
        (["own_0001"], "own@base", EVERYTHING),
        (["own_0001"], "own_0001-1", EVERYTHING),  # one before the first is nothing at all
        (["own_0001"], f"{NEWEST}-1", "say of which"),
        ([NEWEST, "own_0001"], "-1", "say of which"),
        ([NEWEST], f"insula@-{int(NEWEST)}", EVERYTHING),
        (["own_0001"], "own@-1", ""),
        ([NEWEST], "-1", ""),
        ([], "base", ""),
        ([], "-1", "nothing was migrated"),
        ([], "insula@-1", "nothing was migrated"),
    ],
)
def test_a_way_back_is_refused_in_words(heads: list[str], revision: str, said: str) -> None:
    why = refused(ScriptDirectory.from_config(alembic_config()), heads, revision, everything=False)
    assert said in why
    assert bool(why) is bool(said)


async def test_no_database_is_emptied_unasked(schema: Schema) -> None:
    with pytest.raises(RevisionRefused, match=rf"cannot migrate to base: this empties the .*{EVERYTHING}"):
        await migrate(schema.owner_dsn, "base")
    assert await schema.superuser.fetchval("SELECT version_num FROM migration.version") == NEWEST


@pytest.mark.parametrize(
    ("reached", "revision", "way"),
    [
        ("0014 own_0001", "0012", "insula@-2"),
        ("0014 own_0003", "own_0002", "own@-1"),
        ("0014", "0014", ""),
        ("0014", "own_0001", ""),
        ("0014", "insula@-1", ""),
        ("", "0003", ""),
    ],
)
def test_a_revision_that_is_there_already_takes_nothing_back_and_is_told_how(
    reached: str, revision: str, way: str
) -> None:
    told = stayed(reached, revision)
    assert (f"`insula migrate -- {way}`" in told) if way else (told == "")
