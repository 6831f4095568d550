"""What only a processor with hardware virtualization can show: CPUID and MSRs as guests see them, and the bare-metal
guests whose ring 0 must be real.

tests/run runs this file in the lab.
"""
import re
import subprocess

import pytest

from linux_guest import BUILD, SLOW, bare, needs_hardware, needs_root, slow

pytestmark = [pytest.mark.lab, needs_root, needs_hardware]


# --- CPUID and MSRs

# Fields that KVM changes while the guest runs (docs/cpu.md); those that differ between vCPUs are the first one's here.
EAX, EBX, ECX, EDX = range(4)
CHANGING = {
    (0x1, 0, ECX): 1 << 27,         # OSXSAVE
    (0x1, 0, EDX): 1 << 9,          # APIC
    (0x7, 0, ECX): 1 << 4,          # OSPKE
    (0xd, 0, EBX): 0xffffffff,      # XSAVE size for XCR0
    (0xd, 1, EBX): 0xffffffff,      # XSAVE size for XCR0 and IA32_XSS
    (0x40000001, 0, EAX): 1 << 7,   # PV_UNHALT
}


def parse_cpuid(text):
    """{(leaf, subleaf): [eax, ebx, ecx, edx]}"""
    rows = [[int(word, 16) for word in line.split()[1:]] for line in text.splitlines() if line.startswith("cpuid 0")
            or line.startswith("cpuid 4") or line.startswith("cpuid 8")]
    return {(row[0], row[1]): row[2:] for row in rows}


def parse_msrs(text, word):
    """{index: was there no #GP?}"""
    return {int(index, 16): result == "ok" for index, result in re.findall(rf"^{word} (\S+) (ok|gp)", text, re.M)}


def parse_rows(text):
    """[(first, last, access, name)] of the MSR filter"""
    return [(int(first, 16), int(last, 16), access, name)
            for first, last, access, name in re.findall(r"^msr (\S+) (\S+) (r|w|rw) (.*)$", text, re.M)]


def template(model):
    return subprocess.run([BUILD / "tests/vm/cpuid_template", model, "1"], stdout=subprocess.PIPE, check=True,
                          text=True).stdout


@pytest.fixture(scope="module", params=["host", "baseline"])
def seen(request):
    """What was promised, and what a guest found."""
    options = "wrmsr" if request.param == "host" else "msr=0-20"
    status, output = bare("cpuid", "--cpu", request.param, cmdline=options, memory="32M")
    assert status == 0
    assert output.endswith("cpuid done\n")
    return {"model": request.param, "guest": output, "template": template(request.param)}


def without_changing(entry, registers):
    return [value & ~CHANGING.get((*entry, n), 0) for n, value in enumerate(registers)]


def test_cpuid_is_the_template(seen):
    promised, found = parse_cpuid(seen["template"]), parse_cpuid(seen["guest"])
    assert len(found) > 10
    for entry, registers in found.items():
        expected = promised.get(entry, [0, 0, 0, 0])
        assert without_changing(entry, registers) == without_changing(entry, expected), \
            f"leaf {entry[0]:#x}, subleaf {entry[1]}"
    # The guest leaves out subleaves with nothing in them.
    missing = [entry for entry, registers in promised.items() if entry not in found
               and (registers[:2] != [0, 0] or registers[2] not in (0, entry[1]))]
    assert missing == []


def test_cpuid_has_no_counters_and_no_virtualization(seen):
    found = parse_cpuid(seen["guest"])
    for leaf in 0x5, 0xa, 0x12, 0x14, 0x23, 0x8000000a, 0x8000001b, 0x8000001f, 0x80000022:
        assert found.get((leaf, 0), [0] * 4) == [0] * 4, f"leaf {leaf:#x}"
    assert found[0x1, 0][ECX] & (1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 15) == 0  # DTES64, MONITOR, VMX, SMX, PDCM
    assert found[0x80000001, 0][ECX] & (1 << 2 | 1 << 10 | 1 << 23 | 1 << 24) == 0  # SVM, IBS, PERFCTR_CORE, _NB
    assert found[0x1, 0][ECX] & 1 << 31, "HYPERVISOR"
    assert found[0x40000001, 0][EAX] & (1 << 0 | 1 << 4 | 1 << 12) == 0  # CLOCKSOURCE, ASYNC_PF, POLL_CONTROL
    if seen["model"] == "baseline":
        brand = b"".join(r.to_bytes(4, "little") for leaf in (2, 3, 4) for r in found[0x80000000 + leaf, 0])
        assert brand.rstrip(b"\0") == b"bulkhead baseline"


def missing_feature(index, cpuid):
    """Why an MSR that the filter allows may still be #GP: KVM does not give what CPUID does not have."""
    def bits(leaf, subleaf, register, *numbers):
        return any(cpuid.get((leaf, subleaf), [0] * 4)[register] >> n & 1 for n in numbers)

    amd = cpuid[0, 0][EBX] in (0x68747541, 0x6f677948)  # "Auth", "Hygo"
    needs = {
        0x3b: ("TSC_ADJUST", bits(7, 0, EBX, 1)),
        0x48: ("SPEC_CTRL, STIBP or SSBD", bits(7, 0, EDX, 26, 27, 31) or bits(0x80000008, 0, EBX, 14, 15, 24)),
        0x10a: ("ARCH_CAPABILITIES", bits(7, 0, EDX, 29)),
        0x122: ("TSX_CTRL in IA32_ARCH_CAPABILITIES", None),
        0x6a0: ("SHSTK or IBT", bits(7, 0, ECX, 7) or bits(7, 0, EDX, 20)),
        0x6a2: ("SHSTK or IBT", bits(7, 0, ECX, 7) or bits(7, 0, EDX, 20)),
        0xda0: ("XSAVES", bits(0xd, 1, EAX, 3)),
        0xc0000103: ("RDTSCP or RDPID", bits(0x80000001, 0, EDX, 27) or bits(7, 0, ECX, 22)),
        0xc001011f: ("VIRT_SSBD", bits(0x80000008, 0, EBX, 25)),
        0xc0010140: ("OSVW", bits(0x80000001, 0, ECX, 9)),
        0xc0010141: ("OSVW", bits(0x80000001, 0, ECX, 9)),
        0xc0011029: ("AMD", amd),
    }
    needs.update({n: ("SHSTK", bits(7, 0, ECX, 7)) for n in range(0x6a4, 0x6a9)})
    name, there = needs.get(index, (None, True))
    return None if there else name


def test_msrs_are_those_of_the_filter(seen):
    """A row means: if the processor has it. Everything else is #GP."""
    cpuid, reads, rows = parse_cpuid(seen["guest"]), parse_msrs(seen["guest"], "msr"), parse_rows(seen["template"])
    assert len(reads) > (3000 if seen["model"] == "host" else 30)
    readable = {n for first, last, access, _ in rows if "r" in access for n in range(first, last + 1)}
    open_ones = sorted(n for n, there in reads.items() if there and n not in readable)
    assert open_ones == [], [hex(n) for n in open_ones]
    closed = sorted(n for n, there in reads.items() if not there and n in readable and not missing_feature(n, cpuid))
    assert closed == [], [hex(n) for n in closed]
    assert seen["model"] != "host" or readable <= set(reads), "the guest's scan has gaps"


def test_msr_writes_are_those_of_the_filter(seen):
    if seen["model"] != "host":
        pytest.skip("the filter is the same for every model")
    writes, rows = parse_msrs(seen["guest"], "wrmsr"), parse_rows(seen["template"])
    writable = {n for first, last, access, _ in rows if "w" in access for n in range(first, last + 1)}
    writes.pop(0xc0011029, None)  # KVM may start DE_CFG with another value than the only one it takes
    assert len(writes) > 100
    assert {hex(n) for n, done in writes.items() if done != (n in writable)} == set()


# --- bare-metal guests

def test_hypercalls_that_kvm_does_not_have_are_refused():
    status, output = bare("hypercall", memory="32M")
    assert status == 0
    results = re.findall(r"^hypercall (vmcall|vmmcall) 0x([0-9a-f]+): (\S+)$", output, re.M)
    assert {instruction for instruction, _, _ in results} == {"vmcall", "vmmcall"}
    unknown = [result for _, number, result in results if int(number, 16) >= 0x100]
    assert len(unknown) > 20 and set(unknown) <= {"-1000", "#UD"} and "-1000" in unknown


@pytest.mark.parametrize("mode", ["", "x2apic"])
def test_eight_processors_start_and_hear_each_other(mode):
    assert bare("smp", cpus=8, cmdline=f"cpus=8 {mode}", memory="32M") == \
        (0, "smp: 8 of 8 processors, IPI there and back\n")


@pytest.mark.parametrize("mode", ["", "x2apic"])
def test_every_mode_of_the_timer(mode):
    status, output = bare("timer", cmdline=mode, memory="32M")
    assert status == 0
    assert re.findall(r"^timer: (.*) ok, \d+ ticks$", output, re.M) == \
        ["one-shot", "stopped", "one-shot from hlt", "periodic", "tsc-deadline", "tsc-deadline from hlt"]


@pytest.mark.parametrize("memory, stride, top", [("3G", 64, 0xc0000000), ("4G", 64, 0x140000000),
                                                 slow("4G", 1, 0x140000000)])
def test_memory_up_to_the_hole_and_above_is_there_and_distinct(memory, stride, top):
    status, output = bare("memory", cmdline=f"stride={stride}", memory=memory, timeout_s=60 * SLOW)
    assert status == 0
    ranges = re.findall(r"^memory: (0x[0-9a-f]+)\.\.(0x[0-9a-f]+) usable$", output, re.M)
    assert int(ranges[-1][1], 16) == top
    assert re.search(r"^memory: \d{5,} words, 0 wrong$", output, re.M)


@pytest.mark.parametrize("options, accesses", [("step=16 stride=4096", (36_000, 500)), slow("", (500_000, 2_000_000))])
def test_ports_and_the_hole_read_as_ones(options, accesses):
    status, output = bare("ports", cmdline=options, memory="32M", timeout_s=600 * SLOW)
    assert status == 0, output
    match = re.search(r"ports: (\d+) port accesses, (\d+) memory accesses, 0 wrong\n$", output)
    assert int(match[1]) >= accesses[0] and int(match[2]) >= accesses[1]
