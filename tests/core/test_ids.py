"""TypeIDs: the text form, its inverse, and their order."""

from uuid import UUID, uuid4

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from insula.core import ids
from insula.core.ids import NIL, new_id, to_text, to_uuid


@pytest.mark.parametrize(
    ("text", "uuid"),
    [  # valid.yml of the TypeID specification, version 0.3
        ("nil_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
        ("one_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
        ("ten_0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"),
        ("sixteen_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
        ("max_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
        ("prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
)
def test_the_specifications_examples_hold(text: str, uuid: str) -> None:
    prefix = text.rpartition("_")[0]
    assert to_text(prefix, UUID(uuid)) == text
    assert to_uuid(prefix, text) == UUID(uuid)


@given(st.uuids())
def test_every_uuid_comes_back(uuid: UUID) -> None:
    assert to_uuid("prj", to_text("prj", uuid)) == uuid


@given(st.text(max_size=60))
def test_whatever_is_no_id_is_the_id_nothing_has(text: str) -> None:
    found = to_uuid("prj", text)
    assert found == NIL or to_text("prj", found) == text


def test_an_id_of_another_kind_is_the_id_nothing_has() -> None:
    assert to_uuid("prj", to_text("tea", uuid4())) == NIL


@pytest.mark.attack(140)
def test_ids_keep_their_order_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [new_id("evt") for _ in range(3)]
    past = uuid_utils.UUID("01000000-0000-7000-8000-000000000000")
    monkeypatch.setattr(ids, "uuid7", lambda: past)
    after = [new_id("evt") for _ in range(3)]
    assert before + after == sorted(before + after)
    assert len(set(before + after)) == 6
