"""Mappings by a descriptor for reading: never to be written, and revoked in place like any other."""

import subprocess
import sys

CODE = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("mmap", "mremap"):
    getattr(libc, name).restype = ctypes.c_size_t
for name in ("mmap", "munmap", "mprotect", "mremap", "write"):
    getattr(libc, name).argtypes = [ctypes.c_size_t] * 6
M, R, RW, SHARED, FIXED = 2 << 20, 1, 3, 1, 0x10
reader, writer = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[1], os.O_RDWR)
r, w = os.pipe()

def say(result):
    print("ok" if result != 2**64 - 1 and result != -1 else errno.errorcode[ctypes.get_errno()], flush=True)

def writable(at, length=M):
    say(libc.mprotect(at, length, RW, 0, 0, 0))

a = libc.mmap(0, 3 * M, R, SHARED, reader, 0)
b, c = a + M, a + 2 * M
writable(a), writable(c)
libc.munmap(b, M, 0, 0, 0, 0)
writable(a), writable(c)
libc.mmap(a, M, R, SHARED | FIXED, writer, 0)
writable(a), writable(c)
room = libc.mmap(0, 2 * M, 0, 0x22, 2**32 - 1, 0)
room = (room + M - 1) & -M
d = libc.mremap(c, M, M, 3, room, 0)
assert d == room
writable(d)
if os.fork() == 0:
    writable(d)
    os._exit(0)
os.wait()
for line in sys.stdin:
    for at in (a, d):
        say(libc.write(w, at, 1, 0, 0, 0))
"""


def test_they_stay_readonly_wherever_they_go_and_are_revoked(engine, device, caplog):
    command = [sys.executable, "-c", CODE, device.path]
    pipe = subprocess.PIPE
    with engine.popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as program:

        def lines(count):
            return [program.stdout.readline().strip() for _ in range(count)]

        def touch():
            program.stdin.write("\n")
            return lines(2)

        assert lines(2) == ["EACCES", "EACCES"]
        assert lines(2) == ["EACCES", "EACCES"]  # the middle was unmapped
        assert lines(2) == ["ok", "EACCES"]  # the first was mapped anew, for writing
        assert lines(1) == ["EACCES"]  # the last was moved
        assert lines(1) == ["EACCES"]  # in a child
        assert touch() == ["ok", "ok"]
        device.kill()
        assert touch() == ["EFAULT", "EFAULT"]
        device.revive()
        assert touch() == ["ok", "ok"]
        program.stdin.close()
    assert not caplog.records
