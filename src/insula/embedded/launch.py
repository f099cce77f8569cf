"""Become a server: leave root, ask to be stopped when the starter dies, exec. A script, never imported.

It is not a `preexec_fn`, because that may deadlock in a process that has threads.
"""

import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arguments: the starter's pid, the signal to stop on, the identity to take, then the command."""
    starter, stop_signal, identity, *command = sys.argv[1:]
    try:
        if identity == "namespace":
            _enter_user_namespace()
        elif identity == "nobody":
            _become_nobody()
        if sys.platform == "linux":
            # After the identity: the kernel forgets this request when the credentials change.
            _call("prctl", PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
            if os.getppid() != int(starter):
                return  # The starter died before we could ask.
        os.execv(command[0], command)  # noqa: S606 - the command comes from our own launcher
    except OSError as error:
        sys.exit(f"cannot start {command[0]} as {identity}: {error}")


def _enter_user_namespace() -> None:
    """Root outside, `nobody` inside: Postgres refuses root, and initdb wants a user that has a name."""
    nobody = pwd.getpwnam("nobody")
    outside = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {outside[0]} 1")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {outside[1]} 1")


def _become_nobody() -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


main()
