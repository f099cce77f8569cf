"""What clients were promised, and what came of it."""

from collections import Counter
from typing import Final

import msgspec

from tests.chaos.contenders import Contender, GaveUp, Refused

DRAIN_SECONDS: Final = 60
_NAMED: Final = 20
_THERE_ALREADY: Final = ("409 {", ('"code":"project_key_taken"', '"code":"invitation_open"'))


class Report(msgspec.Struct, kw_only=True):
    """One run in figures."""

    acknowledged: int
    """Requests that were answered."""
    promises: int
    """The effects that these must have had."""
    doubtful: int
    """Requests whose answer was lost: they may have happened, once."""
    refused: list[str]
    """Answers that nobody deserved."""
    lost: int
    lost_names: list[str]
    twice: int
    twice_names: list[str]
    torn: int
    """Doubtful requests of which a part happened."""
    unpromised: int
    forgotten: int
    """Acknowledged requests that were not answered the same once more."""
    dead_letters: int
    repeated_calls: int
    """Calls to the outside that a crash repeated, under the same key: allowed, and told."""
    killed: dict[str, int]
    drained_after: float
    unfinished: int = 0
    """What was still promised, and not yet done, when nobody waited any longer."""

    def done_twice(self) -> list[str]:
        """Effects that are there twice, and answers to those who asked for what they had been given already."""
        return self.twice_names + [answer for answer in self.refused if _is_there_already(answer)]

    def refused_otherwise(self) -> list[str]:
        """The other answers that nobody deserved."""
        return [answer for answer in self.refused if not _is_there_already(answer)]

    def broken(self) -> list[str]:
        """Every promise that was not kept."""
        names = ("lost", "twice", "torn", "unpromised", "forgotten", "dead_letters")
        found = [f"{count} {name}" for name in names if (count := getattr(self, name))]
        found += [f"refused: {answer}" for answer in self.refused]
        if self.drained_after > DRAIN_SECONDS:
            found.append(f"not drained within {DRAIN_SECONDS} s")
        return found


def _is_there_already(answer: str) -> bool:
    status, codes = _THERE_ALREADY
    return status in answer and any(code in answer for code in codes)


class Ledger:
    """Every request, noted by how it ended."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._asked = 0
        self._acknowledged: list[int] = []
        self._doubtful: list[int] = []
        self._refused: list[str] = []

    async def ask(self) -> None:
        """The next request."""
        self._asked += 1
        number = self._asked
        try:
            await self._contender.ask(number)
        except GaveUp:
            self._doubtful.append(number)
        except Refused as refusal:
            self._doubtful.append(number)
            self._refused.append(str(refusal))
        else:
            self._acknowledged.append(number)

    def compare(self, happened: Counter[str], **told: object) -> Report:
        """Set what was promised against what happened; ``told`` is the rest of the report."""
        promised = {effect for number in self._acknowledged for effect in self._contender.effects(number)}
        doubtful = [self._contender.effects(number) for number in self._doubtful]
        lost, twice = promised - happened.keys(), {effect for effect, count in happened.items() if count > 1}
        figures = {
            "acknowledged": len(self._acknowledged),
            "promises": len(promised),
            "doubtful": len(doubtful),
            "refused": self._refused,
            "lost": len(lost),
            "lost_names": sorted(lost)[:_NAMED],
            "twice": len(twice),
            "twice_names": sorted(twice)[:_NAMED],
            "torn": sum(1 for effects in doubtful if 0 < len(effects & happened.keys()) < len(effects)),
            "unpromised": len(happened.keys() - promised.union(*doubtful)),
        }
        return msgspec.convert(figures | told, Report)
