"""Manifests of operators' kinds, held against the operators' own schemas.

The packages carry each CustomResourceDefinition twice: as a type, which knows every field, and as a validator, which knows
patterns and ranges but lets unknown fields pass. So each manifest is written down as a literal of its type, in which the
compiler refuses an unknown field at any depth, and is then validated.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.k8s.rendering import Manifest, named

PACKAGES: Final = {
    "cert-manager.io": "cert-manager",
    "external-secrets.io": "external-secrets",
    "gateway.networking.k8s.io": "gateway-api",
    "keda.sh": "keda",
    "monitoring.coreos.com": "prometheus-operator",
    "postgresql.cnpg.io": "cloudnative-pg",
}
"""Which package has the kinds of a group."""

OURS: Final = {"barmancloud.cnpg.io": "./ObjectStore.js"}
"""Where kinds are that no package has."""

_FOLDER: Final = Path(__file__).parent / "kinds"
_OPTIONS: Final = ("--strict", "--skipLibCheck", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext")
_PLACE: Final = re.compile(r"^check\.ts\((\d+),\d+\): error (.*)")
_REPORT: Final = """\
function report(n: number, each: { validate(): void }) {
  try { each.validate() } catch (error) { console.log(`${n} ${(error as Error).message}`) }
}
"""


def is_operators(manifest: Manifest) -> bool:
    """Whether Kubernetes itself does not know its kind."""
    group = _group(manifest)
    return group in PACKAGES or ("." in group and not group.endswith(".k8s.io"))


class Schemas:
    """The packages, installed in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for file in _FOLDER.iterdir():
            shutil.copy(file, folder)
        # They ask for a newer node than what is used of them needs.
        install = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--engine-strict=false", "--silent"]
        subprocess.run(install, cwd=folder, check=True, stdin=subprocess.DEVNULL)

    def complaints(self, manifests: list[Manifest]) -> list[str]:
        """What is wrong with these, each with the name of its manifest in front."""
        strange = [each for each in manifests if _group(each) not in PACKAGES | OURS]
        return [
            *(f"{named(each)}: nobody here has a schema of {each['apiVersion']}" for each in strange),
            *self._held_against_schemas([each for each in manifests if each not in strange]),
        ]

    def _held_against_schemas(self, manifests: list[Manifest]) -> Iterator[str]:
        head = _head(manifests)
        check = [head, *(_line(number, each) for number, each in enumerate(manifests))]
        (self._folder / "check.ts").write_text("\n".join(check) + "\n", encoding="utf-8")
        yield from self._typed(head.count("\n") + 2, manifests)
        yield from self._validated(manifests)

    def _typed(self, first: int, manifests: list[Manifest]) -> Iterator[str]:
        for line in self._run(str(self._folder / "node_modules" / ".bin" / "tsc"), *_OPTIONS, "check.ts"):
            if line.startswith(" "):
                continue  # the compiler goes on about the line before
            place = _PLACE.match(line)
            assert place is not None, line
            assert int(place[1]) >= first, line
            yield f"{named(manifests[int(place[1]) - first])}: {place[2]}"

    def _validated(self, manifests: list[Manifest]) -> Iterator[str]:
        for line in self._run("node", "check.js"):
            number, _, told = line.partition(" ")
            yield f"{named(manifests[int(number)])}: {told}"

    def _run(self, *command: str) -> list[str]:
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        assert not done.stderr, done.stderr
        return done.stdout.splitlines()


def _head(manifests: list[Manifest]) -> str:
    kinds = sorted({(each["apiVersion"], each["kind"]) for each in manifests})
    assert len({kind for _, kind in kinds}) == len(kinds), "two kinds of one name"
    places = [(kind, _place(version, kind)) for version, kind in kinds]
    return "".join(f'import {{ {kind}, type I{kind} }} from "{place}";\n' for kind, place in places) + _REPORT


def _place(version: str, kind: str) -> str:
    group = version.partition("/")[0]
    return OURS.get(group) or f"@kubernetes-models/{PACKAGES[group]}/{version}/{kind}"


def _line(number: int, manifest: Manifest) -> str:
    kind = manifest["kind"]
    return f"const d{number}: I{kind} = {json.dumps(manifest)}; report({number}, new {kind}(d{number}));"


def _group(manifest: Manifest) -> str:
    return str(manifest["apiVersion"]).partition("/")[0]
