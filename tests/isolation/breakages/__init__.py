"""Every way to break isolation that the catalogue check must see: a sentence, the rule, and the deed in SQL."""

from tests.isolation.breakages.grants import GRANT_BREAKAGES
from tests.isolation.breakages.parts import PART_BREAKAGES
from tests.isolation.breakages.rights import RIGHT_BREAKAGES
from tests.isolation.breakages.tables import TABLE_BREAKAGES

BREAKAGES = [
    (sentence, rule, deed)
    for ways in (TABLE_BREAKAGES, PART_BREAKAGES, GRANT_BREAKAGES, RIGHT_BREAKAGES)
    for rule, deeds in ways.items()
    for sentence, deed in deeds.items()
]
