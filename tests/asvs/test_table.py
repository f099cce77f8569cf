"""OWASP ASVS 5.0, levels 1 and 2: every requirement is in the table once, and what the table names is there."""

import re
from collections import Counter

import pytest

from tests.asvs.__main__ import main
from tests.asvs.table import ROOT, Row, chapters, faults, standard


def test_the_table_is_whole_and_what_it_names_is_there() -> None:
    assert list(faults(chapters(), standard())) == []


def test_the_standard_asks_as_much_as_its_authors_say() -> None:
    """70 requirements of level 1, 183 more of level 2, 92 of level 3."""
    levels = Counter(digit for digits in standard().levels.values() for digit in digits)
    assert levels == {"1": 70, "2": 183, "3": 92}
    assert len(standard().required()) == 253


def test_the_threat_model_is_one_page_whose_links_lead_somewhere() -> None:
    page = ROOT / "tests" / "asvs" / "THREATS.md"
    text = page.read_text(encoding="utf-8")
    assert len(text.split()) <= 650
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("requirement", "row", "fault"),
    [
        ("1.2.10", Row(3, "CSV", test=[118]), "1.2.10 is no requirement of these levels"),
        ("1.2.1", Row(2, "output", test=[118]), "1.2.1 is of level 1"),
        ("2.1.1", Row(1, "rules", test=[118]), "2.1.1 stands in v01_encoding"),
        ("2.1.1", Row(1, "rules", test=[118]), "2.1.1 is twice in the table"),
        ("1.2.1", Row(1, "output"), "1.2.1: is nothing at once"),
        ("1.2.1", Row(1, "output", test=[118], open="us", so_far="half"), "1.2.1: is ['test', 'open'] at once"),
        ("1.2.1", Row(1, "output", test=[100]), "1.2.1: there is no test 100"),
        (
            "1.2.1",
            Row(1, "output", test=["http/test_no.py::test_x"]),
            "1.2.1: there is no test http/test_no.py::test_x",
        ),
        ("1.2.1", Row(1, "output", evidence="no.md", look="all"), "1.2.1: there is no file no.md"),
        ("1.2.1", Row(1, "output", evidence="LICENSE"), "1.2.1: does not say what to see in LICENSE"),
        ("1.2.1", Row(1, "output", evidence="README.md", look="XY: z"), "1.2.1: README.md does not say 'XY'"),
        ("1.2.1", Row(1, "output", open="spring"), "1.2.1: 'spring' is nothing to wait for"),
        ("1.2.1", Row(1, "output", open="us"), "1.2.1: waits for us without a word of why"),
    ],
)
def test_what_is_planted_is_found(requirement: str, row: Row, fault: str) -> None:
    planted = chapters()
    planted["v01_encoding"][requirement] = row
    assert fault in list(faults(planted, standard()))


def test_a_requirement_that_is_left_out_and_a_feature_that_came_are_found() -> None:
    planted = chapters()
    del planted["v06_authentication"]["6.2.1"]
    for rows in planted.values():
        for row in rows.values():
            row.open = None if row.open == "GraphQL" else row.open
    found = list(faults(planted, standard()))
    assert "6.2.1 is missing" in found
    assert "nothing waits for GraphQL" in found


def test_the_command_prints_every_requirement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    printed = capsys.readouterr().out.split()
    assert set(standard().required()) <= set(printed)
