"""Projects get the first character of their name; whoever knows nothing of it stores it all the same."""

import sqlalchemy as sa
from alembic import op

from insula.core.rls import bound_of, hide_statistics

revision = "own_0001"
down_revision = None
branch_labels = ("own",)
depends_on = "0014"
needed = False

INITIAL = sa.Column("initial", sa.Text, info={"bytes": 4})


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("ALTER TABLE app.project ADD COLUMN initial text")
    hide_statistics(op, "app.project")
    op.execute(f"ALTER TABLE app.project ADD CONSTRAINT project_initial CHECK ({bound_of(INITIAL)}) NOT VALID")
    op.execute(
        "CREATE FUNCTION app.initial_of_project() RETURNS trigger LANGUAGE plpgsql"
        " SET search_path = pg_catalog, pg_temp AS $$ BEGIN NEW.initial := left(NEW.name, 1); RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER initial BEFORE INSERT OR UPDATE OF name ON app.project"
        " FOR EACH ROW EXECUTE FUNCTION app.initial_of_project()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("DROP TRIGGER initial ON app.project")
    op.execute("DROP FUNCTION app.initial_of_project()")
    op.execute("ALTER TABLE app.project DROP COLUMN initial")
