"""What an installation finds around itself: names, an authority, a mail server that asks for a password, certificates."""

from pathlib import Path
from typing import Final

from tests.authority import Authority
from tests.deploy.machine.debian import Machine

SITE: Final = "app.example.com"
MAIL: Final = "smtp.example.com"
MAIL_PASSWORD: Final = "a word that the mail server knows"
LETTERS: Final = "/var/lib/letters"
"""One file for each letter that came."""

MAIL_UNIT: Final = f"""
[Unit]
Before=multi-user.target
[Service]
WorkingDirectory=/opt/insula-1
Environment=LETTERS={LETTERS} CERTIFICATE=/etc/mail PASSWORD="{MAIL_PASSWORD}"
ExecStart=/opt/insula-1/insula python -m tests.deploy.machine.mail_server
[Install]
WantedBy=multi-user.target
"""


def surround(machine: Machine, folder: Path) -> None:
    """All of it, but for HAProxy's certificate."""
    with (machine.root / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 localhost {SITE} {MAIL}\n")
    authority = Authority(folder)
    put(machine, "/usr/local/share/ca-certificates/ours.crt", authority.file.read_text())
    machine.sh("update-ca-certificates")
    for name, place in ((MAIL, "/etc/mail"), (SITE, "/etc/haproxy/certs")):
        chain, key = authority.certificate(name)
        put(machine, f"{place}/{name}.pem", chain.read_text() + key.read_text())
    put(machine, "/etc/systemd/system/mail.service", MAIL_UNIT)
    machine.sh(f"install -d -m 700 {LETTERS} && systemctl enable --now mail")


def put(machine: Machine, place: str, text: str) -> None:
    """A file of root's, mode 0600 where it holds a key."""
    file = machine.root / place.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600 if "PRIVATE KEY" in text else 0o644)
    file.write_text(text)
