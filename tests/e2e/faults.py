"""Starts of a guest in which one system call fails: tests/fault/tracer.c makes it fail, this looks at what became of it."""

import errno
import json
import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import claims
import fault_table
import proc
from bulkhead import BUILD, GUESTS, PROGRAM, State, Status, new_name
from host import seconds

TRACER = BUILD / "tests/fault/fault_tracer"
PROGRAMS = ("bulkhead", "bulkhead-json", "bulkhead-vmm")
RECORDINGS = 3  # threads meet differently each time: some calls are made only now and then
ATTEMPTS = 5  # to come to a call that is made only now and then
RUN_TIMEOUT_S = 40
GONE_TIMEOUT_S = 5
FAILURES = {int(s) for s in (Status.FAILURE, Status.USAGE, Status.HOST, Status.IMAGE, Status.NAME, Status.ISOLATION,
                             Status.GUEST, Status.DIED)}


@dataclass(frozen=True)
class Point:
    """The n-th call of its kind in a thread of its role, from main() on."""

    role: str
    key: str
    n: int

    def __str__(self):
        return f"{self.role} {self.key} {self.n}"


@dataclass(frozen=True)
class Fault:
    point: Point
    error: int
    detail: str = field(compare=False)
    after: bool = False  # the call is made, and only said to have failed

    def __str__(self):
        return f"{self.point} [{self.detail}] {errno.errorcode[self.error]}{' after it was made' if self.after else ''}"

    def arguments(self):
        p = self.point
        return ["--after" if self.after else "--fail", p.role, p.key, str(p.n), str(self.error)]


def main_offsets():
    """--main for each program: where its main() is, seen from its entry point."""
    arguments = []
    for name in PROGRAMS:
        def output(*command, program=BUILD / name):
            return subprocess.run([*command, program], check=True, capture_output=True, text=True).stdout
        entry = re.search(r"Entry point address: +0x([0-9a-f]+)", output("readelf", "--file-header"))
        main = re.search(r"^([0-9a-f]+) T main$", output("nm"), re.MULTILINE)
        arguments += ["--main", f"{name}={int(main[1], 16) - int(entry[1], 16)}"]
    return arguments


class Start:
    """One start under the tracer, with what it wrote."""

    def __init__(self, scenario, fault=None):
        # Sweeps the cgroups' parent away, which a start makes where there is none.
        subprocess.run([PROGRAM, "version"], stdout=subprocess.DEVNULL, check=True)
        self.name, self.fault = new_name(), fault
        self.output, self.errors, self.log = b"", b"", b""
        read_end, write_end = os.pipe()
        command = [TRACER, "--out", str(write_end), *scenario.main_offsets, *(fault.arguments() if fault else []),
                   "--", *scenario.command(self.name)]
        self.process = subprocess.Popen(command, cwd=scenario.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, pass_fds=[write_end])
        os.close(write_end)
        self._log_fd = read_end
        self._readers = {read_end: "log", self.process.stdout.fileno(): "output", self.process.stderr.fileno(): "errors"}

    def read_until(self, done, timeout):
        """Takes what there is until done() or the end of everything. False when the time was up."""
        end = time.monotonic() + seconds(timeout)
        while self._readers and not done():
            ready, _, _ = select.select(list(self._readers), [], [], max(0, end - time.monotonic()))
            if not ready:
                return False
            for fd in ready:
                data = os.read(fd, 1 << 16)
                if not data:
                    del self._readers[fd]
                attribute = self._readers.get(fd)
                if attribute:
                    setattr(self, attribute, getattr(self, attribute) + data)
        return True

    def said(self, word):
        """The rest of each line of the tracer that starts with word."""
        return [line[len(word):].strip() for line in self.log.decode().split("\n")[:-1]
                if line == word or line.startswith(word + " ")]

    def ended(self):
        return bool(self.said("end"))

    def is_up(self):
        """The supervisor has dealt with READY, and the guest runs. What it prints may be what is made to fail."""
        lost = self.fault and self.fault.point.key == "write" and \
            any(re.fullmatch(fault_table.GUEST_OUTPUT, detail) for detail in self.said("injected"))
        return self.said("ready") and (lost or b"halted\n" in self.output)

    def notice(self):
        """The line that a guest starts with that lacks a layer; empty for one that lacks none."""
        self.read_until(lambda: self.errors.endswith(b"\n"), 0.05)
        return self.errors.decode(errors="replace").replace(self.name, "NAME")

    def supervisor(self):
        """Pid of the process that was started, which became the supervisor."""
        return proc.children(self.process.pid)[0]

    def vmm(self):
        return proc.children(self.supervisor())[0]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        os.close(self._log_fd)


@dataclass
class Outcome:
    kind: str  # "failed", "tolerated", "unreached" or "problem"
    text: str


class Scenario:
    """A guest that is started again and again."""

    def __init__(self, host):
        self.host, self.cwd = host, host.cwd
        self.config = host.cwd.parent / f"{host.cwd.name}.json"
        self.config.write_text(json.dumps(self._guest()))
        self.main_offsets = main_offsets()
        self.baseline, self.notice, self.logs = None, None, []

    @staticmethod
    def _guest():
        """One that takes all that a start can be asked for."""
        guest = {"kernel": str(GUESTS / "hlt.elf"), "initrd": str(GUESTS / "hlt.elf"), "memory": "64M", "cpus": 2,
                 "cpu_limit_percent": 150, "rng": False}
        device = next(Path("/sys/block").glob("*/dev"), None)
        if device:
            major, minor = map(int, device.read_text().split(":"))
            guest["io_limits"] = [{"major": major, "minor": minor, "read_bytes_per_s": 1 << 20, "write_ops_per_s": 100}]
        return guest

    def command(self, name):
        return [PROGRAM, "run", name, "--config", self.config]

    def record(self):
        """{point: detail} of the calls between main() and READY, and how many were made before main(). What each
        start called, in that order, is in self.logs."""
        points, before_main = {}, 0
        for i in range(RECORDINGS):
            start = Start(self)
            try:
                assert start.read_until(lambda: start.ended() or start.is_up(), RUN_TIMEOUT_S), start.errors
                assert start.is_up(), (start.errors, start.said("end"))
                if i == 0:
                    self.baseline = self._look(start)
                    self.notice = start.notice()
                assert self._finish(start) is None
            finally:
                start.close()
            before_main = self._points(start, points)
            self.logs.append(start.said("call"))
            self.host.assert_clean(5)
        return points, before_main

    @staticmethod
    def _points(start, points):
        """Adds the calls of a recorded start; returns how many were made before main()."""
        before_main = 0
        for call in start.said("call"):
            role, key, n, when, detail = (call + " ").split(" ", 4)
            if when == "main":
                points.setdefault(Point(role, key, int(n)), detail.strip())
            else:
                before_main += 1
        return before_main

    def _look(self, start):
        """What a running guest claims, and what the kernel says of it."""
        state = State(start.name)
        vmm = start.vmm()
        assert (state.supervisor, state.vmm) == (start.supervisor(), vmm)
        return claims.layers(state.layers), claims.facts(start.supervisor(), vmm, start.name)

    def _finish(self, start):
        """Ends a running guest. Returns what is wrong with its end."""
        os.kill(start.supervisor(), signal.SIGTERM)
        if not start.read_until(lambda: start.said("gone"), RUN_TIMEOUT_S):
            return "a guest that runs does not end on SIGTERM"
        expected = f"exited {Status.SIGNAL + signal.SIGTERM}"
        return None if start.said("end") == [expected] else f"a guest that runs ends on SIGTERM with {start.said('end')}"

    def inject(self, fault):
        for _ in range(ATTEMPTS):
            start = Start(self, fault)
            try:
                outcome = self._judge(start, fault)
            finally:
                start.close()
            left = self._left()
            if left and outcome.kind != "problem":
                outcome = Outcome("problem", f"left behind: {left}; {outcome.text}")
            if outcome.kind != "unreached":
                break
        return outcome

    def _left(self):
        end = time.monotonic() + seconds(2)
        while left := sorted(self.host.left()):
            if time.monotonic() > end:
                return left
            time.sleep(0.005)
        return []

    def _judge(self, start, fault):
        in_time = start.read_until(lambda: start.ended() or start.is_up(), RUN_TIMEOUT_S)
        if not start.ended() and start.is_up():
            try:
                outcome = self._judge_running(start, fault)
                wrong = self._finish(start)
            except (IndexError, OSError, subprocess.CalledProcessError):  # it has ended meanwhile
                return self._judge_ended(start)
            return outcome if wrong is None else Outcome("problem", wrong)
        if not in_time:
            return Outcome("problem", f"hangs: {start.errors!r}")
        return self._judge_ended(start)

    def _judge_ended(self, start):
        if not start.read_until(lambda: False, GONE_TIMEOUT_S):
            return Outcome("problem", f"a process outlives the command: {start.errors!r}")
        how, number = start.said("end")[0].split()
        text = start.errors.decode(errors="replace").replace(start.name, "NAME")
        if text.startswith(self.notice):  # it comes when the guest is ready, which the tracer may not have lived to see
            text = text[len(self.notice):]
        if not start.said("injected"):
            return Outcome("problem", f"fails by itself: {how} {number}, {text!r}")
        return self._judge_message(how, int(number), text)

    @staticmethod
    def _judge_message(how, number, text):
        if how != "exited" or number not in FAILURES:
            return Outcome("problem", f"{how} {number}: {text!r}")
        if not re.fullmatch(r"bulkhead(-json)?: [^\n]{12,}\n", text) or \
                re.search(r"Success|No error information|Unknown error", text):
            return Outcome("problem", f"status {number}, but not one clear line: {text!r}")
        return Outcome("failed", f"{number} {text.strip()}")

    def _judge_running(self, start, fault):
        """A guest that runs in spite of the fault: it must lack what was left out, and say so, or lack nothing."""
        if not start.said("injected"):
            return Outcome("unreached", "")
        claimed, facts = self._look(start)
        expected_claims, expected_facts = self.baseline
        missing = sorted(expected_claims - claimed)
        wrong = [f"{layer}: {facts[layer]!r} instead of {expected_facts[layer]!r}"
                 for layer in sorted(facts) if layer not in missing and facts[layer] != expected_facts[layer]]
        if wrong:
            return Outcome("problem", f"the guest claims what it has not: {'; '.join(wrong)}")
        if claimed - expected_claims:
            return Outcome("problem", f"the guest claims more than without a fault: {claimed - expected_claims}")
        notice, about = start.notice(), start.said("injected")[0]
        if reason := fault_table.excluded(fault.point, about):
            return Outcome("tolerated", reason)
        if notice != self.notice and not missing:
            return Outcome("problem", f"the guest lacks nothing more, and yet: {notice!r}")
        if not re.fullmatch("(bulkhead: [^\n]+\n)?", notice) or any(layer not in notice for layer in missing):
            return Outcome("problem", f"not one line that names {missing}: {notice!r}")
        if missing:
            shown = subprocess.run([PROGRAM, "inspect", start.name], capture_output=True, text=True, check=False,
                                   timeout=seconds(30)).stdout
            hidden = [layer for layer in missing
                      if not re.search(rf"^ +{re.escape(layer)} +(ABSENT|in force +kernel)", shown, re.MULTILINE)]
            if hidden:
                return Outcome("problem", f"inspect takes the VMM's word for: {hidden}")
            return Outcome("tolerated", f"said to be absent: {', '.join(missing)}")
        if fault.error in (errno.EINTR, errno.EAGAIN) and start.said("next") == [fault.point.key]:
            return Outcome("tolerated", "made again")
        reason = fault_table.harmless(fault, about)
        if reason is None:
            return Outcome("problem", f"the guest runs as if nothing had happened (next: {start.said('next')})")
        return Outcome("tolerated", reason)


class CommandScenario(Scenario):
    """A command that ends by itself. When it cannot learn something it may end, or say less than it would."""

    def __init__(self, host, *arguments):
        super().__init__(host)
        self.arguments = arguments

    def command(self, name):
        return [PROGRAM, *self.arguments]

    def record(self):
        points = {}
        start = Start(self)
        try:
            assert start.read_until(lambda: False, RUN_TIMEOUT_S), start.errors
            self.baseline = self._said(start)
            return points, self._points(start, points)
        finally:
            start.close()

    @staticmethod
    def _said(start):
        """How it ended, and what it printed without the numbers, some of which change from one look to the next."""
        return start.said("end"), re.sub(r"[0-9.]+[smh]?", "N", start.output.decode()).splitlines()

    def _judge(self, start, fault):
        if not start.read_until(lambda: False, RUN_TIMEOUT_S):
            return Outcome("problem", f"hangs: {start.errors!r}")
        if not start.said("injected"):
            return Outcome("unreached", "")
        how, number = start.said("end")[0].split()
        if not start.errors and start.said("end") == self.baseline[0]:
            said = self._said(start)[1]
            more = [line for line in said if re.search("in force +kernel", line) and line not in self.baseline[1]]
            if more or not said:
                return Outcome("problem", f"says what it does not know: {more}" if more else "says nothing")
            return Outcome("tolerated", "says what it knows")
        return self._judge_message(how, int(number), start.errors.decode(errors="replace"))
