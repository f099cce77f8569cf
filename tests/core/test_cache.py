"""The names of stored values."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from insula.core.cache import key

Owned = tuple[str | None, list[str]]
separators = ":%3A-"
owned: st.SearchStrategy[Owned] = st.tuples(
    st.none() | st.text(separators, min_size=1, max_size=3),
    st.lists(st.text(separators, max_size=3), max_size=3),
)


@pytest.mark.attack(12)
@example((None, [":"]), (None, ["%3A"]))
@given(owned, owned)
def test_no_two_values_share_a_key(one: Owned, other: Owned) -> None:
    assert (key(one[0], *one[1]) == key(other[0], *other[1])) == (one == other)


def test_a_tenant_s_keys_live_on_one_node_of_a_cluster() -> None:
    assert key("org_1", "limit", "api", "key_1") == "insula:{org_1}:limit:api:key_1"
    assert key(None, "limit", "::1") == "insula:-:limit:%3A%3A1"


def test_an_empty_tenant_is_refused() -> None:
    with pytest.raises(ValueError, match="empty tenant"):
        key("", "limit")
