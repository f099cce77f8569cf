"""deploy/compose in a copy of this checkout, taken step by step as deploy/README.md says it."""

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.authority import Authority
from tests.deploy.engine.daemon import Engine
from tests.deploy.engine.letters import HOST, PASSWORD, USERNAME

ROOT: Final = Path(__file__).parents[3]
DOMAIN: Final = "app.example.com"
PIP: Final = Path("/etc/pip.conf")
PROJECT: Final = "insula"
PUBLIC: Final = "acme-v02.api.letsencrypt.org"
"""Whom Caddy asks for a certificate, unless it is told otherwise."""

_PUBLIC_FILES: Final = {"Caddyfile": "Caddyfile", "crt": "public.crt", "key": "public.key"}
_PUBLIC_AUTHORITY: Final = f"""{{
	admin off
	skip_install_trust
}}
{PUBLIC} {{
	tls /etc/caddy/public.crt /etc/caddy/public.key
	rewrite /directory /acme/local/directory
	acme_server
}}
"""
"""Another Caddy: it looks that the domain leads to whoever asks, through the ports that compose publishes."""

_FILLED_IN: Final = f"""DOMAIN={DOMAIN}
SMTP_HOST={HOST}
SMTP_PORT=587
SMTP_USERNAME={USERNAME}
MAIL_FROM=no-reply@{DOMAIN}
"""


class Installation:
    """A folder with compose.yaml in it, and what runs of that."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.checkout = folder / "checkout"
        self.folder = self.checkout / "deploy" / "compose"
        for name in ("src", "migrations", "deploy"):
            shutil.copytree(
                ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("secrets", "state", ".env")
            )
        for name in ("LICENSE", "pyproject.toml", "requirements.lock", "Dockerfile", ".dockerignore"):
            shutil.copy(ROOT / name, self.checkout)

    def prepare(self, authority: Authority) -> None:
        """`./prepare`, .env, the mail server's password; and what stands in for the world, in a file that compose adds."""
        said = subprocess.run(["./prepare"], cwd=self.folder, check=True, capture_output=True, text=True)
        assert "Put the mail server's password" in said.stderr, said
        (self.folder / ".env").write_text(_FILLED_IN)
        password = self.folder / "secrets" / "smtp_password"
        password.write_text(PASSWORD)
        password.chmod(0o444)
        shutil.copy(authority.file, self.folder / "authority.pem")
        for file, name in zip(authority.certificate(PUBLIC), ("public.crt", "public.key"), strict=True):
            shutil.copy(file, self.folder / name)
        (self.folder / "compose.override.yaml").write_text(yaml.safe_dump(self._world()))
        (self.folder / "public.Caddyfile").write_text(_PUBLIC_AUTHORITY)

    def compose(self, *arguments: str) -> str:
        return self.engine.docker("compose", *arguments, folder=self.folder)

    def state(self, service: str) -> dict[str, Any]:
        """What the engine knows of the container of a service."""
        (identifier,) = self.compose("ps", "--all", "--quiet", service).split()
        found: dict[str, Any] = self.engine.inspect("container", identifier)
        return found

    def states(self) -> dict[str, str]:
        """Each service, but for what stands in -> running (healthy), exited (0)..."""
        lines = self.compose("ps", "--all", "--format=json").splitlines()
        found = [json.loads(line) for line in lines]
        return {
            each["Service"]: f"{each['State']} ({each['Health'] or each['ExitCode']})"
            for each in found
            if each["Service"] != "public"
        }

    def trust(self) -> ssl.SSLContext:
        """Of whoever believes the authority that stands in for the public one."""
        root = "/data/caddy/pki/authorities/local/root.crt"
        return ssl.create_default_context(cadata=self.compose("exec", "-T", "public", "cat", root))

    @staticmethod
    def _world() -> dict[str, Any]:
        """The mail server is this machine, and its authority one of ours. pip asks the index that it asks here."""
        worker = {
            "extra_hosts": [f"{HOST}:host-gateway"],
            "environment": {"SSL_CERT_FILE": "/authority.pem"},
            "volumes": ["./authority.pem:/authority.pem:ro"],
        }
        public = {
            "image": "caddy:2",
            "volumes": [f"./public.{each}:/etc/caddy/{name}:ro" for each, name in _PUBLIC_FILES.items()],
            "extra_hosts": [f"{DOMAIN}:host-gateway"],
            "networks": {"front": {"aliases": [PUBLIC]}},
        }
        caddy = {name: worker[name] for name in ("environment", "volumes")}
        given: dict[str, Any] = {"services": {"worker": worker, "caddy": caddy, "public": public}}
        if PIP.is_file():
            for name in ("provision", "migrate", "api", "worker"):
                build = {"context": "../..", "secrets": ["pip"]}
                given["services"].setdefault(name, {})["build"] = build
            given["secrets"] = {"pip": {"file": str(PIP)}}
        return given
