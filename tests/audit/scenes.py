#!/usr/bin/python3
"""
Hosts to audit: each scene starts two guests, "red" and "blue", in one way, audits them, and ends them.

    tests/audit/scenes.py [--record DIR] SCENE...    as root, in tools/lab; SCENE.json (and SCENE.recording) come to DIR

All but the baselines differ from a baseline (`base`) by one planted hole, which the audit must find by the ids in `worse` and by
no other.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build"))
GUEST = BUILD / "guests/hlt.elf"
CGROUPS = Path("/sys/fs/cgroup")
UIDS = {"red": 70001, "blue": 70002}
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454ca, 0x0002, 0x1000, 0x4000  # linux/if_tun.h
SANDBOX = "on,obsolete=deny,spawn=deny"  # elevateprivileges=deny would forbid -runas
START_S = 600  # the lab's clock can run ahead of its processor
SETTLED_S = 3


class Stage:
    """What a scene has put on the host; all of it goes away again."""

    def __init__(self, out):
        self.out = out
        self.dir = Path(tempfile.mkdtemp(prefix="scene-", dir="/run"))
        self.dir.chmod(0o755)
        self.processes = []
        self.undo = contextlib.ExitStack()       # when all processes have ended
        self.guests_end = contextlib.ExitStack()  # before

    def start(self, command, **options):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def cgroup(self, name, memory="512M"):
        group = CGROUPS / f"scene-{name}"
        group.mkdir()
        self.undo.callback(self.remove_cgroup, group)
        (group / "memory.max").write_text(memory)
        (group / "memory.swap.max").write_text("0")
        (group / "pids.max").write_text("64")
        (group / "cpu.max").write_text("100000 100000")
        return group

    @staticmethod
    def remove_cgroup(group):
        for _ in range(200):
            try:
                group.rmdir()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{group} stays busy")

    def disk(self, name, owner):
        directory = self.dir / f"{name}.d"
        directory.mkdir(mode=0o700)
        os.chown(directory, owner, owner)
        image = directory / "disk.raw"
        image.write_bytes(b"\0" * (4 << 20))
        image.chmod(0o600)
        os.chown(image, owner, owner)
        return image

    def tap(self, name, bridge):
        """A descriptor of a new tap interface, which goes with its last descriptor."""
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        self.undo.callback(os.close, tun)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        run("ip", "link", "set", name, "master", bridge, "up")
        return tun

    def bridge(self, name):
        run("ip", "link", "add", name, "type", "bridge")
        self.undo.callback(run, "ip", "link", "del", name)
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        run("ip", "link", "set", name, "up")
        return name

    def close(self):
        self.guests_end.close()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.undo.close()
        shutil.rmtree(self.dir)


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def enter(group):
    """For preexec_fn: into the cgroup."""
    return lambda: (group / "cgroup.procs").write_text("0") if group else None


def qemu(stage, name, *arguments, uid=None, sandbox=True, hardened=True, disk=None, memory=None,
         fds=()):
    """A QEMU with a bare-metal guest. hardened=False: as its manual shows it, as root, with its default devices."""
    command = ["qemu-system-x86_64", "-name", f"guest={name},debug-threads=on", "-accel", "kvm", "-display", "none",
               "-kernel", str(GUEST)]
    group = None
    if hardened:
        uid = uid or UIDS[name]
        memory = memory or "memory-backend-memfd,id=ram,size=64M,share=on"
        command = ["unshare", "--ipc", "--net", "--uts", *command]
        command += ["-M", "microvm,mem-merge=off,dump-guest-core=off,memory-backend=ram", "-nodefaults", "-no-user-config",
                    "-object", memory, "-m", "64", "-runas", f"{uid}:{uid}"]
        group = stage.cgroup(name)
        if sandbox:
            command += ["-sandbox", SANDBOX]
        if disk:
            command += ["-drive", f"file={disk},format=raw,if=none,id=disk,file.locking=off",
                        "-device", "virtio-blk-device,drive=disk,share-rw=on"]
    else:
        command += ["-m", "64"]
    return stage.start([*command, *arguments], preexec_fn=enter(group), pass_fds=fds)


def pair(stage, *arguments, **options):
    for name in UIDS:
        qemu(stage, name, *arguments, **options)


@dataclass
class Scene:
    start: object
    base: str = ""
    worse: set = field(default_factory=set)  # ids whose worst verdict is worse than in the base
    append: str = ""                         # for the lab's kernel


SCENES = {}


def scene(base="", worse=()):
    def add(function):
        SCENES[function.__name__] = Scene(function, base, set(worse))
        return function
    return add


@scene()
def separate(stage):
    """QEMU with -sandbox on and -runas, each with its own uid, disk and cgroup."""
    for name, uid in UIDS.items():
        qemu(stage, name, disk=stage.disk(name, uid))


@scene()
def root_plain(stage):
    """QEMU as root, with no hardening at all."""
    pair(stage, hardened=False)


@scene("separate", ["STO-RW", "STO-PERM"])  # the image is open to its owner's id, which is that of one of the two
def shared_disk(stage):
    disk = stage.disk("red", UIDS["red"])
    pair(stage, disk=disk)


@scene("separate", ["PRIV-UIDUNIQ", "STO-PERM"])  # each other's image is open to the id that both have
def same_uid(stage):
    for name in UIDS:
        qemu(stage, name, uid=70001, disk=stage.disk(name, 70001))


@scene("separate", ["MEM-SHRW", "MEM-FOREIGN", "MEM-SEALS"])
def shared_memory(stage):
    shared = stage.dir / "shared"
    shared.touch(mode=0o600)
    for name, uid in UIDS.items():
        qemu(stage, name, "-object", f"memory-backend-file,id=shared,size=16M,share=on,mem-path={shared}",
             disk=stage.disk(name, uid))


@scene()
def backends(stage):
    """Each with a shared folder, which a process of its own serves (virtiofsd as root, in its sandbox)."""
    for name, uid in UIDS.items():
        folder = stage.dir / f"{name}.folder"
        folder.mkdir(mode=0o700)
        socket = stage.dir / f"{name}.sock"
        stage.start(["/usr/lib/qemu/virtiofsd", f"--socket-path={socket}", "-o", f"source={folder}", "-o", "cache=none"])
        wait_for(socket.exists, f"{socket}")
        qemu(stage, name, "-chardev", f"socket,id=fs,path={socket}",
             "-device", "vhost-user-fs-device,chardev=fs,tag=shared", disk=stage.disk(name, uid))


def with_taps(stage, bridges):
    for name, uid in UIDS.items():
        tap = stage.tap(f"tap-{name}", bridges[name])
        qemu(stage, name, "-netdev", f"tap,id=net,fd={tap}", "-device", "virtio-net-device,netdev=net",
             disk=stage.disk(name, uid), fds=[tap])


@scene()
def own_bridges(stage):
    with_taps(stage, {name: stage.bridge(f"br-{name}") for name in UIDS})


# What a guest may send is filtered on neither bridge, but now another guest hears it.
@scene("own_bridges", ["NET-L2", "NET-MAC", "NET-ARP-IP", "NET-RA-DHCP"])
def shared_bridge(stage):
    bridge = stage.bridge("br-both")
    with_taps(stage, {name: bridge for name in UIDS})


DOMAIN = """<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{guest}</kernel></os>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <memballoon model='none'/>
  </devices>
</domain>
"""


@scene()
def libvirt(stage):
    """Debian's libvirt as it comes, with AppArmor."""
    images = Path("/var/lib/libvirt/images")
    images.mkdir(parents=True, exist_ok=True)
    guest = images / "guest.elf"
    shutil.copy(GUEST, guest)
    guest.chmod(0o644)
    os.chmod("/dev/kvm", 0o660)
    shutil.chown("/dev/kvm", "root", "kvm")
    run("apparmor_parser", "-r", "/etc/apparmor.d/usr.sbin.libvirtd", "/etc/apparmor.d/usr.lib.libvirt.virt-aa-helper")
    # Asking QEMU what it can do takes a minute in software: nobody may lose patience meanwhile.
    with open("/etc/libvirt/libvirtd.conf", "a", encoding="utf-8") as settings:
        settings.write("keepalive_interval = -1\n")
    stage.start(["virtlogd"])
    stage.start(["libvirtd"])
    wait_for(lambda: Path("/run/libvirt/libvirt-sock").exists(), "libvirtd's socket", 30)
    for name in UIDS:
        disk = images / f"{name}.raw"
        disk.write_bytes(b"\0" * (4 << 20))
        disk.chmod(0o600)
        xml = stage.dir / f"{name}.xml"
        xml.write_text(DOMAIN.format(name=name, guest=guest, disk=disk), encoding="utf-8")
        run("virsh", "-q", "-k", "0", "create", str(xml))
        stage.guests_end.callback(subprocess.run, ["virsh", "-q", "destroy", name], check=False)


@scene()
def bulkhead(stage):
    for name in UIDS:
        stage.start([str(BUILD / "bulkhead"), "run", name, "--kernel", str(GUEST), "--mem", "64M", "--no-rng"])


@scene()
def bulkhead_devices(stage):
    """Each with a disk and an entropy device, which are processes of their own."""
    for name in UIDS:
        stage.start([str(BUILD / "bulkhead"), "run", name, "--kernel", str(GUEST), "--mem", "64M",
                     "--disk", str(stage.disk(name, 0))])


def wait_for(condition, what, timeout=START_S):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"no {what} within {timeout} s")
        time.sleep(0.1)


def machines():
    """What the processes that hold a virtual machine have put on: a monitor drops its privileges after it has made it."""
    found = {}
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if "kvm-vcpu" in (proc / "maps").read_text(errors="replace"):
                status = (proc / "status").read_text(errors="replace").splitlines()
                found[proc.name] = [line for line in status if line.startswith(("Uid", "Seccomp", "Threads"))]
    return found


def settled():
    """True when two machines are there and have put on nothing more for a while."""
    before = machines()
    if len(before) < 2:
        return False
    time.sleep(SETTLED_S)
    return machines() == before


def audit(out, name):
    command = [str(BUILD / "bulkhead-audit"), "--deep", "--json", "--record", str(out / f"{name}.recording")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 6, 10):
        raise RuntimeError(f"the audit ended with status {done.returncode}")
    (out / f"{name}.json").write_bytes(done.stdout)
    return json.loads(done.stdout)


def play(name, out):
    stage = Stage(out)
    try:
        SCENES[name].start(stage)
        try:
            wait_for(settled, "two running guests")
        except RuntimeError as error:
            said = [f"{p.args[0]} ended with {p.returncode}: {p.stderr.read().decode(errors='replace')}"
                    for p in stage.processes if p.poll() is not None]
            raise RuntimeError(f"{error}; {' '.join(said)}") from None
        return audit(out, name)
    finally:
        stage.close()


ORDER = ["NA", "PASS", "WARN", "UNKNOWN", "FAIL"]


def worst(report):
    """The worst verdict of each id, as an index into ORDER."""
    found = {}
    for finding in report["findings"]:
        found[finding["id"]] = max(found.get(finding["id"], 0), ORDER.index(finding["verdict"]))
    return found


def worse(report, base):
    """Ids whose worst verdict is worse than in the base."""
    now, before = worst(report), worst(base)
    return {id for id, verdict in now.items() if verdict > max(before.get(id, 0), ORDER.index("PASS"))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, default=Path(os.environ.get("LAB_OUT", ".")))
    parser.add_argument("scenes", nargs="*", default=list(SCENES))
    options = parser.parse_args()
    failed = []
    for name in options.scenes:
        start = time.monotonic()
        try:
            report = play(name, options.record)
            print(f"{name}: {len(report['guests'])} guests, {report['counts']}, {time.monotonic() - start:.0f} s", flush=True)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            failed.append(name)
            print(f"{name}: FAILED: {error}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
