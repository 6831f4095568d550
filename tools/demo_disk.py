#!/usr/bin/python3
"""Boot Debian from a disk, ask it what it is and which disks it has, and switch it off.

usage: demo_disk.py BULKHEAD KERNEL ROOTFS

The part of tools/demo that is about disks; ROOTFS is the directory that tools/rootfs made. The guest only reads its disk,
and runs a shell in the place of systemd, which takes minutes where the processor is emulated. Ends with one line; the
exit status is 0 when the guest did what was expected.
"""
import os
import signal
import subprocess
import sys
import threading
import time

BOOT_LIMIT_S = 150
END_LIMIT_S = 60
UP, END = "guest is up", "=== demo end"
QUESTIONS = ["cat /etc/os-release", "uname -r", "lsblk -o NAME,SERIAL,SIZE,RO,MOUNTPOINTS",
             "head -c 16 /dev/hwrng | od -An -tx1"]


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


class Console:
    """What the guest has written, gathered by a thread."""

    def __init__(self, pipe):
        self.text = ""
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self.gather, args=(pipe,), daemon=True).start()

    def gather(self, pipe):
        while True:
            data = os.read(pipe.fileno(), 65536)
            with self.changed:
                self.text += data.decode(errors="replace").replace("\r", "")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def wait_for(self, line, limit_s):
        with self.changed:
            self.changed.wait_for(lambda: f"{line}\n" in self.text or self.ended, limit_s)
            if f"{line}\n" not in self.text:
                sys.exit("demo: WRONG: the guest with a disk does not get on:\n" + "\n".join(self.text.split("\n")[-15:]))


def show(guest, console):
    begun = time.monotonic()
    console.wait_for(UP, BOOT_LIMIT_S)
    say(f"Debian runs from its disk after {time.monotonic() - begun:.1f} s")
    commands = ["stty -echo", "modprobe virtio_rng"]
    for question in QUESTIONS:
        commands += [f"echo '$ {question}'", question]
    guest.stdin.write("\n".join([*commands, f"echo '{END}'", ""]).encode())
    guest.stdin.flush()
    console.wait_for(END, BOOT_LIMIT_S)
    lines = console.text.split("\n")
    lines = lines[lines.index(UP) + 1:lines.index(END)]
    lines = lines[next(number for number, line in enumerate(lines) if line.startswith("$ ")):]
    print("\nFrom inside a guest with a disk:\n")
    print("\n".join(f"  {line}" for line in lines), flush=True)
    say("switching it off")
    guest.stdin.write(b"poweroff -f -f\n")
    guest.stdin.flush()
    status = guest.wait(timeout=END_LIMIT_S)
    text = "\n".join(lines)
    return [f"{what} is not there" for what in ("ID=debian", "vda", " demo-root ") if what not in text] + \
        ([f"the guest ended with status {status}"] if status else [])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    bulkhead, kernel, rootfs = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    say("booting Debian from a disk")
    guest = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", bulkhead, "run", f"debian-{os.getpid()}", "--kernel", kernel, "--initrd",
         f"{rootfs}/initrd", "--mem", "256M", "--disk", f"{rootfs}/image,ro,id=demo-root", "--cmdline",
         "console=ttyS0 quiet panic=-1 root=/dev/vda ro init=/sbin/console-shell"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wrong = show(guest, Console(guest.stdout))
    finally:
        if guest.poll() is None:
            guest.terminate()
            guest.wait(timeout=END_LIMIT_S)
    for line in wrong:
        print(f"demo: WRONG: {line}")
    if wrong:
        return 1
    print("demo: passed: Debian's kernel and initramfs found their file system on a disk that a process of its own serves")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
