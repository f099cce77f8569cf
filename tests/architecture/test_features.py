"""A feature's lists are complete, and what they name is unique in the program."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from litestar import Controller
from litestar.handlers import HTTPRouteHandler

from insula import app as program
from insula.core.events import AccessDenied, Event
from insula.core.feature import Feature, PrefixShared
from insula.core.gauges import UNKNOWN
from insula.core.ids import TypeID
from insula.core.permissions import Permission
from insula.core.schemas import Task
from insula.product import FEATURES
from tests.architecture.sources import ROOT, last_name, sources
from tests.resources import CORE_PREFIXES

FOLDER = ROOT / "src" / "insula" / "features"
ORDER = next(
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract["name"] == "Features in one order"
)
every_feature = pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)


def modules(feature: Feature) -> list[ModuleType]:
    package = import_module(f"insula.features.{feature.name}")
    names = sorted(path.stem for path in (FOLDER / feature.name).glob("*.py") if path.stem != "__init__")
    return [package, *(import_module(f"{package.__name__}.{name}") for name in names)]


def defined(feature: Feature, kind: type) -> set[Any]:
    """The classes of a kind that the feature's own files define; private and abstract ones are nobody's business."""
    return {
        found
        for module in modules(feature)
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == module.__name__
        and name[0] != "_"
    }


def doubles(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_every_folder_of_features_is_in_the_product() -> None:
    assert sorted(feature.name for feature in FEATURES) == sorted(
        path.parent.name for path in FOLDER.glob("*/__init__.py")
    )


def test_the_product_lists_its_features_lowest_first_as_the_contract_does() -> None:
    height = {name: -place for place, layer in enumerate(ORDER) for name in re.findall(r"\w+", layer)}
    names = [feature.name for feature in FEATURES]
    assert names == sorted(names, key=height.__getitem__)


@every_feature
def test_every_controller_is_in_its_features_list(feature: Feature) -> None:
    routes = {
        found for module in modules(feature) for found in vars(module).values() if isinstance(found, HTTPRouteHandler)
    }
    assert set(feature.controllers) == defined(feature, Controller) | routes


@every_feature
def test_every_event_is_in_its_features_list(feature: Feature) -> None:
    events = {event for event in defined(feature, Event) if hasattr(event, "TYPE")}
    assert set(feature.events) - {AccessDenied} == events


@every_feature
def test_every_task_has_a_handler_in_its_features_list(feature: Feature) -> None:
    assert set(feature.handlers) == {task for task in defined(feature, Task) if hasattr(task, "NAME")}


@every_feature
def test_every_permission_is_in_its_features_list(feature: Feature) -> None:
    made = [
        ast.literal_eval(call.args[0])
        for source in sources(f"src/insula/features/{feature.name}")
        for name, call in source.calls()
        if name == "Permission"
    ]
    assert sorted(made) == sorted(permission.name for permission in feature.permissions)


@every_feature
def test_every_prefix_of_an_id_is_in_its_features_list(feature: Feature) -> None:
    of_models = {
        found.ID_PREFIX
        for module in modules(feature)
        for found in vars(module).values()
        if isinstance(found, type) and found.__module__ == module.__name__ and hasattr(found, "ID_PREFIX")
    }
    assert of_models <= set(feature.id_prefixes)


def test_every_prefix_that_the_program_uses_is_listed() -> None:
    listed = {prefix for feature in FEATURES for prefix in feature.id_prefixes} | set(CORE_PREFIXES)
    used = {
        call.args[0].value: f"{source.path}:{call.lineno}"
        for source in sources("src/insula")
        for name, call in source.calls()
        if name in {TypeID.__name__, "new_id", "to_uuid", "to_text", "describe", "minted"} and call.args
        if isinstance(call.args[0], ast.Constant)
    }
    assert {where for prefix, where in used.items() if prefix not in listed} == set()


def test_names_are_unique_in_the_program() -> None:
    prefixes = [*CORE_PREFIXES, *(prefix for feature in FEATURES for prefix in feature.id_prefixes)]
    events = [event.TYPE for feature in FEATURES for event in feature.events]
    tasks = [task.NAME for feature in FEATURES for task in feature.handlers]
    permissions = [permission.name for feature in FEATURES for permission in feature.permissions]
    schedules = [schedule.name for feature in FEATURES for schedule in feature.schedules]
    constraints = [name for feature in FEATURES for name in feature.constraints]
    for names in (prefixes, events, tasks, permissions, schedules, constraints):
        assert doubles(names) == []


@pytest.mark.parametrize(("prefix", "whose"), [("prj", "projects"), ("job", "the core's jobs")])
def test_the_program_does_not_start_where_two_call_their_ids_alike(
    monkeypatch: pytest.MonkeyPatch, prefix: str, whose: str
) -> None:
    """Either would be taken for the other's, in a record or by who reads it."""
    tickets = Feature(name="tickets", id_prefixes={prefix: "ticket"})
    monkeypatch.setattr(program, "FEATURES", (*FEATURES, tickets))
    with pytest.raises(PrefixShared) as refused:
        program.create_unconnected()
    assert str(refused.value) == f"the prefix {prefix} of ids belongs to {whose}, and tickets has it too"


@every_feature
def test_prefixes_are_short_and_say_what_they_name(feature: Feature) -> None:
    assert all(re.fullmatch(r"[a-z]{2,5}", prefix) and noun for prefix, noun in feature.id_prefixes.items())


@every_feature
def test_events_are_named_by_what_happened(feature: Feature) -> None:
    irregular = {"left", "sent", "resent", "read", "made", "set", "begun", "given", "lost", "paid", "reset"}
    for event in feature.events:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event.TYPE), event
        verb = re.split(r"[._]", event.TYPE)[-1]
        assert verb.endswith("ed") or verb in irregular, event.TYPE
        assert event.TARGET, event
        assert event.__doc__, event


@every_feature
def test_tasks_are_named_after_their_feature(feature: Feature) -> None:
    assert all(re.fullmatch(rf"{feature.name}\.[a-z]+(_[a-z]+)+", task.NAME) for task in feature.handlers)


@every_feature
def test_queues_have_names_that_the_database_takes_and_no_gauge_needs(feature: Feature) -> None:
    for task in feature.handlers:
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,30}", task.QUEUE), task
        assert task.QUEUE != UNKNOWN, task


@every_feature
def test_permissions_name_a_resource_and_an_action(feature: Feature) -> None:
    for permission in feature.permissions:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*:[a-z]+(_[a-z]+)*", permission.name)
        assert permission.description.endswith(".")
        assert permission.roles, f"nobody holds {permission.name}"


def test_every_permission_is_made_by_a_feature() -> None:
    makers = {
        source.path for source in sources("src/insula") for name, _ in source.calls() if name == Permission.__name__
    }
    assert {path for path in makers if not path.startswith("src/insula/features/")} == set()


def test_every_event_is_recorded_somewhere() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "migrations" / "sql").glob("*.sql"))
    made = {last_name(call.func) for source in sources("src/insula") for _, call in source.calls()}
    silent = {
        event.TYPE
        for feature in FEATURES
        for event in feature.events
        if event.__name__ not in made and f"'{event.TYPE}'" not in written
    }
    assert silent == set()


def test_every_event_that_a_door_writes_is_in_a_features_list() -> None:
    listed = {event.TYPE for feature in FEATURES for event in feature.events}
    nouns = {name.split(".")[0] for name in listed}
    for path in (ROOT / "migrations" / "sql").glob("*.sql"):
        for noun, verb in re.findall(r"'([a-z_]+)\.([a-z_]+)'", path.read_text()):
            assert noun not in nouns or f"{noun}.{verb}" in listed, f"{path.name}: {noun}.{verb}"
