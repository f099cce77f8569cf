"""What a registry of images and Docker's own packages would give, made of Debian's: the engine, and four images."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.deploy.engine.daemon import Engine
from tests.k8s.image import CERTIFICATES, PACKAGES

HERE: Final = Path(__file__).parent
ROOTS: Final = {
    "bookworm": PACKAGES,
    "trixie": "postgresql-17,valkey-server,wget,libcap2-bin,ca-certificates",
}
"""Debian's release -> what is in it."""

TAKEN: Final = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd", "caddy")
"""Programs in Go run on whatever Debian: these are unpacked, not installed. runc does not, and is the machine's."""

IMAGES: Final = {
    "python:3.12-slim-bookworm": "python",
    "postgres:17-bookworm": "postgres",
    "valkey/valkey:8-bookworm": "valkey",
    "caddy:2": "caddy",
}
"""The names in compose.yaml and Dockerfile -> the target in images.Dockerfile that stands in for it."""


def fetch(roots: Path) -> None:
    """From Debian, unless it is there; minutes, most of them for unpacking."""
    running = []
    for release, packages in ROOTS.items():
        if not (roots / f"{release}.done").exists():
            shutil.rmtree(roots / release, ignore_errors=True)
            running.append(_debootstrap(roots, release, "--variant=minbase", f"--include={packages}"))
    if not (roots / "sid.done").exists():
        shutil.rmtree(roots / "sid", ignore_errors=True)
        options = ["--variant=minbase", "--download-only", f"--include={','.join(TAKEN)}"]
        running.append(_debootstrap(roots, "sid", *options))
    for release, process in running:
        said, _ = process.communicate()
        assert process.returncode == 0, said.decode()[-3000:]
        (roots / f"{release}.done").touch()
    for package in TAKEN:
        (file,) = (roots / "sid" / "var" / "cache" / "apt" / "archives").glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", file, roots / "taken"], check=True)
    plugins = roots / "docker" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    for plugin in (roots / "taken" / "usr" / "libexec" / "docker" / "cli-plugins").iterdir():
        shutil.copy(plugin, plugins)


def make(engine: Engine, roots: Path, folder: Path) -> None:
    """The four images, under the names by which they are asked for."""
    shutil.copy(CERTIFICATES, roots / "bookworm" / CERTIFICATES.removeprefix("/"))
    for release in ROOTS:
        left_out = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev", "var/cache/apt", "usr/share/doc")]
        with subprocess.Popen(["tar", "-C", roots / release, *left_out, "-c", "."], stdout=subprocess.PIPE) as tar:
            imported = engine.start(["import", "-", f"debian-{release}"], stdin=tar.stdout, stdout=subprocess.DEVNULL)
            assert imported.wait() == 0
    context = folder / "standins"
    context.mkdir()
    shutil.copy(HERE / "postgres-entrypoint", context)
    shutil.copy(roots / "taken" / "usr" / "bin" / "caddy", context)
    for name, target in IMAGES.items():
        file = str(HERE / "images.Dockerfile")
        engine.docker("build", "-q", f"--target={target}", f"--file={file}", "-t", name, str(context))


def _debootstrap(roots: Path, release: str, *options: str) -> "tuple[str, subprocess.Popen[bytes]]":
    command = ["debootstrap", *options, release, str(roots / release)]
    return release, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
