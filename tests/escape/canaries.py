"""What the attempts must not reach: objects of this host, and a neighbour."""
import ctypes
import itertools
import os
import select
import socket

_serial = itertools.count(1)
libc = ctypes.CDLL(None, use_errno=True)

IPC_CREAT, IPC_EXCL, IPC_RMID, IPC_STAT = 0o1000, 0o2000, 0, 2
# asm/unistd_64.h, linux/keyctl.h
SYS_MQ_OPEN, SYS_MQ_UNLINK, SYS_ADD_KEY, SYS_KEYCTL = 240, 241, 248, 250
KEYCTL_JOIN_SESSION_KEYRING, KEY_SPEC_SESSION_KEYRING = 1, -3

CONTENT = b"nobody else's\n"


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Canaries:
    """Each open to anybody who can name it, so that only the jail keeps an attempt from it."""

    def __init__(self, directory, neighbour):
        self.neighbour = neighbour
        os.chmod(directory, 0o777)
        self.file = directory / "image"
        self.file.write_bytes(CONTENT)
        self.file.chmod(0o666)
        self.path = directory / "socket"
        number = os.getpid() | next(_serial) << 24  # no other test run has it
        self.abstract = self.key = f"canary{number}"
        self.queue = f"/{self.key}"
        self.ipc_key = number

        self.listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        self.listeners[0].bind(str(self.path))
        self.path.chmod(0o777)
        self.listeners[1].bind("\0" + self.abstract)
        tcp = socket.create_server(("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        self.listeners.append(tcp)
        for listener in self.listeners:
            listener.listen(8)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))

        flags = IPC_CREAT | IPC_EXCL | 0o666
        self.segment = check(libc.shmget(self.ipc_key, 4096, flags))
        self.semaphore = check(libc.semget(self.ipc_key, 1, flags))
        self.messages = check(libc.msgget(self.ipc_key, flags))
        self.mq = check(libc.syscall(SYS_MQ_OPEN, self.queue[1:].encode(), os.O_CREAT | os.O_RDWR, 0o666, None))
        check(libc.syscall(SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None))
        check(libc.syscall(SYS_ADD_KEY, b"user", self.key.encode(), b"secret", ctypes.c_size_t(6),
                           ctypes.c_long(KEY_SPEC_SESSION_KEYRING)))

    def knowledge(self, pid):
        """What the attacker is told: everything, and the pid of a neighbour's process."""
        return {"neighbour": pid, "file": self.file, "socket_path": self.path,
                "abstract_socket": self.abstract, "queue": self.queue, "key": self.key, "ipc_key": self.ipc_key,
                "tcp_port": self.port}

    def assert_untouched(self):
        assert self.file.read_bytes() == CONTENT and self.file.stat().st_nlink == 1
        for listener in [*self.listeners, self.udp]:
            assert select.select([listener], [], [], 0)[0] == [], f"somebody came to {listener.getsockname()!r}"
        assert check(libc.semctl(self.semaphore, 0, 12)) == 0  # GETVAL
        self.neighbour.write(b"still here\n")
        self.neighbour.wait_output(rb"still here")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for listener in [*self.listeners, self.udp]:
            listener.close()
        libc.shmctl(self.segment, IPC_RMID, None)
        libc.semctl(self.semaphore, 0, IPC_RMID)
        libc.msgctl(self.messages, IPC_RMID, None)
        os.close(self.mq)
        libc.syscall(SYS_MQ_UNLINK, self.queue[1:].encode())
