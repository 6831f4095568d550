"""The system calls that guests' processes, and bulkhead-json, really make, against the policies of their filters.

syscall-trace (tests/trace) counts each call of each thread from exec of bulkhead on, for every filter that is
in force in the thread, and which entry of the policy lets it through. Here guests live through what guests live
through; what was used then must be what is allowed. An entry that no guest uses is removed, or its reason starts with a
mark that says when it is. It is judged by the filter whose policy file it stands in, not by those that include the file.

  [error]   only when something goes wrong: no guest here may use it
  [varies]  depends on the host, its kernel, or on which thread is first: used or not
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import elf
import linux_guest
import proc
from bulkhead import BUILD, PROGRAM, REPO, Guests, Status, command, needs_kvm, new_name
from host import STATE, Host, seconds, wait_until

# In the lab each traced call takes long, all of them ten minutes.
pytestmark = [pytest.mark.both, needs_kvm, *([pytest.mark.slow] if "LAB" in os.environ else [])]

TRACE = BUILD / "tests/trace/syscall-trace"
POLICIES = {"supervisor": "src/supervisor/supervisor.policy",
            "supervisor_restart": "src/supervisor/supervisor_restart.policy",
            "supervisor_devices": "src/supervisor/supervisor_devices.policy",
            "supervisor_sockets": "src/supervisor/supervisor_sockets.policy",
            "supervisor_storage": "src/supervisor/supervisor_storage.policy",
            "vmm_setup": "src/vmm/policy/setup.policy",
            "vmm_main": "src/vmm/policy/main.policy",
            "vmm_main_devices": "src/vmm/policy/main_devices.policy",
            "vmm_vcpu": "src/vmm/policy/vcpu.policy",
            "vmm_vcpu_devices": "src/vmm/policy/vcpu_devices.policy",
            "rng_setup": "src/devices/rng/policy/setup.policy",
            "rng_main": "src/devices/rng/policy/main.policy",
            "blk_setup": "src/devices/blk/policy/setup.policy",
            "blk_main": "src/devices/blk/policy/main.policy",
            "blk_uring": "src/devices/blk/policy/uring.policy",
            "storage_setup": "src/devices/storage/policy/setup.policy",
            "storage_main": "src/devices/storage/policy/main.policy",
            "json": "src/cli/json/json.policy",
            "json_stat": "src/cli/json/json_stat.policy"}
STORAGE = Path("/usr/bin/qemu-storage-daemon")
if not STORAGE.exists():
    POLICIES = {name: path for name, path in POLICIES.items() if "storage" not in name}
PARTS = {"vmm_setup": ["src/vmm/policy/kvm_setup.policy"]}  # files that are no filter of their own
HEADERS = [REPO / "src/spec/vmm_fds.h", REPO / "src/spec/device_fds.h", REPO / "src/jail/jail_stages.h"]
IDLE_S = 2


@dataclass
class Entry:
    """One line of a policy."""
    filter: str
    mark: str
    place: str
    call: str
    conditions: str
    reason: str
    used: int = 0

    def __str__(self):
        conditions = f" [{self.conditions}]" if self.conditions else ""
        return f"{self.filter}: {self.place}: {self.call}{conditions}: used {self.used} times"


@dataclass
class Trace:
    """What syscall-trace has to say of one guest, or of several together."""
    installed: Counter = field(default_factory=Counter)
    entries: dict = field(default_factory=dict)
    calls: dict = field(default_factory=lambda: defaultdict(Counter))  # filter: call: count
    killed: list = field(default_factory=list)
    unfiltered: int = 0
    unknown: int = 0

    def add(self, path):
        wait_until(path.exists, 20, f"{path}: the tracer writes it when everything has ended")
        for line in path.read_text().splitlines():
            kind, *fields = line.split("\t")
            if kind == "filter":
                self.installed[fields[0]] += int(fields[1])
            elif kind == "rule":
                name, used, *rest = fields
                self.entries.setdefault((name, rest[1]), Entry(name, *rest)).used += int(used)
            elif kind == "call":
                self.calls[fields[0]][fields[2]] += int(fields[1])
            elif kind == "killed":
                self.killed.append(" ".join(fields))
            elif kind == "unfiltered":
                self.unfiltered += int(fields[0])
            elif kind == "unknown":
                self.unknown += int(fields[0])
            else:
                raise AssertionError(line)
        return self


def prefix(path):
    """What a guest's command line starts with to be traced; the report goes to path."""
    return [str(TRACE), "--out", str(path), *(f"--defines={header}" for header in HEADERS),
            *(f"--policy={name}={REPO / policy}" for name, policy in POLICIES.items()), "--"]


def end(guest, number=signal.SIGTERM):
    guest.signal(number)
    assert guest.wait() == Status.SIGNAL + number, guest.errors


def fill(pid, fd):
    """Fills the pipe that a process writes to, which a guest alone would take long for where it is slow."""
    pipe = os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        while True:
            os.write(pipe, b".")
    except BlockingIOError:
        pass
    finally:
        os.close(pipe)


ONCE = ("--on-reset", "exit")


def cpu_time_s(pid):
    fields = proc.stat(pid)
    return (int(fields[14]) + int(fields[15])) / os.sysconf("SC_CLK_TCK")


# ---- lives of guests; each takes a function that starts a traced guest ----

def idle(start, idle_s=IDLE_S):
    guest = start("hlt", *ONCE, cpus=2)
    guest.wait_output(rb"halted\n")
    time.sleep(idle_s)
    end(guest)


def with_an_initrd(start):
    assert start("hello", *ONCE, "--test-device", "--initrd", TRACE).wait() == Status.OK


def reset(start, *options):
    guest = start("power", *options, cmdline="reset")
    guest.wait_output(rb"(power: reset\n){3}", 30)
    end(guest)


def stopped_and_continued(start):
    """What the kernel goes on with afterwards are calls of their own."""
    guest = start("hlt", *ONCE)
    guest.wait_output(rb"halted\n")
    vmm = guest.vmm()
    for pid in (vmm, guest.supervisor):
        wait_until(lambda: proc.stat(pid)[3] == "S", 10, "it waits")
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: proc.stat(pid)[3] in "Tt", 10, "it stops")
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: proc.stat(vmm)[3] == "S" and proc.stat(guest.supervisor)[3] == "S", 10, "both go on")
    end(guest)


def triple_fault(start):
    assert start("power", *ONCE, cmdline="triple").wait() == Status.RESET


def eight_processors(start):
    guest = start("smp", *ONCE, "--test-device", cpus=8, cmdline="cpus=8")
    assert guest.wait(60) == Status.OK, guest.output


def flood(start):
    """Nobody reads until the supervisor and then the guest's UART have to wait; then somebody does."""
    guest = start("flood", *ONCE)
    guest.wait_output(rb"0\n")
    vmm = guest.vmm()
    fill(guest.supervisor, 1)
    begun_s = cpu_time_s(vmm)
    wait_until(lambda: cpu_time_s(vmm) > begun_s + 2, 60, "the guest has had time to fill the socket")
    guest.wait_output(rb"000000000000060\n", 60)  # no socket holds that much, byte by byte
    end(guest)


def busy_console(start):
    guest = start("echo", *ONCE, "--test-device")
    guest.wait_output(rb"echo ready\n")
    guest.write(b"0123456789abcdef" * 64)
    guest.write(b"q")
    assert guest.wait(60) == Status.OK


def power_button(start, *options):
    guest = start("pwrbtn", *ONCE, *options)
    guest.wait_output(rb"waiting for the power button\n")
    wait_until((STATE / "guests" / guest.name / "state").exists, 20, "the supervisor knows that the guest is up")
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    assert guest.wait() == Status.OK


def terminal(start):
    guest = start("echo", *ONCE, on_terminal=True)
    guest.wait_output(rb"echo ready\n")
    guest.write(b"typed")
    guest.wait_output(rb"typed")
    guest.write(b"\x1dq")
    assert guest.wait() == Status.OK


def entropy(start):
    assert start("rng", "--test-device", "--rng").wait(60) == Status.OK


def power_button_and_a_device(start):
    power_button(start, "--rng")


def reset_with_a_device(start):
    reset(start, "--rng")


def disk_image():
    image = BUILD / "tests/syscalls.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    return image


def disk(start):
    assert start("blk", "--test-device", "--disk", disk_image()).wait(60) == Status.OK


def disk_past_the_page_cache(start):
    assert start("blk", "--test-device", "--disk", f"{disk_image()},direct").wait(60) == Status.OK


def disk_without_io_uring(start):
    assert start("blk", "--test-device", "--disk", f"{disk_image()},engine=sync").wait(60) == Status.OK


def qcow2_image():
    image = BUILD / "tests/syscalls.qcow2"
    # Clusters as small as what the guest discards.
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", image, "4M"], check=True)
    return f"qcow2:{image}"


def disk_in_qcow2(start):
    assert start("blk", "--test-device", "--disk", qcow2_image()).wait(60) == Status.OK


def disk_in_qcow2_past_the_page_cache(start):
    assert start("blk", "--test-device", "--disk", f"{qcow2_image()},direct").wait(60) == Status.OK


def block_device(start):
    done = subprocess.run(["losetup", "--find", "--show", disk_image()], capture_output=True, text=True, check=True)
    device = done.stdout.strip()
    try:
        assert start("blk", "--test-device", "--disk", f"{device},engine=sync").wait(60) == Status.OK
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def larger_disk(start):
    guest = start("hlt", *ONCE, "--disk", f"{disk_image()},engine=sync")
    guest.wait_output(rb"halted\n")
    wait_until((STATE / "guests" / guest.name / "state").exists, 20, "the supervisor knows that the guest is up")
    done = command("resize", guest.name, "disk0", "8M")
    assert done.returncode == Status.OK, done.stderr
    end(guest)


def larger_block_device(start):
    done = subprocess.run(["losetup", "--find", "--show", disk_image()], capture_output=True, text=True, check=True)
    device = done.stdout.strip()
    try:
        guest = start("hlt", *ONCE, "--disk", f"{device},engine=sync")
        guest.wait_output(rb"halted\n")
        wait_until((STATE / "guests" / guest.name / "state").exists, 20, "the supervisor knows that the guest is up")
        os.truncate(BUILD / "tests/syscalls.img", 8 << 20)
        subprocess.run(["losetup", "--set-capacity", device], check=True)
        done = command("resize", guest.name, "disk0", "8M")
        assert done.returncode == Status.OK, done.stderr
        end(guest)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def registers_of_a_device(start):
    """BARs that move, vectors that are masked, and the way through configuration space."""
    assert start("pci", "--test-device", "--disk", disk_image()).wait(60) == Status.OK


@contextlib.contextmanager
def device_alone(*before, kind=("rng",), program="bulkhead-rng"):
    """A device for other front ends: its process, the path of its socket, and how to see its own processes."""
    name, path = new_name(), BUILD / "tests/syscalls.sock"
    process = subprocess.Popen([*before, PROGRAM, "device", *kind, "--name", name, "--socket", path],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert b"waits for front ends" in process.stderr.readline()

        def served():
            return next((pid for pid in proc.children(process.pid) if proc.status(pid)["Name"] == program), None)
        yield path, lambda: wait_until(served, 20, "it serves a front end")
        process.terminate()
        assert process.wait(seconds(20)) == Status.SIGNAL + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


DEVICES = [entropy, power_button_and_a_device, reset_with_a_device, disk, disk_past_the_page_cache, disk_without_io_uring,
           block_device, larger_disk, larger_block_device, registers_of_a_device,
           *([disk_in_qcow2, disk_in_qcow2_past_the_page_cache] if STORAGE.exists() else [])]
BARE = [*DEVICES, idle, with_an_initrd, stopped_and_continued, reset, triple_fault, eight_processors, flood, busy_console, power_button, terminal]


def front_ends(directory, **device):
    """A device alone serves one front end after the other."""
    out = directory / f"front-ends-{len(device)}.trace"
    with device_alone(*prefix(out), **device) as (path, served):
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as front:
                front.connect(str(path))
                pid = served()
                front.sendall(struct.pack("<III", 1, 1, 0))  # GET_FEATURES
                assert len(front.recv(20, socket.MSG_WAITALL)) == 20
            wait_until(lambda p=pid: not proc.is_alive(p), 20, "it ends when its front end leaves")
    return out


def json_helper(directory):
    """Reads descriptions that it likes and that it does not, and prints one."""
    def run(mode, text):
        out = directory / f"json-{mode}-{len(text)}.trace"
        done = subprocess.run([*prefix(out), BUILD / "bulkhead-json", mode], input=text, capture_output=True,
                              timeout=seconds(30), check=False)
        traces.append(out)
        return done.returncode, done.stdout
    traces = []
    assert run("parse-spec", b'{"io_limits": [{"device": "/dev/null", "read_bytes_per_s": 1}]}')[0] == Status.USAGE
    status, spec = run("parse-spec", b'{"name": "x", "cmdline": "%s"}' % (b"x" * 1000))
    assert status == 0
    status, text = run("print-spec", spec)
    assert status == 0 and b'"name": "x"' in text
    assert run("print-spec", b"")[0] == Status.FAILURE
    assert run("report", b"x" * 300000)[0] == Status.FAILURE
    return traces


# ---- what goes wrong ----

def stray_process(start):
    """Somebody else's process in the guest's cgroup, which cannot be removed while it lives."""
    guest = start("hlt", *ONCE)
    guest.wait_output(rb"halted\n")
    cgroups = proc.Cgroups()
    with subprocess.Popen(["sleep", "1000"]) as stray:
        try:
            for controller in [""] if cgroups.unified else ["memory", "pids"]:
                (cgroups.directory(guest.vmm(), controller) / "cgroup.procs").write_text(str(stray.pid))
            end(guest)
            assert stray.wait(seconds(10)) == -signal.SIGKILL
        finally:
            stray.kill()


def lost(start):
    """It jumps to where nothing is."""
    image = BUILD / "tests/lost.elf"
    image.write_bytes(elf.image([elf.Segment(elf.BASE, b"\xb8\x00\x00\x00\xd0\xff\xe0")]))
    assert start(image, *ONCE).wait() == Status.GUEST


def killed_vmm(start):
    guest = start("spin", *ONCE)
    guest.wait_output(rb"spinning\n")
    os.kill(guest.vmm(), signal.SIGKILL)
    assert guest.wait() == Status.DIED


def killed_device(start):
    """While the guest uses it; the next one goes on."""
    guest = start("pci", "--test-device", "--rng")
    guest.wait_output(rb"pci: BARs ok\n")
    device, = (pid for pid in proc.children(guest.supervisor) if proc.status(pid)["Name"] == "bulkhead-rng")
    os.kill(device, signal.SIGKILL)
    assert guest.wait(60) == Status.OK, guest.output


def lost_back_end(start):
    """Lost, and connected to again."""
    with device_alone() as (path, served):
        guest = start("hlt", *ONCE, "--device", f"vhost-user,type=rng,socket={path}")
        guest.wait_output(rb"halted\n")
        os.kill(served(), signal.SIGKILL)
        guest.wait_errors(rb"is there again")
        end(guest)


def killed_storage(start):
    """While the guest does not use it; the next one goes on, and dies in its turn."""
    guest = start("hlt", *ONCE, "--disk", qcow2_image())
    guest.wait_output(rb"halted\n")
    for _ in range(2):
        daemon, = (pid for pid in proc.children(guest.supervisor) if b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(daemon, signal.SIGKILL)
        guest.wait_errors(rb"device disk0 died \(signal 9\) and was started again")
        guest.said = b""
    end(guest)


ERRORS = [stray_process, lost, killed_vmm, killed_device, lost_back_end, *([killed_storage] if STORAGE.exists() else [])]


def linux(trace, idle_s=IDLE_S, cpus=1):
    """Linux lives through it all at once: boot, idleness, a flooded console, a reset, and the power button."""
    with linux_guest.linux(cpus=cpus, memory="256M", prefix=prefix(trace)) as guest:
        time.sleep(idle_s)
        guest.shell("seq 1 200")
        first = guest.vmm()
        guest.send("reboot -f\n")
        guest.expect("guest is up\n")
        assert guest.vmm() != first
        guest.shell('for i in /sys/class/input/input*; do [ "$(cat $i/name)" != "Power Button" ] || b=$i; done')
        guest.send("exec 3</dev/input/$(cd $b && echo event*); head -c 24 <&3 >/tmp/key; poweroff -f\n")
        guest.expect(r"poweroff -f\n")
        assert command("kill", "--power-button", guest.name).returncode == Status.OK
        assert guest.wait() == 0


def run_bare(life, directory, **options):
    """Runs one life under the tracer, and returns what it wrote."""
    host = Host(directory / "cwd")
    guests = Guests(directory / "cwd")
    out = directory / f"{life.__name__}.trace"

    def start(*args, on_terminal=False, **kwargs):
        return (guests.start_on_terminal if on_terminal else guests.start)(*args, prefix=prefix(out), **kwargs)
    begun = time.monotonic()
    try:
        life(start, **options)
        print(f"{life.__name__}: {time.monotonic() - begun:.1f} s")
    finally:
        guests.close()
        wait_until(out.exists, 20, "the tracer writes its report")
        killed = [line for line in out.read_text().splitlines() if line.startswith("killed")]
        assert not killed, f"{life.__name__}: calls that the filter kills: {killed}"
    host.assert_clean()
    return out


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """All lives together."""
    directory = tmp_path_factory.mktemp("traces")
    (directory / "cwd").mkdir()
    trace = Trace()
    for life in BARE:
        trace.add(run_bare(life, directory))
    trace.add(front_ends(directory))
    if STORAGE.exists():
        trace.add(front_ends(directory, kind=("blk", "--disk", qcow2_image()), program="qemu-storage-da"))
    for out in json_helper(directory):
        trace.add(out)
    if linux_guest.HERE:
        begun = time.monotonic()
        linux(directory / "linux.trace")
        print(f"linux: {time.monotonic() - begun:.1f} s")
        trace.add(directory / "linux.trace")
    return trace


def test_every_filter_is_one_of_the_policies(seen):
    assert seen.unknown == seen.installed["storage_main"]  # beside each of it, one that says that there is no clone3
    assert set(seen.installed) == set(POLICIES)
    assert min(seen.installed.values()) > 0
    assert seen.installed["vmm_setup"] == seen.installed["vmm_main"] + seen.installed["vmm_main_devices"]
    assert seen.unfiltered > 0  # up to the filters


def test_nothing_else_is_called(seen):
    assert seen.killed == []
    for name, calls in seen.calls.items():
        print(f"{name}: {sum(calls.values())} calls: " +
              ", ".join(f"{call} {count}" for call, count in calls.most_common()))


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_allowed_is_used_or_explained(seen, name):
    own = [str(REPO / path) for path in [POLICIES[name], *PARTS.get(name, [])]]
    entries = [e for e in seen.entries.values() if e.filter == name and
               os.path.normpath(e.place.rpartition(":")[0]) in own]
    assert entries
    print(f"{name}: {len(entries)} entries, {sum(e.used > 0 for e in entries)} used, "
          f"{sum(e.mark == 'varies' for e in entries)} vary, {sum(e.mark == 'error' for e in entries)} for errors")
    for entry in entries:
        if entry.mark == "varies":
            print(f"  varies: {entry}")
    idle_entries = [e for e in entries if not e.used and not e.mark]
    assert not idle_entries, "remove, or say when it is used:\n" + "\n".join(map(str, idle_entries))
    wrong = [e for e in entries if e.used and e.mark == "error"]
    assert not wrong, "used without any error:\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("life", ERRORS, ids=lambda life: life.__name__)
def test_what_errors_need_is_allowed(tmp_path, life):
    (tmp_path / "cwd").mkdir()
    trace = Trace().add(run_bare(life, tmp_path))
    assert trace.killed == [] and trace.unknown == trace.installed["storage_main"]  # as above
    for entry in trace.entries.values():
        if entry.mark == "error" and entry.used:
            print(f"  error: {entry}")


def test_the_tracer_misses_nothing(tmp_path):
    out = tmp_path / "known.trace"
    subprocess.run([TRACE, "--out", out, f"--policy=known={REPO / 'tests/trace/known.policy'}", "--",
                    BUILD / "tests/trace/known-calls"], check=True, timeout=seconds(30))
    trace = Trace().add(out)
    assert trace.installed == {"known": 1} and trace.unknown == 0
    assert {(e.call, e.conditions, e.mark): e.used for e in trace.entries.values()} == {
        ("getppid", "arg5 == 1", "varies"): 3000, ("getppid", "arg5 == 2", ""): 2, ("fork", "", ""): 4,
        ("wait4", "", ""): 5, ("exit_group", "", ""): 4, ("getuid", "", ""): 0}
    assert trace.calls["known"] == {"getppid": 3002, "fork": 4, "wait4": 5, "exit_group": 4, "getgid": 1}
    assert [line.split()[:3] for line in trace.killed] == [["known", "104", "0x7"]]  # getgid(7)


def test_the_tracer_knows_no_other_filter(tmp_path):
    """The policy named is not the one that is installed."""
    out = tmp_path / "known.trace"
    subprocess.run([TRACE, "--out", out, f"--policy=known={REPO / 'tools/policy/example_exit.policy'}", "--",
                    BUILD / "tests/trace/known-calls"], check=True, timeout=seconds(30))
    trace = Trace().add(out)
    assert trace.unknown == 1 and trace.installed == {"known": 0}


@pytest.mark.slow
def test_an_idle_minute(tmp_path):
    """It is as a short while: nothing in a guest's processes wakes up by itself."""
    (tmp_path / "cwd").mkdir()
    minute = Trace().add(run_bare(idle, tmp_path, idle_s=60))
    assert minute.killed == [] and minute.unknown == 0
    (tmp_path / "idle.trace").unlink()
    moment = Trace().add(run_bare(idle, tmp_path, idle_s=0))
    for name, calls in minute.calls.items():
        print(f"{name}: {sum(calls.values())} calls with an idle minute, {sum(moment.calls[name].values())} without")
        assert sum(calls.values()) < sum(moment.calls[name].values()) + 60
    if linux_guest.HERE:  # which has work of its own
        linux(tmp_path / "linux.trace", idle_s=60, cpus=8)
        minute.add(tmp_path / "linux.trace")
        assert minute.killed == [] and minute.unknown == 0
