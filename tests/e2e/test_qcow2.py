"""
Disks in format qcow2: the packaged qemu-storage-daemon, started by us in the guest's jail, on a root of its own. What guests
read and write, what the kernel says of the process, what happens when it dies, and which images are refused.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import proc
from account import IDS_PER_GUEST, Account
from bulkhead import PROGRAM, SANITIZED, Guests, Status, command, needs_kvm
from host import Host, seconds, wait_until

DAEMON = Path("/usr/bin/qemu-storage-daemon")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
CONTROL, FRONTEND, RESOURCE, LIMIT = 3, 4, 5, 128  # src/spec/device_fds.h
MIB = 1 << 20

pytestmark = [needs_kvm, pytest.mark.skipif(not DAEMON.exists(), reason="there is no qemu-storage-daemon")]
no_test_jail = pytest.mark.skipif(SANITIZED, reason="the VMM of a test jail has files and a descriptor more")


def make(path, *options, size="4M"):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, size], check=True)
    return path


@pytest.fixture
def image(tmp_path):
    return make(tmp_path / "disk.qcow2")


def check(path):
    """No error in the image; clusters that nobody has any more are what a death leaves."""
    done = subprocess.run(["qemu-img", "check", "-q", path], check=False, capture_output=True)
    assert done.returncode in (0, 3), done.stdout + done.stderr


def row(guest):
    found, = (r for r in json.loads(command("ps", "--json").stdout)["guests"] if r["name"] == guest.name)
    return found


def device(guest, which="disk0"):
    """What ps has of it, once it knows the guest."""
    wait_until(lambda: any(r["name"] == guest.name and "devices" in r
                           for r in json.loads(command("ps", "--json").stdout)["guests"]), 10, "ps knows the guest")
    return next(d for d in row(guest)["devices"] if d["id"] == which)


def run_blk(guests, path, cmdline, *options, **arguments):
    return guests.run("blk", "--test-device", "--disk", f"qcow2:{path}", *options, timeout=60, cmdline=cmdline, **arguments)


def started(guests, path, *options, **arguments):
    guest = guests.start("hlt", "--disk", f"qcow2:{path}", *options, **arguments)
    guest.wait_output(rb"halted\n")
    return guest


# ---- what guests read and write ----

@pytest.mark.parametrize("options", ["", ",direct", ",queues=16"])
def test_a_guest_finds_what_it_wrote(guests, image, options):
    first = run_blk(guests, f"{image}{options}", "seed=5")
    assert first.status_now() == Status.OK, first.output + first.errors
    for what in ("write", "flush", "read", "write-zeroes", "discard"):
        assert f"blk: {what} ok".encode() in first.output
    check(image)
    assert image.read_bytes()[:4] == b"QFI\xfb"
    assert run_blk(guests, f"{image}{options}", "seed=5 verify").status_now() == Status.OK
    assert run_blk(guests, image, "seed=6 verify").status_now() == Status.VERDICT + 1
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, image.with_suffix(".raw")], check=True)
    assert guests.run("blk", "--test-device", "--disk", image.with_suffix(".raw"), timeout=60,
                      cmdline="seed=5 verify").status_now() == Status.OK


@pytest.mark.parametrize("options", [["-o", "compat=0.10"], ["-o", "cluster_size=512"], ["-o", "lazy_refcounts=on"],
                                     ["-o", "extended_l2=on"], ["-o", "preallocation=metadata"]])
def test_kinds_of_images(guests, tmp_path, options):
    path = make(tmp_path / "kind.qcow2", *options)
    assert run_blk(guests, path, "seed=7").status_now() == Status.OK
    assert run_blk(guests, path, "seed=7 verify").status_now() == Status.OK
    check(path)


def test_an_image_grows_with_what_is_written(guests, tmp_path):
    path = make(tmp_path / "large.qcow2", size="1T")
    assert path.stat().st_size < 8 * MIB
    assert run_blk(guests, path, "seed=7 sectors=8192").status_now() == Status.OK
    assert 4 * MIB <= path.stat().st_size < 16 * MIB


def test_a_read_only_disk_is_read_only(guests, image):
    assert run_blk(guests, image, "seed=5").status_now() == Status.OK
    before = image.read_bytes()
    guest = run_blk(guests, f"{image},ro", "seed=5 ro verify")
    assert guest.status_now() == Status.OK, guest.output + guest.errors
    assert image.read_bytes() == before


def test_two_disks_in_two_formats(guests, tmp_path, image):
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(4 * MIB))
    guest = guests.run("blk", "--test-device", "--disk", raw, "--disk", f"qcow2:{image}", timeout=60, cmdline="disk=1 seed=3")
    assert guest.status_now() == Status.OK, guest.output + guest.errors
    assert raw.read_bytes() == bytes(4 * MIB)
    assert run_blk(guests, image, "seed=3 verify").status_now() == Status.OK


def test_json_says_the_format(guests, tmp_path, image):
    config = tmp_path / "guest.json"
    config.write_text(json.dumps({"disks": [{"path": str(image), "format": "qcow2", "id": "root"}]}))
    guest = guests.start("hlt", "--config", config)
    guest.wait_output(rb"halted\n")
    assert device(guest, "root")["pid"] > 0
    printed = command("run", guest.name, "--kernel", "/k", "--disk", f"qcow2:{image}", "--print-config")
    assert json.loads(printed.stdout)["disks"][0]["format"] == "qcow2"


def test_another_front_end(guests, tmp_path, image):
    path = tmp_path / "device.sock"
    alone = subprocess.Popen([PROGRAM, "device", "blk", "--disk", f"qcow2:{image}", "--socket", path],
                             stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert any(b"waits for front ends" in line for line in alone.stderr)
        for cmdline in ("seed=9", "seed=9 verify"):
            guest = guests.run("blk", "--test-device", "--device", f"vhost-user,type=blk,socket={path}", timeout=60,
                               cmdline=cmdline)
            assert guest.status_now() == Status.OK, guest.output + guest.errors
    finally:
        alone.terminate()
        said = alone.communicate(timeout=seconds(20))[1]
    assert b"is left by its front end" in said and b"died" not in said, said
    check(image)


# ---- what the kernel says of the process ----

@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A guest with such a disk, and another beside it."""
    host = Host(tmp_path_factory.mktemp("cwd"))
    files = tmp_path_factory.mktemp("files")
    guests = Guests(host.cwd)
    try:
        both = [started(guests, make(files / f"{i}.qcow2")) for i in range(2)]
        both[0].image = files / "0.qcow2"
        both[0].neighbour = both[1]
        yield both[0]
    finally:
        guests.close()
    host.assert_clean()


@pytest.fixture
def daemon(served):
    return device(served)["pid"]


def test_it_is_the_packaged_program(daemon):
    arguments = Path(f"/proc/{daemon}/cmdline").read_bytes().split(b"\0")
    assert arguments[0] == b"qemu-storage-daemon" and b"monitor" not in b" ".join(arguments)
    assert Path(f"/proc/{daemon}/root/qemu-storage-daemon").read_bytes() == DAEMON.read_bytes()
    environment = set(Path(f"/proc/{daemon}/environ").read_bytes().split(b"\0")) - {b""}
    assert environment == {b"LD_LIBRARY_PATH=/lib", b"LD_PRELOAD=/lib/bulkhead-storage.so", b"MALLOC_ARENA_MAX=4"}


def test_namespaces_are_the_guests(served, daemon):
    own = proc.namespaces(daemon)
    assert own == proc.namespaces(served.vmm())
    assert not set(own.values()) & set(proc.namespaces("self").values())
    assert not set(own.values()) & set(proc.namespaces(served.neighbour.vmm()).values())
    assert int(proc.status(daemon)["NSpid"].split()[-1]) > 1


def test_no_privileges(served, daemon):
    first = served.state().host_id
    for tid in proc.threads(daemon):
        s = proc.status(daemon, tid)
        assert {int(s[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1") and int(s.get("Seccomp_filters", "3")) == 3  # the third: no clone3
        assert set(s["Uid"].split()) == {str(first + 1)} and s["Groups"].split() == []
    assert proc.status(served.vmm())["Uid"] != proc.status(daemon)["Uid"]


def test_not_dumpable(daemon):
    assert os.stat(f"/proc/{daemon}/environ").st_uid == 0


def root_files(pid):
    root = Path(f"/proc/{pid}/root")
    return {"/" + str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def mapped_files(pid):
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6 and
            line.split(maxsplit=5)[5].startswith("/") and not line.split(maxsplit=5)[5].startswith("/memfd:")}


def test_its_root_has_what_it_maps_and_nothing_else(daemon):
    assert root_files(daemon) == mapped_files(daemon)
    assert {"/qemu-storage-daemon", "/lib/bulkhead-storage.so", "/lib/libc.so.6", str(LOADER)} <= root_files(daemon)
    assert sorted(os.listdir(f"/proc/{daemon}/root")) == ["lib", "lib64", "qemu-storage-daemon"]


@no_test_jail
def test_nobody_can_change_its_root(served, daemon):
    root = Path(f"/proc/{daemon}/root")
    assert os.statvfs(root).f_flag & (os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV) == os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
    with pytest.raises(OSError, match="Read-only"):
        (root / "x").touch()
    owner = 0  # of the host, whom the guest's namespaces do not know
    for path in [root, *root.rglob("*")]:
        s = path.stat()
        assert s.st_uid == owner and not s.st_mode & 0o7222, path
        assert s.st_dev == root.stat().st_dev
    assert proc.mounts(daemon) == []  # mounted nowhere: nobody else can be there
    assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    assert os.listdir(f"/proc/{served.vmm()}/root") == []


def test_its_descriptors(served, daemon):
    found = proc.fds(daemon)
    assert {found[fd] for fd in range(3)} == {"/dev/null"}
    assert found[CONTROL].startswith("socket:") and found[FRONTEND].startswith("socket:")
    assert found[RESOURCE] == str(served.image)
    for fd, target in found.items():
        assert fd < LIMIT
        if fd > RESOURCE:
            assert target == "/dev/null" or target.startswith(("socket:", "anon_inode:[", "/memfd:")), target
            assert "io_uring" not in target and "userfaultfd" not in target and "kvm" not in target


def test_limits(served, daemon):
    limits = proc.limits(daemon)
    for name in ("Max core file size", "Max msgqueue size", "Max realtime priority", "Max locked memory"):
        assert limits[name] == ("0", "0"), name
    assert limits["Max open files"][1] == str(LIMIT)
    assert Path(f"/proc/{daemon}/cgroup").read_text() == Path(f"/proc/{served.vmm()}/cgroup").read_text()
    assert int(Path(f"/proc/{daemon}/oom_score_adj").read_text()) >= 500


@no_test_jail
def test_what_is_wider_is_shown(served, daemon):
    told, = json.loads(command("inspect", "--json", served.name).stdout)["devices"]
    assert told["pid"] == daemon and told["degraded"] is True and "qemu-storage-daemon" in told["why_degraded"]
    verdicts = {layer["name"]: layer for layer in told["layers"]}
    assert verdicts["empty read-only root"]["verdict"] == "absent"
    assert "format raw" in verdicts["empty read-only root"]["needs"]
    assert "contradicted" not in [layer["verdict"] for layer in told["layers"]]
    assert told["outside"] is False
    text = command("inspect", served.name).stdout.decode()
    assert "DEGRADED: qemu-storage-daemon serves it" in text and "NOT" not in text
    of_vmm = [layer for layer in json.loads(command("inspect", "--json", served.name).stdout)["layers"]
              if layer["verdict"] == "absent"]
    assert row(served)["layers_absent"] == len(of_vmm) + 1
    served.wait_errors(rb"device disk0 is qemu-storage-daemon: its root has files", timeout=5)


@pytest.mark.slow  # they wait ten seconds for something to do
def test_threads_that_have_nothing_to_do_end(served, daemon):
    """Its pool's, after ten seconds: what a thread does at its end is allowed."""
    wait_until(lambda: len(proc.threads(daemon)) == 2, 30, lambda: proc.threads(daemon))
    assert device(served) == {"id": "disk0", "pid": daemon, "restarts": 0}


def test_the_auditor_knows_its_format(guests, image):
    assert run_blk(guests, image, "seed=1").status_now() == Status.OK
    guest = started(guests, image)
    found = {f["id"]: f for f in json.loads(command("audit", "--json").stdout)["findings"] if guest.name in f["guests"]}
    assert {name: found[name]["verdict"] for name in ("STO-CHAIN", "STO-PROBE", "STO-LOCK", "FS-FDS")} == dict.fromkeys(
        ("STO-CHAIN", "STO-PROBE", "STO-LOCK", "FS-FDS"), "PASS")


# ---- deaths ----

def test_one_that_is_idle_is_started_again(guests, image):
    guest = started(guests, image)
    first = device(guest)["pid"]
    uid = proc.status(first)["Uid"]
    os.kill(first, signal.SIGKILL)
    guest.wait_errors(rb"device disk0 died \(signal 9\) and was started again\n")
    second = wait_until(lambda: device(guest)["pid"] not in (0, first) and device(guest)["pid"], 10, "no new process")
    s = proc.status(second)
    assert s["Uid"] == uid and proc.namespaces(second) == proc.namespaces(guest.vmm())
    assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1")
    assert root_files(second) == mapped_files(second)
    assert not proc.is_alive(first)
    assert SANITIZED or command("inspect", guest.name).returncode == Status.OK


def test_the_next_one_serves(guests, image):
    """It dies before the guest has a driver; the next one inherits the supervisor's filter, and must do everything in it."""
    guest = guests.start("blk", "--test-device", "--disk", f"qcow2:{image}", cmdline="seed=4")
    pid = device(guest)["pid"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    guest.wait(60)
    check(image)


def test_a_guest_that_resets_has_a_new_one(guests, image):
    guest = guests.start("power", "--disk", f"qcow2:{image}", cmdline="wait triple")
    seen = set()

    def fresh():
        for pid in proc.children(guest.supervisor):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if pid not in seen and b"qemu-storage-daemon" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None
    for _ in range(3):
        wait_until(fresh, 20, "no new process")
        seen.add(fresh())
        guest.write(b"x")
    assert b"died" not in guest.errors


@pytest.mark.parametrize("who", ["vmm", "supervisor"])
def test_a_death_leaves_nothing(guests, image, who):
    guest = started(guests, image)
    daemon = device(guest)["pid"]
    pids = [guest.vmm(), daemon]
    os.kill(guest.vmm() if who == "vmm" else guest.supervisor, signal.SIGKILL)
    guest.wait()
    if who == "supervisor":  # orphans are the test's to reap, and the first process waits for the others
        for pid in reversed(pids):
            wait_until(lambda pid=pid: not proc.is_alive(pid), 5, f"process {pid} lives")
            os.waitpid(pid, 0)
        command("ps")  # sweeps
    assert not proc.is_alive(daemon)
    check(image)
    assert started(guests, image).status_now() is None


# ---- who else may have the image ----

def test_one_image_has_one_writer(guests, image):
    first = started(guests, image)
    for options in ("", ",ro"):
        second = guests.run("hlt", "--disk", f"qcow2:{image}{options}")
        assert second.status_now() == Status.IMAGE
        assert b'the disk %s is in use by guest "%s"' % (os.fsencode(image), first.name.encode()) in second.errors
    assert b"in use by guest" in guests.run("hlt", "--disk", image).errors  # as a raw one, too


def test_readers_share_an_image(guests, image):
    both = [started(guests, f"{image},ro") for _ in range(2)]
    assert [guest.status_now() for guest in both] == [None, None]


def test_qemu_is_kept_out_even_while_there_is_no_process(guests, image):
    guest = started(guests, image)

    def write():
        return subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 512", image], check=False, capture_output=True)
    assert b'Failed to get "write" lock' in write().stderr
    os.kill(device(guest)["pid"], signal.SIGKILL)
    assert b'Failed to get "write" lock' in write().stderr
    guest.wait_errors(rb"was started again")
    guest.close()
    assert write().returncode == 0


def test_what_qemu_writes_is_refused(guests, image):
    with subprocess.Popen(["qemu-io", "-f", "qcow2", image], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
        qemu.stdin.write(b"write 0 512\n")
        qemu.stdin.flush()
        assert b"wrote 512" in qemu.stdout.readline()
        guest = guests.run("hlt", "--disk", f"qcow2:{image}")
        assert guest.status_now() == Status.IMAGE
        assert b"the disk %s is in use: something else holds it" % os.fsencode(image) in guest.errors
        qemu.stdin.close()


# ---- what is refused ----

def refused(guests, path, text, status=Status.IMAGE, *options, **arguments):
    guest = guests.run("hlt", "--disk", f"qcow2:{path}", *options, **arguments)
    assert guest.status_now() == status, guest.errors
    assert text in guest.errors and guest.errors.count(b"\n") == 1, guest.errors


def test_backing_files_are_never_followed(guests, tmp_path, image):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 1000)
    for name, base, format_ in (("a", image, "qcow2"), ("b", secret, "raw")):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format_, tmp_path / name], check=True)
        refused(guests, tmp_path / name, b"has a backing file, which is never followed")
    for name in ("json:{}", "nbd://localhost/x", "/dev/fdset/1", "/disk"):
        subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", tmp_path / "c", "1M"],
                       check=True)
        refused(guests, tmp_path / "c", b"has a backing file, which is never followed")


def test_data_files_are_never_followed(guests, tmp_path):
    make(tmp_path / "data.qcow2", "-o", f"data_file={tmp_path / 'data'}")
    refused(guests, tmp_path / "data.qcow2", b"has its data in another file, which is never followed")


def test_nothing_is_guessed(guests, tmp_path, image):
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(MIB))
    refused(guests, raw, b"is not in format qcow2; a raw image is given without qcow2:")
    # And an image in that format is a raw disk when nothing else is said.
    guest = guests.run("blk", "--test-device", "--disk", image, timeout=60, cmdline="seed=5")
    assert guest.status_now() == Status.OK
    assert image.read_bytes()[:4] != b"QFI\xfb"


def test_what_is_no_image(guests, tmp_path, image):
    refused(guests, tmp_path / "none", b"No such file or directory")
    refused(guests, "/dev/null", b"neither a regular file nor a block device")
    whole = image.read_bytes()
    for name, data in (("empty", b""), ("short", whole[:60])):
        (tmp_path / name).write_bytes(data)
        refused(guests, tmp_path / name, b"is not in format qcow2")
    # What only the program finds: it says what, and the guest does not start.
    bad = bytearray(whole)
    bad[20:24] = (63).to_bytes(4, "big")  # cluster_bits
    (tmp_path / "clusters").write_bytes(bad)
    refused(guests, tmp_path / "clusters", b"qemu-storage-daemon cannot use the image: ")


def test_encrypted(guests, tmp_path):
    make(tmp_path / "luks", "--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
    refused(guests, tmp_path / "luks", b"is encrypted")


def test_every_layer_is_more_than_it_has(guests, image):
    refused(guests, image, b"would not be empty; make a raw image", Status.ISOLATION, "--require-all-layers")


def test_no_resize(guests, image):
    guest = started(guests, image)
    r = command("resize", guest.name, "disk0", "8M")
    assert r.returncode == Status.USAGE
    assert b"is in format qcow2, which cannot be resized while it is used; end the guest, and use qemu-img resize" in r.stderr
    assert device(guest)["restarts"] == 0


def without(*paths):
    """What a command line starts with that has no such files."""
    hide = "; ".join(f"mount -t overlay -o lowerdir={p.parent},upperdir=$t/u,workdir=$t/w overlay {p.parent} && rm {p}"
                     for p in paths)
    return ["unshare", "-m", "sh", "-c", f't=$(mktemp -d) && mount -t tmpfs t $t && mkdir $t/u $t/w && {hide} && exec "$@"',
            "sh"]


def test_the_program_is_missing(guests, image):
    if subprocess.run([*without(DAEMON), "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no overlay can be mounted here")
    refused(guests, image, b"open /usr/bin/qemu-storage-daemon, which serves disks in format qcow2: No such file or "
            b"directory; apt install qemu-system-common, or", Status.HOST, prefix=without(DAEMON))


def test_its_seal_is_missing(guests, tmp_path, image):
    """Without what seals it, it does not start."""
    for name in ("bulkhead", "bulkhead-vmm"):
        shutil.copy(PROGRAM.parent / name, tmp_path / name)
    guest = guests.run("hlt", "--disk", f"qcow2:{image}", program=tmp_path / "bulkhead")
    assert guest.status_now() == Status.FAILURE and b"bulkhead-storage.so" in guest.errors


def test_another_in_its_place(guests, tmp_path, image):
    """Nor with something in its place that does nothing: the program finds no image then."""
    for name in ("bulkhead", "bulkhead-vmm"):
        shutil.copy(PROGRAM.parent / name, tmp_path / name)
    subprocess.run(["gcc", "-shared", "-o", tmp_path / "bulkhead-storage.so", "-x", "c", "/dev/null"], check=True)
    guest = guests.run("hlt", "--disk", f"qcow2:{image}", program=tmp_path / "bulkhead")
    assert guest.status_now() not in (Status.OK, None) and b"device " in guest.errors


# ---- guests of ordinary users ----

@pytest.mark.parametrize("ids", [16 * IDS_PER_GUEST, 0], ids=["with own ids", "with the user's id"])
def test_of_an_ordinary_user(guests, ids):
    account = Account(ids)
    try:
        path = Path(account.home) / "disk.qcow2"
        make(path)
        os.chown(path, account.uid, account.gid)
        guest = started(guests, path, account=account)

        def daemon():
            return next((p for p in proc.children(guest.supervisor)
                         if b"qemu-storage-daemon" in Path(f"/proc/{p}/cmdline").read_bytes()), None)
        first = daemon()
        assert root_files(first) == mapped_files(first)
        os.kill(first, signal.SIGKILL)
        guest.wait_errors(rb"device disk0 died \(signal 9\) and was started again\n")
        second = wait_until(lambda: daemon() not in (None, first) and daemon(), 10, "no new process")
        s = proc.status(second)
        assert {int(s[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0} and s["Seccomp"] == "2"
        assert (s["Uid"] != proc.status(guest.vmm())["Uid"]) == (ids > 0)
        assert SANITIZED or account.bulkhead("inspect", guest.name).returncode == Status.OK
    finally:
        guests.close()
        account.close()
