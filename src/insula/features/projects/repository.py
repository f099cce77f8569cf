"""Where projects are stored and found."""

import sqlalchemy as sa

from insula.core.listing import Filter, Listing, Prefix
from insula.core.queries import Query, columns_of
from insula.core.repository import Repository
from insula.features.projects.models import Project
from insula.features.projects.schemas import ProjectRead


class ProjectRepository(Repository[Project]):
    """Projects, for changing them."""

    model_type = Project


_PROJECTS = Project.__table__.c
_SELECT = sa.select(*columns_of(Project, ProjectRead))

PROJECT = Query(
    _SELECT.where(_PROJECTS.id == sa.bindparam("id", type_=_PROJECTS.id.type), _PROJECTS.deleted_at.is_(None)),
    ProjectRead,
)

PROJECTS = Listing(
    _SELECT.where(_PROJECTS.deleted_at.is_(None)),
    ProjectRead,
    key=_PROJECTS.id,
    sorts={"created_at": _PROJECTS.id, "name": _PROJECTS.name_norm, "updated_at": _PROJECTS.updated_at},
    filters={
        "status": Filter(_PROJECTS.status),
        "team_id": Filter(_PROJECTS.team_id),
        "key": Filter(_PROJECTS.key),
        "name_prefix": Prefix(_PROJECTS.name_norm),
    },
)

DELETED_PROJECTS = Listing(
    _SELECT.where(_PROJECTS.deleted_at.is_not(None)),
    ProjectRead,
    key=_PROJECTS.id,
    sorts={"created_at": _PROJECTS.id},
)
