"""Manifests of operators' kinds fit the schemas of the operators, and what does not is found."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import pytest
import yaml

from tests.k8s.operators import Schemas, is_operators
from tests.k8s.rendering import RENDERED, ROOT, Manifest, rendered

pytestmark = pytest.mark.peers

FREE: Final = {"annotations", "labels", "limits", "matchLabels", "parameters", "requests"}
"""Fields whose keys are anybody's; those of a trigger's metadata are its scaler's."""
NAMES: Final = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
"""By these a manifest is found again."""


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas(tmp_path_factory.mktemp("kinds"))


def written(*folders: str) -> list[Manifest]:
    """What is rendered of operators' kinds, and what is applied by hand."""
    restore = yaml.safe_load((ROOT / "k8s" / "components" / "backups" / "restore.yaml").read_text(encoding="utf-8"))
    return [*(each for folder in folders for each in rendered(folder) if is_operators(each)), restore]


def test_every_manifest_of_an_operator_s_kind_fits_its_schema(schemas: Schemas) -> None:
    assert schemas.complaints(written(*RENDERED)) == []


def places(part: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every part of a manifest below its top, and where it is."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield (*path, key), value
        yield from places(value, (*path, key))


def planted(manifest: Manifest, path: tuple[str | int, ...], *, unknown: bool) -> Manifest:
    """A copy with a field that nobody knows in this part, or with a list of numbers in its place."""
    copy = deepcopy(manifest)
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = {**part[path[-1]], "planted": "here"} if unknown else [4711]
    return copy


def faults() -> Iterator[tuple[str, Manifest]]:
    """In one manifest of each kind, in turn: an unknown field in every part, a wrong type in place of every value."""
    kinds = {each["kind"]: each for each in written(*RENDERED)}
    for manifest in kinds.values():
        for path, value in places(manifest):
            unknown = isinstance(value, dict)
            free = path[-1] in FREE or ("triggers" in path and path[-1] == "metadata")
            if (unknown and free) or isinstance(value, list) or path in NAMES:
                continue
            where = f"{manifest['kind']} {'.'.join(map(str, path))}"
            yield where, planted(manifest, path, unknown=unknown)


def test_an_unknown_field_and_a_wrong_type_are_found_wherever_they_are(schemas: Schemas) -> None:
    found = dict(enumerate(faults()))
    for number, (_, manifest) in found.items():
        manifest["metadata"]["name"] = f"planted-{number}"
    assert len(found) > 200
    told = "\n".join(schemas.complaints([manifest for _, manifest in found.values()]))
    assert [where for number, (where, _) in found.items() if f"/planted-{number}:" not in told] == []


def test_a_pattern_and_a_list_of_what_is_possible_are_heeded(schemas: Schemas) -> None:
    manifests = {each["kind"]: each for each in written(*RENDERED)}
    backup, store = manifests["ScheduledBackup"], manifests["ObjectStore"]
    backup["spec"]["method"], store["spec"]["retentionPolicy"] = "tape", "a month"
    told = schemas.complaints([backup, store])
    assert [any(each["kind"] in line for line in told) for each in (backup, store)] == [True, True]


def test_a_kind_that_nobody_here_has_a_schema_of_is_found(schemas: Schemas) -> None:
    route = {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "insula"}, "spec": {}}
    assert is_operators(route)
    assert [*map(is_operators, rendered("base"))] == [False] * len(rendered("base"))
    assert schemas.complaints([route]) == ["IngressRoute /insula: nobody here has a schema of traefik.io/v1alpha1"]


def test_every_kind_in_a_component_is_in_something_that_is_rendered() -> None:
    files = (ROOT / "k8s" / "components").rglob("*.yaml")
    told = [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    ours = {(each["apiVersion"], each["kind"]) for each in told if "apiVersion" in each and is_operators(each)}
    assert len(ours) == 13
    assert ours == {(each["apiVersion"], each["kind"]) for each in written(*RENDERED)}
