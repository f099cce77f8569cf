"""The letters that the development inbox keeps."""

import datetime as dt
import email
import email.policy
import re
import secrets
from email.message import EmailMessage
from pathlib import Path

import msgspec

from insula.core import clock

KEPT = 500

_LINK = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]")


class Letter(msgspec.Struct, frozen=True, kw_only=True, rename={"sender": "from"}):
    """A letter as it arrived. `to` is whom it was delivered to, `links` every web address in its text."""

    id: int
    message_id: str
    to: list[str]
    sender: str
    subject: str
    received_at: dt.datetime
    text: str
    html: str
    links: list[str]


class Letters:
    """The last 500 letters, each also a file, so that a restart keeps them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        numbers = sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal())
        self._last = max(numbers, default=0)
        self._kept = {number: letter for number in numbers if (letter := self._read(number))}
        self.revision = secrets.token_hex(8)

    def add(self, content: bytes, recipients: list[str]) -> None:
        self._last += 1
        letter = _opened(self._last, content, recipients)
        # Renamed into place: a process killed here leaves a whole letter or none.
        unfinished = self._path(letter.id).with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(letter))
        unfinished.replace(self._path(letter.id))
        self._kept[letter.id] = letter
        self._forget(list(self._kept)[:-KEPT])

    def clear(self) -> None:
        self._forget(list(self._kept))

    def get(self, number: int) -> Letter | None:
        return self._kept.get(number)

    def find(self, *, to: str = "", subject: str = "") -> list[Letter]:
        """Newest first: to exactly this address, with these words in the subject; case does not matter."""
        return [
            letter
            for letter in reversed(self._kept.values())
            if (not to or to.casefold() in [recipient.casefold() for recipient in letter.to])
            and subject.casefold() in letter.subject.casefold()
        ]

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._kept[number]
            self._path(number).unlink(missing_ok=True)
        self.revision = secrets.token_hex(8)

    def _read(self, number: int) -> Letter | None:
        try:
            return msgspec.json.decode(self._path(number).read_bytes(), type=Letter)
        except msgspec.MsgspecError:
            return None  # written by another version: not worth refusing to start

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _opened(number: int, content: bytes, recipients: list[str]) -> Letter:
    message = email.message_from_bytes(content, policy=email.policy.default)
    text = _body(message, "plain")
    return Letter(
        id=number,
        message_id=str(message.get("Message-ID", "")),
        to=recipients,
        sender=str(message.get("From", "")),
        subject=str(message.get("Subject", "")),
        received_at=clock.now(),
        text=text,
        html=_body(message, "html"),
        links=list(dict.fromkeys(_LINK.findall(text))),
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return part.get_content().replace("\r\n", "\n") if part else ""
