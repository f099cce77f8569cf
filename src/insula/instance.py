"""Where a running `insula up` says what it is; light enough to be asked often."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula.embedded.lock import FolderLock

_FILE: Final = "instance.env"
_LOCK: Final = "up.lock"


def lock_of(home: Path) -> FolderLock:
    """Held by the one `insula up` that lives in this folder."""
    return FolderLock(home / _LOCK)


def write(home: Path, values: Mapping[str, str]) -> None:
    """Say what runs here; readable by nobody else, because the addresses carry passwords."""
    with os.fdopen(os.open(home / _FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())


def forget(home: Path) -> None:
    """Nothing runs here any more."""
    (home / _FILE).unlink(missing_ok=True)


def read(home: Path) -> str | None:
    """The running instance as KEY=value lines; None when nothing runs."""
    if not home.exists():
        return None
    lock = lock_of(home)
    if lock.acquire():  # whoever ran here was killed: what the file says is over
        lock.release()
        return None
    try:
        return (home / _FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
