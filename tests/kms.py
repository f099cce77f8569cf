"""A key management service's client, as small as can be."""

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_CLIENT: Final = """#!{python}
import base64, pathlib, sys, time
verb, purpose = sys.argv[1:]
given = base64.b64decode(sys.stdin.read())
pad = (purpose.encode() * 9)[:32]
held = pathlib.Path(__file__).with_name(f"{{verb}}-{{purpose}}")
while held.exists():
    held.write_text("asked")
    time.sleep(0.05)
if verb == "unwrap" and given[:2] != b"k:":
    sys.exit("AccessDenied: not wrapped here")
answer = b"k:" + bytes(a ^ b for a, b in zip(given, pad)) if verb == "wrap" else bytes(a ^ b for a, b in zip(given[2:], pad))
print(base64.b64encode(answer).decode())
"""


def service_in(folder: Path) -> str:
    """What INSULA_KMS_COMMAND calls it by."""
    script = folder / "kms"
    script.write_text(_CLIENT.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@asynccontextmanager
async def held(service: str, verb: str, purpose: str) -> AsyncIterator[asyncio.Event]:
    """Whoever asks for this gets no answer until the end of the block; the event says that somebody has asked."""
    file, asked = Path(service).with_name(f"{verb}-{purpose}"), asyncio.Event()
    file.touch()

    async def look() -> None:
        while not file.read_text():
            await asyncio.sleep(0.02)
        asked.set()

    looking = asyncio.create_task(look())
    try:
        yield asked
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        file.unlink()
