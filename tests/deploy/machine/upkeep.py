"""Workers for each queue, and the backups with their way back: the README's blocks, on the machine that runs."""

import re
from functools import partial
from typing import Final

from tests.deploy.machine.debian import Machine, Wrong
from tests.deploy.machine.installation import (
    ADA,
    README,
    UNITS,
    block,
    filled,
    ready,
    seen,
    sees_its_own,
    served,
    visit,
)
from tests.deploy.machine.life import working
from tests.deploy.machine.surroundings import LETTERS
from tests.deploy.test_systemd import DEPLOY

BULK: Final = "insula-worker@11"
HEADER: Final = (DEPLOY / "backups" / "pgbackrest.conf").read_text()
MOMENT: Final = "2026-11-21 05:54:10+00"


def queues(machine: Machine) -> None:
    with working(machine, "A worker for each queue"):
        machine.sh(block("INSULA_WORKER_QUEUES=default"))
        ready(machine, (*UNITS, BULK))
        machine.sh("sleep 3")
    machine.sh(f"systemctl stop {BULK}")
    visit(machine, "invite", ADA, "waits@example.com")
    visit(machine, "sign-up", "grace@example.com")  # whose letter is in the other queue
    if arrived(machine, "waits@example.com"):
        raise Wrong("somebody else than worker 11 served the queue of invitations")
    machine.sh(f"systemctl start {BULK}")
    machine.until(lambda: arrived(machine, "waits@example.com"), "the invitation is mailed")
    seen("   The letter of an invitation waited for worker 11, and that of a sign-up for nobody.")


def own_redis(machine: Machine) -> None:
    other = "s,6379,6380,; s,/redis/redis-server.pid,-bulk/redis-server.pid,; s,redis-server.log,redis-bulk.log,"
    machine.sh(f"sed '{other}' /etc/redis/redis.conf >/etc/redis/redis-bulk.conf")
    machine.sh("chown redis: /etc/redis/redis-bulk.conf && systemctl enable --now redis-server@bulk")
    address = {"rediss://:PASSWORD@ADDRESS:6379": "$(sed s/6379/6380/ /etc/insula/redis_url)"}
    doctor = machine.sh(filled(block("jobs_redis_url-bulk"), address))
    ready(machine, (*UNITS, BULK))
    sees_its_own(machine, BULK, "jobs_redis_url")
    if "wrong" in doctor:
        raise Wrong(doctor)
    with working(machine, "A Redis of its own for worker 11"):
        machine.sh("sleep 6")


def arrived(machine: Machine, address: str) -> bool:
    return address in machine.ask(f"ls {LETTERS}")


def backups(machine: Machine) -> None:
    machine.sh(block("apt install pgbackrest"), seconds=600)
    settings = "\n".join(re.findall(r"(?m)^#   (archive_\w+ = (?:'[^']*'|\S+))", HEADER))
    machine.sh(
        f"cat >/etc/postgresql/15/main/conf.d/archive.conf <<'END'\n{settings}\nEND\nsystemctl restart postgresql"
    )
    for command in re.findall(r"(?m)^#   (pgbackrest (?:--\S+ )+[\w-]+)", HEADER):
        machine.sh(f"cd / && runuser -u postgres -- {command}")
    seen("Backups: pgBackRest set up, a full and an incremental backup made, and checked.")
    scheduled(machine)
    ready(machine)
    before = visit(machine, "projects", ADA)
    moment = machine.sh("date -u '+%F %T.%6N+00'").strip()
    machine.sh("sleep 2")
    with working(machine, "After that moment"):
        machine.sh("sleep 6")
    machine.sh("cd / && runuser -u postgres -- psql -qc 'SELECT pg_switch_wal()' >/dev/null && sleep 2")
    said = machine.sh(filled(block("--type=time"), {MOMENT: moment}))
    ready(machine, (*UNITS, BULK, "insula-backup@full.timer", "insula-backup@incr.timer"))
    machine.until(partial(served, machine), "HAProxy, which found nobody meanwhile, serves", seconds=10)
    if (after := visit(machine, "projects", ADA)) != before:
        raise Wrong(f"restored to {moment}: {after}\ninstead of {before}\n{said}")
    seen(
        f"The way back to {moment}: the same {before.count(',') + 1} projects as then, and every enabled unit is active."
    )
    with working(machine, "After the restore"):
        machine.sh("sleep 6")


def scheduled(machine: Machine) -> None:
    """The timers wait for their nights, and what they start makes a backup each, both at once as after a night without."""
    if (said := machine.sh(block("systemctl enable --now insula-backup@full.timer"))).count("insula-backup@") < 4:
        raise Wrong(said)
    made = machine.ask("runuser -u postgres -- pgbackrest --stanza=insula info").count(" backup: ")
    machine.sh("systemctl start insula-backup@full insula-backup@incr", seconds=300)
    told = machine.ask("runuser -u postgres -- pgbackrest --stanza=insula info")
    if told.count(" backup: ") != made + 2:
        raise Wrong(told)
    (limit,) = re.findall(r"([\d.]+) against that of the backups", README)
    said = machine.ask("systemd-analyze security --no-pager insula-backup@full.service")
    (counted,) = re.findall(r"exposure level for insula-backup@full.service: ([\d.]+)", said)
    if float(counted) > float(limit):
        raise Wrong(f"{counted}\n{said}")
    seen(
        "   Two timers wait for their nights; a full and an incremental backup, started at once, were made by their unit."
    )


def slow_statements(machine: Machine) -> None:
    for holding in ("statements.conf", "CREATE EXTENSION pg_stat_statements"):
        machine.sh(block(holding))
    ready(machine, (*UNITS, BULK))
    with working(machine, "Statements are counted"):
        machine.sh("sleep 6")
    if "app_rw" not in (told := machine.sh(block("total_exec_time DESC"))):
        raise Wrong(told)
    seen(f"Slow statements: {told.count(' app_')} of the ten that took most are of the program's logins.")
