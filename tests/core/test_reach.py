"""What is said where PostgreSQL does not let the program in."""

from urllib.parse import urlsplit

import pytest

from insula import provision
from insula.core.db import Database
from insula.core.reach import Unreachable
from tests.conftest import address


async def test_a_login_without_database_or_password_is_told_which(addresses: dict[str, str]) -> None:
    there = urlsplit(address(addresses["admin"], "app_rw", "postgres"))
    for url, said in (
        (there._replace(path="/nowhere").geturl(), 'database "nowhere" does not exist'),
        (
            there._replace(netloc=f"app_rw:wrong@{there.hostname}:{there.port}").geturl(),
            "password authentication failed",
        ),
    ):
        with pytest.raises(Unreachable, match=said) as refused:
            await Database(url).open()
        assert "wrong" not in str(refused.value).replace("wrong password", "")
        assert refused.value.login == "app_rw"


async def test_what_an_address_says_of_encryption_is_heeded(addresses: dict[str, str]) -> None:
    there = address(addresses["admin"], "app_rw", "postgres")
    await (await Database(f"{there}?sslmode=disable").open()).close()
    owner = address(addresses["admin"], "app_migrator", "postgres")
    for refused in (Database(f"{there}?sslmode=require").open(), provision.migrate(f"{owner}?sslmode=require")):
        with pytest.raises(Unreachable, match="rejected SSL upgrade"):
            await refused
