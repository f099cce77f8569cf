"""Steps 1 to 7 of the README, and what it says of what they make."""

import json
import re
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.deploy.machine.debian import Machine, Wrong
from tests.deploy.machine.surroundings import MAIL_PASSWORD, SITE, surround
from tests.deploy.test_installation import block
from tests.deploy.test_systemd import DEPLOY, SECRETS, USED

UNITS: Final = ("insula-api@8001", "insula-api@8002", "insula-api@8003", "insula-worker@01", "insula-worker@02")
ADA: Final = "ada@example.com"  # whom the README makes an operator
CLONE: Final = "ADDRESS-OF-YOUR-COPY"
COPY: Final = "/srv/insula"
FILES: Final = 40_100
"""What HAProxy opens for the connections that haproxy.cfg lets it have."""
README: Final = (DEPLOY / "README.md").read_text()
_began = time.monotonic()


def seen(text: str) -> None:
    """Told with the seconds since the beginning."""
    print(f"[{time.monotonic() - _began:4.0f} s] {text}", flush=True)


def filled(text: str, given: dict[str, str]) -> str:
    """A block of the README as whoever reads it fills it in."""
    for name, value in given.items():
        if name not in text:
            raise Wrong(f"the README does not say {name}")
        text = text.replace(name, value)
    return text


def program(machine: Machine, folder: Path) -> None:
    machine.sh("update-ca-certificates")
    machine.sh(filled(block(CLONE), {CLONE: COPY}), seconds=1200)
    seen("1. The program: apt, clone and compileall as they stand.")
    surround(machine, folder)


def settings(machine: Machine) -> None:
    machine.sh(block("openssl rand -base64 32 >secret_key"))
    machine.sh(f"echo '{MAIL_PASSWORD}' >/etc/insula/smtp_password")
    for name in SECRETS:
        if machine.ask(f"runuser -u insula -- cat /etc/insula/{name} 2>&1").count("Permission denied") != 1:
            raise Wrong(f"insula reads {name}")
    seen("2. Settings and secrets: made, and the user insula reads none of the files.")


def servers(machine: Machine) -> None:
    machine.sh(block("insula provision"))
    seen("3. Redis with its password, PostgreSQL provisioned.")


def processes(machine: Machine) -> None:
    machine.sh(block("systemctl enable --now insula-api@8001"))
    ready(machine)
    seen(f"4. The processes: {', '.join(UNITS)} are active, /readyz of each API is 200.")
    (limit,) = re.findall(r"`systemd-analyze security` counts ([\d.]+) at most", README)
    for unit in (*UNITS, "insula-migrate"):
        said = machine.ask(f"systemd-analyze security --no-pager {unit}.service")
        (counted,) = re.findall(rf"exposure level for {unit}.service: ([\d.]+)", said)
        if float(counted) > float(limit):
            raise Wrong(f"{unit}: {counted}\n{said}")
    seen(f"   systemd-analyze security counts {limit} or less against each of them as they run.")
    for unit in UNITS:
        sees_its_own(machine, unit)
    seen("   Each process sees its own credentials and nobody else's, and has none in its environment.")


def sees_its_own(machine: Machine, unit: str, *more: str) -> None:
    """Its folder, with what the unit loads and ``more``, and no other; no secret stands in its environment."""
    inside = f"nsenter -t {main_process(machine, unit)} -m -U --preserve-credentials"
    there = machine.ask(f"{inside} ls /run/credentials").split()
    names = set(machine.ask(f"{inside} ls /run/credentials/{unit}.service").split())
    if there != [f"{unit}.service"] or names != USED[re.sub(r"@\w+", "@.service", unit)] | set(more):
        raise Wrong(f"{unit} sees {there} and {names}")
    secrets = {machine.sh(f"cat /etc/insula/{name}").strip() for name in SECRETS}
    environment = machine.sh(f"tr '\\0' '\\n' </proc/{main_process(machine, unit)}/environ")
    if told := [secret for secret in secrets if secret in environment]:
        raise Wrong(f"{unit} is told {len(told)} secrets in its environment")


def front(machine: Machine) -> None:
    allowed = int(machine.sh("awk '/open files/ { print $5 }' /proc/1/limits"))
    if allowed < FILES:  # which systemd allows its services everywhere but in a machine that may raise no limit
        less = allowed // 2 - 100
        machine.sh(f"echo 'EXTRAOPTS=\"-S /run/haproxy-master.sock -n {less}\"' >>/etc/default/haproxy")
        seen(f"   NOT AS IT STANDS: HAProxy for {less} connections, since this machine allows {allowed} open files.")
    machine.sh(block("systemctl restart haproxy"))
    machine.until(partial(served, machine), "HAProxy serves", seconds=10)
    seen(f"5. In front: https://{SITE}/readyz is 200 through HAProxy.")


def served(machine: Machine) -> bool:
    return machine.ask(f"curl -s -o /dev/null -w '%{{http_code}}' https://{SITE}/readyz") == "200"


def prometheus(machine: Machine) -> None:
    machine.sh(block("prometheus-alertmanager"), seconds=1200)
    machine.until(partial(watched, machine), "Prometheus' targets are up", seconds=90)
    seen(f"6. Prometheus: {len(targets(machine))} targets, all up, the exporter's among them; no rule fails.")
    listening = {line.split()[3] for line in machine.sh("ss -ltnH").splitlines()}
    if public := {each for each in listening if not each.startswith(("127.", "[::1]"))} - {"0.0.0.0:80", "0.0.0.0:443"}:
        raise Wrong(f"open to everybody: {public}")
    seen(
        f"   Of {len(listening)} places that something listens on, only HAProxy's ports 80 and 443 are open to others."
    )


def targets(machine: Machine) -> dict[str, str]:
    """Each target's health."""
    told = asked_of_prometheus(machine, "targets")
    return {each["scrapeUrl"]: each["health"] for each in told.get("activeTargets", [])}


def watched(machine: Machine) -> bool:
    health = targets(machine)
    groups = asked_of_prometheus(machine, "rules").get("groups", [])
    rules = {rule["health"] for group in groups for rule in group["rules"]}
    up = asked_of_prometheus(machine, "query?query=pg_up").get("result", [])
    told = machine.ask("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9093/-/ready")
    return (set(health.values()), rules, [each["value"][1] for each in up], told) == ({"up"}, {"ok"}, ["1"], "200")


def asked_of_prometheus(machine: Machine, what: str) -> dict[str, Any]:
    text = machine.ask(f"curl -s 'http://127.0.0.1:9090/api/v1/{what}'")
    data: dict[str, Any] = json.loads(text)["data"] if text.startswith("{") else {}
    return data


def works(machine: Machine) -> None:
    seen(
        f"   Over https, through HAProxy: {visit(machine, 'sign-up', ADA)} after the letter that the mail server took."
    )
    said = machine.sh(block("insula operator add"))
    if said.count('{"status":"ok"}') != 4 or "\nwrong" in said or f"{ADA} is an operator." not in said:
        raise Wrong(said)
    well = len(re.findall("(?m)^well ", said))
    seen(
        f"7. Does it work? insula doctor finds {well} things well and none wrong, /readyz is 200, {ADA} is an operator."
    )


def visit(machine: Machine, *words: str) -> str:
    return machine.sh(f"cd /opt/insula && ./insula python -m tests.deploy.machine.visitor {' '.join(words)}").strip()


def ready(machine: Machine, units: tuple[str, ...] = UNITS) -> float:
    """Wait until every unit is active and every API process serves."""
    ports = [unit.partition("@")[2] for unit in units if "api" in unit]
    asked = " && ".join(f"curl -sf http://127.0.0.1:{port}/readyz >/dev/null" for port in ports)
    command = f"systemctl is-active -q {' '.join(units)} && {asked or 'true'} && echo yes"
    return machine.until(lambda: machine.ask(command) == "yes\n", f"{units} are ready")


def main_process(machine: Machine, unit: str) -> str:
    return machine.sh(f"systemctl show -P MainPID {unit}").strip()
