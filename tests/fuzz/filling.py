"""Generated requests, filled with what exists in a caller's world."""

from random import Random
from typing import Any

import msgspec
from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation

from tests.fuzz.furnishing import OWNED, Scene

OFTEN, SELDOM = 0.85, 0.1

NEIGHBOURS = {*OWNED, "session_id"}
"""What in a path belongs to somebody: now and then it is taken from another organization."""

CREDENTIALS = ("Authorization", "Cookie")


class Filled(msgspec.Struct):
    """What became of a request: whether all of it is of this world, and whether some of it is a neighbour's."""

    whole: bool = True
    foreign: bool = False


class Filling:
    """Fills the requests of one caller's for one operation; without ``luck`` each with what lets it succeed."""

    def __init__(self, scene: Scene, neighbour: Scene, operation: str, luck: Random | None) -> None:
        self._scene, self._neighbour, self._operation, self._luck = scene, neighbour, operation, luck
        self.filled = Filled()

    async def fill(self, case: Case) -> None:
        """In place; what is wrong with a request on purpose stays wrong."""
        meta = case.meta
        spared = meta.phase.data.parameter if meta.generation.mode.is_negative else None
        for name in CREDENTIALS:
            case.headers.pop(name, None)
        case.cookies.clear()
        for location in (ParameterLocation.PATH, ParameterLocation.QUERY, ParameterLocation.HEADER):
            values = case.get_container(location)
            for name in [each for each in values or () if each != spared]:
                await self._replace(values, name, in_path=location is ParameterLocation.PATH)
        if case.query and "cursor" in case.query and spared != "cursor":
            await self._turn_page(case)
        if not meta.is_negative_at(ParameterLocation.BODY):
            await self._fill_body(case.body)
        if self._happens(OFTEN):
            case.headers["Origin"] = self._scene.world.settings.base_url  # for those who want a cookie
        _ = case.meta  # reading it judges anew whether the request is as documented

    async def _replace(self, values: Any, name: str, *, in_path: bool = False) -> None:
        scene = self._scene
        if in_path and self._luck and name in NEIGHBOURS and self._happens(SELDOM):
            scene, self.filled.foreign = self._neighbour, True
        choice = await scene.values(name, self._operation)
        if not choice:
            return
        if self._happens(OFTEN):
            values[name] = self._luck.choice(choice) if self._luck else choice[0]
        else:
            self.filled.whole = False

    async def _turn_page(self, case: Case) -> None:
        """The cursor of the first page with these sorts and filters; none where there is no second page."""
        if not self._happens(OFTEN):
            self.filled.whole = False
            return
        asked = {**{name: value for name, value in case.query.items() if name != "cursor"}, "limit": 1}
        client = self._scene.world.client()
        answer = await client.get(case.formatted_path, params=asked, headers=self._scene.headers)
        cursor = answer.json().get("next_cursor") if answer.status_code == 200 else None
        case.query.pop("cursor")
        if cursor is not None:
            case.query["cursor"] = cursor

    async def _fill_body(self, body: Any) -> None:
        if isinstance(body, list):
            for item in body:
                await self._fill_body(item)
        elif isinstance(body, dict):
            for name, value in body.items():
                if isinstance(value, str):
                    await self._replace(body, name)
                elif name != "metadata":
                    await self._fill_body(value)

    def _happens(self, chance: float) -> bool:
        return self._luck is None or self._luck.random() < chance
