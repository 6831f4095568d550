"""
Throwaway users who may use /dev/kvm, without a change to the host: what makes a user (/etc/passwd, /etc/subuid, a device
node for group kvm, a runtime directory) is mounted in a mount namespace that only the user's commands see.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import proc
from bulkhead import BUILD, PREFIX
from host import seconds, wait_until

KVM_GID = 64993
IDS_PER_GUEST = 64  # JAIL_IDS_PER_GUEST
_numbers = itertools.count()

# mknod, because the host's own node may belong to root alone.
SETUP = """
mkdir node && mount -t tmpfs -o mode=755 none node
mknod node/kvm c 10 232 && chown 0:{kvm} node/kvm && chmod 0660 node/kvm && mount --bind node/kvm /dev/kvm
for file in passwd group subuid subgid; do [ -e /etc/$file ] || touch /etc/$file; mount --bind $file /etc/$file; done
mkdir build && mount --bind "$0" build
{more}
echo ready
exec sleep infinity
"""


class Account:
    """
    One user. subordinate: how many subordinate ids the user has, in lines for its name or for its uid; more: shell commands that change what the user's
    commands see.
    """

    def __init__(self, subordinate=16 * IDS_PER_GUEST, more="", by_uid=False):
        number = next(_numbers)
        self.name = f"{PREFIX}user{number}"
        self.uid = self.gid = 64000 + number
        self.first_uid, self.first_gid = 1_000_000_000 + number * 100_000, 1_500_000_000 + number * 100_000
        self.subordinate = subordinate
        self.home = Path(tempfile.mkdtemp(prefix="e2e-account.", dir="/run"))  # which others may pass
        self.home.chmod(0o755)
        self.runtime_dir = self.home / "runtime"
        self.runtime_dir.mkdir(0o700)
        os.chown(self.runtime_dir, self.uid, self.gid)
        self.state_dir = self.runtime_dir / "bulkhead"
        self._write("passwd", f"{self.name}:x:{self.uid}:{self.gid}::/:/bin/sh")
        self._write("group", f"{self.name}:x:{self.gid}:", f"kvm:x:{KVM_GID}:{self.name}")
        lines = (f"{self.uid if by_uid else self.name}:{first}:{subordinate}" for first in (self.first_uid, self.first_gid))
        for file, line in zip(("subuid", "subgid"), lines):
            self._write(file, *[line] if subordinate else [])
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", SETUP.format(kvm=KVM_GID, more=more),
             str(BUILD)], cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"

    def _write(self, file, *lines):
        """The host's own lines, but for those of names taken here, and these."""
        path = Path("/etc", file)
        own = {line.split(":")[0] for line in lines}
        text = path.read_text().splitlines() if path.exists() and file in ("passwd", "group") else []
        (self.home / file).write_text("".join(f"{line}\n" for line in text + list(lines)
                                              if line in lines or line.split(":")[0] not in own))

    def command(self, argv):
        """A command as this user runs it, in place of the process that starts it."""
        words = [str(word).replace(str(BUILD), str(self.home / "build")) for word in argv]
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "setpriv", "--reuid", str(self.uid), "--regid",
                str(self.gid), "--groups", str(KVM_GID), "env", f"XDG_RUNTIME_DIR={self.runtime_dir}", *words]

    def run(self, *argv, **kwargs):
        """Runs a command as this user to its end."""
        return subprocess.run(self.command(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds(30),
                              **kwargs)

    def bulkhead(self, *words):
        return self.run(BUILD / "bulkhead", *words)

    def namespaces(self):
        return proc.namespaces(self._holder.pid)

    def _left(self):
        """Files of guests, and processes with the user's ids."""
        found = {str(path) for name in ("guests", "ids") if (self.state_dir / name).is_dir()
                 for path in (self.state_dir / name).iterdir()}
        for pid in proc.pids():
            try:
                uid = os.stat(f"/proc/{pid}").st_uid
            except FileNotFoundError:
                continue
            of_user = uid == self.uid or 0 <= uid - self.first_uid < self.subordinate
            if of_user and proc.is_alive(pid):
                found.add(f"process {pid}")
        return found

    def close(self):
        """Within a second nothing of the user's guests is there; then goes the user."""
        try:
            wait_until(lambda: not self._left(), 1, lambda: f"left behind: {sorted(self._left())}")
        finally:
            self._holder.kill()
            self._holder.wait()
            self._holder.stdout.close()
            shutil.rmtree(self.home)


class SessionAccount:
    """A user with a systemd session, in the lab, where nothing stays: what makes this user is not undone."""

    def __init__(self):
        self.name = f"user{next(_numbers)}"
        subprocess.run(["groupadd", "--force", "kvm"], check=True)
        subprocess.run(["useradd", "--groups", "kvm", self.name], check=True)  # with subordinate ids
        subprocess.run("chgrp kvm /dev/kvm && chmod 0660 /dev/kvm", shell=True, check=True)
        subprocess.run(["loginctl", "enable-linger", self.name], check=True)
        self.uid, self.gid = pwd.getpwnam(self.name)[2:4]
        self.service = f"user@{self.uid}.service"
        subprocess.run(["systemctl", "start", self.service], check=True)
        self.runtime_dir = Path(f"/run/user/{self.uid}")
        self.state_dir = self.runtime_dir / "bulkhead"
        self._build = tempfile.mkdtemp(prefix="e2e-build.", dir="/run")  # BUILD may be in a home that others may not pass
        os.chmod(self._build, 0o755)
        subprocess.run(["mount", "--bind", BUILD, self._build], check=True)

    def command(self, argv):
        """A command as this user runs it, in place of the process that starts it."""
        return ["setpriv", "--reuid", str(self.uid), "--regid", str(self.gid), "--init-groups", "env",
                f"XDG_RUNTIME_DIR={self.runtime_dir}", *(str(word).replace(str(BUILD), self._build) for word in argv)]

    def run(self, *argv, **kwargs):
        """Runs a command as this user to its end."""
        return subprocess.run(self.command(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds(30),
                              **kwargs)

    def bulkhead(self, *words):
        return self.run(BUILD / "bulkhead", *words)
