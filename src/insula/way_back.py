"""What a migration takes back, and what it may not take along."""

from collections.abc import Collection
from typing import Final

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

EVERYTHING: Final = "--drop-everything"
"""The option without which nobody empties a database."""
_SAY_WHICH: Final = "there is more than one branch: say of which, as in `insula migrate -- insula@-1` or `own@-1`"


def is_back(revision: str) -> bool:
    """Whether this names a way down: ``base``, or so many steps back."""
    return _is_base(revision) or "-" in revision


def refused(scripts: ScriptDirectory, heads: Collection[str], revision: str, *, everything: bool) -> str:
    """Why this way back is not gone, and what to do first; empty where it may be. Raises CommandError.

    Alembic takes along whatever depends on what is taken back: tables of who builds on us, though ours were named.
    """
    if not heads and not _is_base(revision):
        return "nothing was migrated here, so there is nothing to take back"
    if revision.startswith("-") and len(heads) > 1:
        return _SAY_WHICH
    going = _going(scripts, heads, revision)
    emptied = len(going) == len(_active(scripts, heads))
    if going and not everything and (emptied or _is_base(revision)):
        what = "this empties the whole database" if emptied else f"this takes back {_named(going)}"
        return f"{what}, and no row of it comes again: {EVERYTHING} says that it is meant"
    branches = {label for script in going for label in script.branch_labels}
    named = revision.rpartition("@")[0]
    if revision == "base" or len(branches) < 2:
        return ""
    if named not in branches:
        return _SAY_WHICH
    (other,) = branches - {named}
    along = [script for script in going if other in script.branch_labels]
    return (
        f"this would take {_named(along)} along, which builds on what is taken back: take that back first, with"
        f" `insula migrate -- {other}@-{len(along)}`"
    )


def stayed(reached: str, revision: str) -> str:
    """What to say when a revision was asked for that is there already, with others after it; empty where it is not so.

    ``reached`` is what the schema is at, as in ``0014 own_0003``. The revisions of a branch are numbered in one line.
    """
    branch = "own_" if revision.startswith("own_") else ""
    newest = next((at for at in reached.split() if at[:-4] == branch), "")
    if not (newest and revision[-4:].isdigit() and revision[:-4] == branch and revision < newest):
        return ""
    steps = int(newest[-4:]) - int(revision[-4:])
    way = f"insula migrate -- {'own' if branch else 'insula'}@-{steps}"
    return f"Nothing was taken back: `{way}` does that, with all that came after {revision}."


def _going(scripts: ScriptDirectory, heads: Collection[str], revision: str) -> list[Script]:
    """The newest first, as they would go."""
    try:
        return list(scripts.iterate_revisions(tuple(heads), revision, select_for_downgrade=True))
    except RevisionError as error:
        raise CommandError(str(error)) from error


def _active(scripts: ScriptDirectory, heads: Collection[str]) -> list[Script]:
    return list(scripts.iterate_revisions(tuple(heads), "base"))


def _named(going: Collection[Script]) -> str:
    return ", ".join(script.revision for script in going)


def _is_base(revision: str) -> bool:
    return revision.rpartition("@")[2] == "base"
