"""What the program takes: memory after a thousand requests, CPU to import it, time until `insula up` answers."""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.benchmarks.harness import Bench, plant
from tests.benchmarks.process import Client, api

_REQUESTS: Final = 1000
_FEW_REQUESTS: Final = 50
_MEGABYTES: Final = 200
_WARM_SECONDS: Final = 10
_LONGEST_SECONDS: Final = 120
_IMPORT: Final = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


async def run(bench: Bench, scale: int) -> bool:
    print("\nFootprint")
    for what, modules in (("the API", "insula.app"), ("everything", "insula.up, insula.worker")):
        seconds = await _imported(modules)
        print(f"  import of {what:<18}{seconds:>10.2f} s CPU")
    small = await _memory(bench, _REQUESTS if scale else _FEW_REQUESTS)
    with tempfile.TemporaryDirectory(prefix="insula-up-") as home:
        cold = await _up(Path(home))
        warm = await _up(Path(home)) if scale else cold
    print(f"  insula up, first start      {cold:>10.1f} s")
    print(f"  insula up, second start     {warm:>10.1f} s (goal {_WARM_SECONDS} s) {_verdict(warm < _WARM_SECONDS)}")
    return small and warm < _WARM_SECONDS


async def _imported(modules: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IMPORT.format(modules), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return float(said)


async def _memory(bench: Bench, requests: int) -> bool:
    owner = await bench.world.owner()
    await plant(bench.world.superuser, owner.organization_id, 1000)
    async with api(bench.settings) as running:
        print(f"  API process answers after   {running.ready_seconds:>10.1f} s")
        client = await Client.connect(running.port)
        for number in range(requests):
            if number % 10:
                status = await client.request("GET", owner.url("/projects?limit=100"), token=owner.person.token)
            else:
                body = {"name": "A project", "key": f"M{number}"}
                status = await client.request("POST", owner.url("/projects"), token=owner.person.token, body=body)
            assert status in {200, 201}, status
        await client.close()
        megabytes = running.process.memory_info().rss / 2**20
    print(
        f"  API process after {requests} requests {megabytes:>7.0f} MB (goal {_MEGABYTES} MB) {_verdict(megabytes < _MEGABYTES)}"
    )
    return megabytes < _MEGABYTES


async def _up(home: Path) -> float:
    """Seconds from the command to the first answer of everything."""
    started, said = time.perf_counter(), home / "instance.env"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "insula",
        "up",
        "--port",
        "0",
        env={**os.environ, "INSULA_HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            while not said.exists():
                assert process.returncode is None, "insula up ended by itself"
                await asyncio.sleep(0.02)
        return time.perf_counter() - started
    finally:
        process.terminate()
        await process.wait()


def _verdict(met: bool) -> str:  # yes or no is all it says
    return "ok" if met else "MISSED"
