"""The proof with a Docker engine, `python -m tests.deploy.engine`, is about the files as they are; here none is needed."""

import re

from tests.deploy.engine.installation import ROOT
from tests.deploy.engine.lifetime import WELL, dump_and_way_back, release
from tests.deploy.engine.standins import HERE, IMAGES
from tests.deploy.test_compose import OURS, SERVICES


def test_what_stands_in_has_the_names_that_are_asked_for() -> None:
    base = re.search(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text())
    assert base is not None
    assert IMAGES.keys() == {base[1]} | {SERVICES[name]["image"] for name in SERVICES.keys() - OURS.keys()}
    targets = re.findall(r"(?m)^FROM \S+ AS (\w+)$", (HERE / "images.Dockerfile").read_text())
    assert set(IMAGES.values()) <= set(targets)


def test_every_service_is_waited_for() -> None:
    assert WELL.keys() == SERVICES.keys()


def test_the_readmes_lines_are_found() -> None:
    dump, way_back = dump_and_way_back()
    assert "pg_dump" in dump
    assert ["dropdb" in way_back, "run --rm provision" in way_back, "pg_restore" in way_back] == [True] * 3
    migrated, *restarted = release().splitlines()
    assert migrated == "docker compose run --rm migrate", "while the old program serves"
    assert [line.split("#")[0].split()[-2:] for line in restarted] == [["--no-deps", "worker"], ["--no-deps", "api"]]
