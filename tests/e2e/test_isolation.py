"""
Two guests side by side: what the kernel says of each, read from /proc and the cgroup file systems.

Both are root's; or each is that of another ordinary user, with ids of its own or with the user's.
"""

import errno
import fcntl
import os
import re
import stat as stat_module
import subprocess
import sys
from pathlib import Path

import pytest

import proc
from account import IDS_PER_GUEST, KVM_GID, Account
from bulkhead import Guests, needs_kvm
from host import STATE, Host, wait_until

pytestmark = [pytest.mark.both, needs_kvm]

MEMORY = 64 << 20
VCPUS = 2
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
FIRST_VCPU_FD = 64
LAYER_CGROUP_LIMITS = 8  # enum jail_layer


WHOSE = {"root's": None, "with own ids": 16 * IDS_PER_GUEST, "with the user's id": 0}


# In the lab, where all takes long, the users' guests are those of test_linux_user.py.
@pytest.fixture(scope="module", params=WHOSE if "LAB" not in os.environ else ["root's"])
def pair(request, tmp_path_factory):
    """One guest that never leaves ring 0 and one that sleeps."""
    host = Host(tmp_path_factory.mktemp("cwd"))
    guests = Guests(host.cwd)
    ids = WHOSE[request.param]
    accounts = [Account(ids), Account(ids)] if ids is not None else [None, None]
    try:
        spin, hlt = (guests.start(image, mem="64M", cpus=VCPUS, account=account)
                     for image, account in zip(("spin", "hlt"), accounts))
        spin.wait_output(rb"spinning\n")
        hlt.wait_output(rb"halted\n")
        yield spin, hlt
    finally:
        guests.close()
        for account in accounts:
            if account:
                account.close()
    host.assert_clean()


@pytest.fixture(params=["spin", "hlt"])
def guest(pair, request):
    return pair[("spin", "hlt").index(request.param)]


@pytest.fixture
def vmm(guest):
    return guest.vmm()


@pytest.fixture(scope="module")
def cgroups():
    return proc.Cgroups()


def inside(vmm, namespace, *argv):
    """Runs a command of the host in one namespace of the guest."""
    return subprocess.run(["nsenter", "-t", str(vmm), namespace, "--preserve-credentials", *argv],
                          check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("kind", proc.NAMESPACES)
def test_namespaces_are_of_this_guest_alone(pair, kind):
    own = os.readlink(f"/proc/self/ns/{kind}")  # what the host's programs are in, and where this test was started
    first, second = (proc.namespaces(g.vmm())[kind] for g in pair)
    assert len({own, first, second}) == 3


def test_supervisor_is_in_the_namespaces_of_the_host(pair):
    for g in pair:
        # A user's commands are in a mount namespace of the test's.
        assert proc.namespaces(g.supervisor) == (g.account.namespaces() if g.account else proc.namespaces("self"))


def test_every_thread_is_in_the_same_namespaces(vmm):
    for tid in proc.threads(vmm):
        for kind in proc.NAMESPACES:
            assert os.readlink(f"/proc/{vmm}/task/{tid}/ns/{kind}") == os.readlink(f"/proc/{vmm}/ns/{kind}")


def test_state_names_the_processes(guest, vmm):
    state = guest.state()
    assert (state.supervisor, state.vmm) == (guest.supervisor, vmm)
    assert str(state.host_id) == proc.status(vmm)["Uid"].split()[0]


def test_no_capabilities_in_any_thread(vmm):
    tids = proc.threads(vmm)
    assert len(tids) >= 1 + VCPUS
    for tid in tids:
        s = proc.status(vmm, tid)
        assert {name: int(s[name], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0), tid


def test_filter_and_no_new_privs_in_every_thread(vmm):
    for tid in proc.threads(vmm):
        s = proc.status(vmm, tid)
        assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1"), s["Name"]
        # The filter of the setup, and the narrower one of the role on top of it.
        assert int(s.get("Seccomp_filters", "2")) >= 2, s["Name"]


def test_supervisor_of_a_running_guest_is_narrowed(guest):
    s = proc.status(guest.supervisor)
    assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1")
    # CAP_SETGID and CAP_SETUID: to map the ids after a reset.
    allowed = 0 if guest.account else 1 << 6 | 1 << 7
    assert int(s["CapEff"], 16) & ~allowed == 0


def test_supervisor_of_a_guest_that_does_not_start_again_has_no_capability(tmp_path):
    guests = Guests(tmp_path)
    try:
        guest = guests.start("hlt", "--on-reset", "exit")
        guest.wait_output(rb"halted\n")
        s = proc.status(guest.supervisor)
        assert {name: int(s[name], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)
    finally:
        guests.close()


def test_supervisor_keeps_nothing_of_the_environment(guest):
    assert Path(f"/proc/{guest.supervisor}/environ").read_bytes().strip(b"\0") == b""


def test_one_mount_empty_and_read_only(vmm):
    mounts = proc.mounts(vmm)
    assert len(mounts) == 1
    left, right = mounts[0].split(" - ")
    assert left.split()[4] == "/"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(left.split()[5].split(","))
    assert right.split()[0] == "tmpfs" and "ro" in right.split()[2].split(",")

    root = Path(f"/proc/{vmm}/root")
    assert os.listdir(root) == []
    for attempt in (lambda: (root / "x").mkdir(), lambda: (root / "x").touch()):
        with pytest.raises(OSError) as e:
            attempt()
        assert e.value.errno == errno.EROFS
    assert os.readlink(f"/proc/{vmm}/cwd") == "/"
    assert os.listdir(f"/proc/{vmm}/cwd") == []


def test_descriptors_are_the_table_of_the_role(vmm):
    patterns = {
        **dict.fromkeys((0, 1, 2), r".*null"),
        3: r"socket:\[\d+\]",
        4: r"socket:\[\d+\]",
        8: r"anon_inode:kvm-vm",
        9: r"anon_inode:\[eventfd\]",
        **{FIRST_VCPU_FD + i: rf"anon_inode:kvm-vcpu:{i}" for i in range(VCPUS)},
    }
    fds = proc.fds(vmm)
    assert sorted(fds) == sorted(patterns)
    for number, pattern in patterns.items():
        assert re.fullmatch(pattern, fds[number]), (number, fds[number])
    for number in (0, 1, 2):
        assert os.stat(f"/proc/{vmm}/fd/{number}").st_rdev == os.stat("/dev/null").st_rdev


def test_no_socket_is_shared_with_the_neighbour(pair):
    sockets = [{link for link in proc.fds(g.vmm()).values() if link.startswith("socket:")} for g in pair]
    assert len(sockets[0]) == len(sockets[1]) == 2
    assert not sockets[0] & sockets[1]


def test_ids(pair):
    ids = set()
    for g in pair:
        s = proc.status(g.vmm())
        for which in ("Uid", "Gid"):
            values = s[which].split()
            assert len(set(values)) == 1 and int(values[0]) not in (0, 65534), (which, values)
        # Who has no subordinate ids can leave no group (user_namespaces(7)).
        assert s["Groups"].split() == ([str(KVM_GID)] if g.account and not g.account.subordinate else [])
        ids |= {s["Uid"].split()[0], s["Gid"].split()[0] + " (group)"}
    assert len(ids) == 4


def test_id_0_of_the_guest_is_nobody(vmm):
    for file in ("uid_map", "gid_map"):
        maps = [tuple(map(int, line.split())) for line in Path(f"/proc/{vmm}/{file}").read_text().splitlines()]
        assert maps
        for inside_id, host_id, count in maps:
            assert inside_id > 0 and host_id > 0 and host_id + count < 2**32 - 1


def owner_in_proc(pid):
    return os.stat(f"/proc/{pid}/status").st_uid


def test_not_dumpable(vmm):
    # /proc of an ordinary process belongs to the user it runs as ...
    with subprocess.Popen(["sleep", "60"], user=65534, group=65534, extra_groups=[]) as ordinary:
        try:
            wait_until(lambda: owner_in_proc(ordinary.pid) == 65534, 5, "an ordinary process is its user's")
        finally:
            ordinary.kill()
    # ... and that of a process which is not dumpable to root.
    assert proc.status(vmm)["Uid"].split()[0] != "0"
    assert owner_in_proc(vmm) == 0
    for tid in proc.threads(vmm):
        assert os.stat(f"/proc/{vmm}/task/{tid}/status").st_uid == 0


def test_resource_limits(vmm):
    limits = proc.limits(vmm)
    for name in ("Max core file size", "Max file size", "Max locked memory", "Max msgqueue size",
                 "Max realtime priority"):
        assert limits[name] == ("0", "0"), name
    assert limits["Max open files"][1] == "128"
    assert int(limits["Max processes"][1]) < 64


def ram_of(vmm):
    found = proc.mappings(vmm, "/memfd:guest_ram")
    assert len(found) == 1
    return found[0]


def test_guest_memory_is_neither_dumped_nor_merged(vmm):
    where, flags = ram_of(vmm)
    start, end = (int(x, 16) for x in where.split("-"))
    assert end - start == MEMORY
    assert "dd" in flags and "mg" not in flags
    assert "ex" not in flags


def test_guest_memory_is_sealed(vmm):
    where, _ = ram_of(vmm)
    fd = os.open(f"/proc/{vmm}/map_files/{where}", os.O_RDONLY)
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        assert os.fstat(fd).st_size == MEMORY
    finally:
        os.close(fd)
    wanted = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    assert seals & wanted == wanted


def test_guest_memory_is_not_the_neighbours(pair):
    inodes = {os.stat(f"/proc/{g.vmm()}/map_files/{ram_of(g.vmm())[0]}").st_ino for g in pair}
    assert len(inodes) == 2


def test_no_mapping_can_be_written_and_executed(vmm):
    for line in Path(f"/proc/{vmm}/maps").read_text().splitlines():
        permissions = line.split()[1]
        assert not ("w" in permissions and "x" in permissions), line


def needs_cgroup(guest):
    if guest.account:
        pytest.skip("no cgroup is delegated to the user; test_linux_user.py looks at one that is")


def test_a_users_guest_without_a_cgroup_says_so(pair):
    for g in pair:
        has = proc.Cgroups().of(g.vmm()) != proc.Cgroups().of(g.supervisor)
        assert bool(g.state().layers >> LAYER_CGROUP_LIMITS & 1) == has == (g.account is None)


def test_cgroup_holds_the_vmm_and_nothing_else(pair, cgroups):
    needs_cgroup(pair[0])
    for controller in ("memory", "pids", "cpu", "blkio"):
        for g in pair:
            directory = cgroups.directory(g.vmm(), controller)
            assert directory.parts[-2:] == ("bulkhead", g.name)
            inside = [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
            # KVM puts a thread of the kernel there too; kthreadd, pid 2, is its parent.
            assert [pid for pid in inside if proc.stat(pid)[4] != "2"] == [g.vmm()]
            assert cgroups.directory(g.supervisor, controller) == cgroups.directory("self", controller)


def test_cgroup_limits(guest, vmm, cgroups):
    needs_cgroup(guest)

    def value(controller, v1, v2):
        return (cgroups.directory(vmm, controller) / (v2 if cgroups.unified else v1)).read_text().strip()

    memory = int(value("memory", "memory.limit_in_bytes", "memory.max"))
    assert MEMORY < memory <= 2 * MEMORY + (64 << 20)
    if cgroups.unified:
        assert value("memory", None, "memory.swap.max") == "0"
    elif (cgroups.directory(vmm, "memory") / "memory.memsw.limit_in_bytes").exists():
        assert int(value("memory", "memory.memsw.limit_in_bytes", None)) == memory
    else:  # no swap accounting
        assert value("memory", "memory.swappiness", None) == "0"
    assert VCPUS + 1 <= int(value("pids", "pids.max", "pids.max")) <= VCPUS + 16
    if cgroups.unified:
        quota, period = map(int, value("cpu", None, "cpu.max").split())
    else:
        quota = int(value("cpu", "cpu.cfs_quota_us", None))
        period = int(value("cpu", "cpu.cfs_period_us", None))
    assert quota / period == VCPUS + 1


@pytest.fixture
def loop_device(tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(b"")
    os.truncate(image, 1 << 20)
    subprocess.run(["modprobe", "--quiet", "loop"], check=False)  # where it is no module, it is there or not
    r = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if r.returncode != 0:
        pytest.skip(f"this host has no loop device to limit: {r.stderr.strip()}")
    device = r.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_io_and_cpu_limits_that_were_asked_for(guests, cgroups, loop_device):
    number = os.stat(loop_device).st_rdev
    device = f"{os.major(number)}:{os.minor(number)}"
    g = guests.start("hlt", "--io-limit", f"{loop_device},rbps=1M,wiops=100", "--cpu-limit", 50)
    g.wait_output(rb"halted\n")
    directory = {c: cgroups.directory(g.vmm(), c) for c in ("blkio", "cpu")}
    if cgroups.unified:
        lines = (directory["blkio"] / "io.max").read_text().splitlines()
        assert [sorted(line.split()) for line in lines] == [
            sorted([device, "rbps=1048576", "wbps=max", "riops=max", "wiops=100"])]
        quota, period = map(int, (directory["cpu"] / "cpu.max").read_text().split())
    else:
        blkio = {f: (directory["blkio"] / f"blkio.throttle.{f}_device").read_text().strip()
                 for f in ("read_bps", "write_bps", "read_iops", "write_iops")}
        assert blkio == {"read_bps": f"{device} 1048576", "write_bps": "", "read_iops": "",
                         "write_iops": f"{device} 100"}
        quota = int((directory["cpu"] / "cpu.cfs_quota_us").read_text())
        period = int((directory["cpu"] / "cpu.cfs_period_us").read_text())
    assert quota / period == 0.5


def test_is_pid_1_of_its_namespace(vmm):
    assert proc.status(vmm)["NSpid"].split() == [str(vmm), "1"]
    # Nobody else is in it. Processes that even root may not look at are not the guest's: the VMM can be looked at.
    mine, here = os.readlink(f"/proc/{vmm}/ns/pid"), []
    for pid in proc.pids():
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == mine:
                here.append(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    assert here == [vmm]


def test_no_controlling_terminal(guests):
    g = guests.start_on_terminal("hlt")
    g.wait_output(rb"halted")
    vmm, supervisor = proc.stat(g.vmm()), proc.stat(g.supervisor)
    assert supervisor[7] != "0"  # the supervisor has one ...
    assert vmm[7] == "0"  # ... and the guest has not,
    assert vmm[6] != supervisor[6]  # nor is it in the session that has.


def test_goes_first_when_memory_runs_out(vmm):
    assert int(Path(f"/proc/{vmm}/oom_score_adj").read_text()) >= 500


NET_PROBE = """
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _, name in socket.if_nameindex():
    flags, = struct.unpack_from("H", fcntl.ioctl(s, 0x8913, struct.pack("16sH14x", name.encode(), 0)), 16)
    print(name, flags & 1)
"""  # SIOCGIFFLAGS, IFF_UP


def test_network_is_a_loopback_that_is_down(vmm):
    devices = inside(vmm, "--net", "cat", "/proc/net/dev").splitlines()[2:]
    names = [line.split(":")[0].strip() for line in devices]
    assert "lo" in names
    # Some kernels add fallback tunnels to every namespace; none of these can send while it is down either.
    states = inside(vmm, "--net", sys.executable, "-c", NET_PROBE).split()
    assert dict(zip(states[::2], states[1::2])) == dict.fromkeys(names, "0")
    assert set(names) - {"lo"} <= {"tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0",
                                   "ip6gre0"}
    assert inside(vmm, "--net", "cat", "/proc/net/route").splitlines()[1:] == []


def test_no_further_namespaces(vmm):
    found = 0
    for kind in proc.NAMESPACES:
        file = Path(f"/proc/sys/user/max_{kind}_namespaces")
        if file.exists():
            found += 1
            assert inside(vmm, "--user", "cat", str(file)).strip() == "0", kind
            assert int(file.read_text()) > 0  # the host's own are untouched
    assert found >= 7


def test_state_directory_is_the_users_alone(guest):
    directory, uid = (guest.account.state_dir, guest.account.uid) if guest.account else (STATE, 0)
    for path in (directory, directory / "guests", directory / "guests" / guest.name):
        s = os.stat(path)
        assert (s.st_uid, stat_module.S_IMODE(s.st_mode)) == (uid, 0o700), path
