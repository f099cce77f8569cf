"""Master keys: they wrap the program's keys, so that the database and its backups hold none that opens anything."""

import asyncio
import hashlib
import secrets
import shlex
from base64 import b64decode, b64encode
from typing import Final, Protocol

from insula.core.crypto import derive, seal, unseal
from insula.core.keyring import Purpose, first_key
from insula.core.mendable import Mendable

_KEY_BYTES: Final = 32
_SECONDS: Final = 15.0


class KeysUnreadable(Mendable):
    """A key does not open: the program cannot start with these settings."""


class Master(Protocol):
    """Wraps and unwraps keys of 32 bytes. What was wrapped for one purpose does not unwrap for another."""

    name: str
    """Stored beside what it wrapped, so that the right one of several is asked."""

    def first(self, purpose: Purpose) -> bytes:
        """The first version of a key."""
        ...

    async def wrap(self, key: bytes, purpose: Purpose) -> bytes: ...

    async def unwrap(self, wrapped: bytes, purpose: Purpose) -> bytes:
        """Raises KeysUnreadable."""
        ...


class SecretMaster:
    """INSULA_SECRET_KEY: AES-256-GCM under a key derived from it."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._key = secret, derive(secret, "insula/master")
        # What a fast hash of 256 random bits tells nobody.
        self.name = "secret:" + hashlib.blake2b(b"name", key=self._key, digest_size=6).hexdigest()

    def first(self, purpose: Purpose) -> bytes:
        return first_key(self._secret, purpose)

    async def wrap(self, key: bytes, purpose: Purpose) -> bytes:
        return seal(self._key, key, purpose.encode())

    async def unwrap(self, wrapped: bytes, purpose: Purpose) -> bytes:
        key = unseal(self._key, wrapped, purpose.encode())
        if key is None:
            raise KeysUnreadable(f"the key {purpose} was altered since {self.name} wrapped it")
        return key


class CommandMaster:
    """INSULA_KMS_COMMAND: a program that asks a key management service.

    It is called with ``wrap`` or ``unwrap`` and the purpose, reads base64 from its input and writes base64 to its
    output; any other end than 0 is a refusal. The purpose is for the service's encryption context.
    """

    name = "kms"

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def first(self, purpose: Purpose) -> bytes:  # noqa: ARG002  # a service keeps no secret that keys could come from
        return secrets.token_bytes(_KEY_BYTES)

    async def wrap(self, key: bytes, purpose: Purpose) -> bytes:
        return await self._ask("wrap", purpose, key)

    async def unwrap(self, wrapped: bytes, purpose: Purpose) -> bytes:
        return await self._ask("unwrap", purpose, wrapped)

    async def _ask(self, verb: str, purpose: Purpose, given: bytes) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                verb,
                purpose,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise KeysUnreadable(f"INSULA_KMS_COMMAND cannot be run: {error}") from error
        try:
            async with asyncio.timeout(_SECONDS):
                answer, said = await process.communicate(b64encode(given) + b"\n")
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise KeysUnreadable(f"INSULA_KMS_COMMAND did not {verb} within {_SECONDS:.0f} s") from error
        if process.returncode:
            reason = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise KeysUnreadable(f"INSULA_KMS_COMMAND would not {verb} the key {purpose}: {reason[0]}")
        return _decoded(answer, verb)


def _decoded(answer: bytes, verb: str) -> bytes:
    try:
        found = b64decode(answer.strip(), validate=True)
    except ValueError as error:
        raise KeysUnreadable(f"INSULA_KMS_COMMAND {verb}: its answer is not base64") from error
    if verb == "unwrap" and len(found) != _KEY_BYTES:
        raise KeysUnreadable(f"INSULA_KMS_COMMAND unwrap: its answer has {len(found)} bytes, not {_KEY_BYTES}")
    return found
