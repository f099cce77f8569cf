"""The lock of a folder: one has it, and who only looks whether anybody does keeps nobody out."""

import threading
from pathlib import Path

from insula.embedded.lock import FolderLock


def test_one_has_it(tmp_path: Path) -> None:
    ours, others = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert ours.acquire()
    assert not others.acquire(patience=0.1)
    ours.release()
    assert others.acquire()
    others.release()


def test_who_looks_for_a_moment_keeps_nobody_out(tmp_path: Path) -> None:
    looking, starting = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert looking.acquire()
    threading.Timer(0.1, looking.release).start()
    assert starting.acquire(patience=5)
    starting.release()
