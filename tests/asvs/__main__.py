"""`./insula python -m tests.asvs`: OWASP ASVS 5.0, requirement by requirement, and how each is met or what it waits for."""

import sys
from collections import Counter

from tests.asvs.table import Row, chapters, faults, standard

STATES = ("test", "evidence", "not_applicable", "open")


def main() -> int:
    """Print the table, what is open, and the counts; fails when the table is not whole or not true."""
    found = chapters()
    rows = {requirement: row for each in found.values() for requirement, row in each.items()}
    for requirement, row in rows.items():
        print(f"{requirement:<7} L{row.level}  {row.asks[:70]:<70}  {_told(row)}")
    waits = Counter(row.open for row in rows.values() if row.open)
    print("\nOpen: " + ", ".join(f"{count} for {feature}" for feature, count in waits.most_common()))
    print(f"\n{'':<9}" + "".join(f"{state.replace('_', ' '):>16}" for state in (*STATES, "in all")))
    for level in (1, 2):
        of_level = [row for row in rows.values() if row.level == level]
        counts = [len([row for row in of_level if row.states == [state]]) for state in STATES]
        print(f"level {level:<3}" + "".join(f"{count:>16}" for count in (*counts, len(of_level))))
    wrong = list(faults(found, standard()))
    print("".join(f"\nWRONG: {fault}" for fault in wrong), end="")
    return 1 if wrong else 0


def _told(row: Row) -> str:
    if row.test:
        more = f" and {len(row.test) - 1} more" if len(row.test) > 1 else ""
        first = row.test[0]
        return f"test      {f'attack {first}' if isinstance(first, int) else first}{more}"
    if row.evidence:
        return f"evidence  {row.evidence}: {row.look}"
    if row.not_applicable:
        return f"-         {row.not_applicable}"
    return f"OPEN      waits for {row.open}" + (f": {row.so_far}" if row.so_far else "")


if __name__ == "__main__":
    sys.exit(main())
