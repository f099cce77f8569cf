"""Which names there are: none that nobody sees, and those of all languages."""

import unicodedata

import msgspec
import pytest

from insula.core.schemas import Name, OrganizationName, PersonName

SHAPING = {0x200C, 0x200D, *range(0xE0020, 0xE0080)}
"""Joiners, and the tags of flags: they show in what stands before them."""
SEEN = {0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
"""Format characters that are seen (Prepended_Concatenation_Mark), and what arranges hieroglyphs."""
HIEROGLYPHS = set(range(0x13430, 0x13440))
FORMATS = [each for each in range(0x110000) if unicodedata.category(chr(each)) == "Cf"]
FILLERS = [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0]


def is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.attack(122)
def test_no_name_holds_what_nobody_sees() -> None:
    unseen = set(FORMATS) - SHAPING - SEEN - HIEROGLYPHS | set(FILLERS)
    assert len(unseen) > 30
    taken = [
        f"U+{each:04X}"
        for each in sorted(unseen)
        for name in ("Ac{}me", "{}Acme", "Acme{}")
        if is_name(name.format(chr(each)))
    ]
    assert taken == []


@pytest.mark.attack(122)
@pytest.mark.parametrize("unseen", ["\u200d", "\ufe0f", "\U000e0067", "\U000e0100", "\u180b", "\u2800", "\u3000"])
def test_what_shapes_others_is_no_name_by_itself(unseen: str) -> None:
    assert not is_name(unseen)
    assert not is_name(unseen * 3)
    assert not is_name(f"{unseen}Acme")


@pytest.mark.attack(122)
@pytest.mark.parametrize(
    "name",
    [
        "Tw\u200din",
        "Tw\u200cin",
        "Twin\ufe0f",
        "T\ufe00win",
        "\u0416\u200d\u0436",
        "Twin\U000e007f",
        "Acme \U000e0069\U000e0067Inc",
        "\u65e5\U000e0069\U000e0067",
        "\u0646\u0627\u0645\u0647\u200c",
    ],
    ids=ascii,
)
def test_nothing_unseen_makes_two_names_of_one_or_speaks_to_programs_alone(name: str) -> None:
    assert not is_name(name)


@pytest.mark.attack(122)
@pytest.mark.parametrize("link", ["evil.c\u200dom/", "evil\u2024com/x", "evil\u3002com/x", "www\uff0eevil"], ids=ascii)
def test_what_looks_like_a_link_is_no_name_in_a_letter(link: str) -> None:
    for kind in (OrganizationName, PersonName):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(link, kind)


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, a joiner kept from joining
        "\u0915\u094d\u200d\u0937",  # Devanagari
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "We \u2764\ufe0f",  # a heart in colour
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # a flag
        "\u8fbb\U000e0100",  # a surname, in the form that its bearers write
        "\u182a\u1822\u180b",  # Mongolian
        "\u0601\u0661\u0662",  # a year in Arabic
        "\u0d1c\u0d4b\u0d23\u0d4d\u200d",  # John, in Malayalam's older spelling
        "Team #1 \u20e3 3\ufe0f\u20e3",  # a digit on a key
        "X",
    ],
)
def test_names_of_all_languages_are_names(name: str) -> None:
    for kind in (Name, OrganizationName, PersonName):
        assert msgspec.convert(name, kind) == name
