"""Calls on mappings, against what real kernels of both versions answered."""

import pytest

from daxemu import Engine

# The rows of real device-dax at 2 MiB alignment; with 4 KiB every address is aligned, and what splits is allowed.
SPLITS = {
    "munmap(p, 4096)",
    "munmap(p + A - 4096, 4096)",
    "munmap(p + 4096, A)",
    "mprotect(p, 4096, PROT_READ)",
    "mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)",
    "madvise(p + A, 4096, MADV_DONTFORK)",
    "madvise(p + A, 4096, MADV_RANDOM)",
    "madvise(p + A, 4096, MADV_SEQUENTIAL)",
    "madvise(p + A, 4096, MADV_DONTDUMP)",
    "mremap(p + 7 * A, A, 4096, 0)",
    "mremap(p + 7 * A, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, hole)",
}
REFUSED = {
    "mprotect(q, A, PROT_READ | PROT_WRITE)": "EACCES",
    "madvise(p, A, MADV_FREE)": "EINVAL",
    "madvise(p, A, MADV_WIPEONFORK)": "EINVAL",
    "madvise(p, A, MADV_REMOVE)": "ENODEV",
    "madvise(p, A, 12345)": "EINVAL",
    "msync(p, A, MS_SYNC)": "EINVAL",
    "msync(p, 4096, MS_SYNC | MS_INVALIDATE)": "EINVAL",
    "msync(p, A, MS_SYNC | MS_ASYNC)": "EINVAL",
}


@pytest.mark.parametrize("align", ["2M", "1G"])
def test_a_mapping_is_split_at_its_alignment_only(compiled, align):
    with Engine() as engine:
        device = engine.add_region("16G" if align == "1G" else "32M", align=align).devices[0]
        answers = engine.run(
            [compiled("vma"), device.path, str(device.align)], capture_output=True, text=True, check=True
        ).stdout

    answered = dict(line.rsplit(": ", 1) for line in answers.splitlines())
    assert len(answered) > 30
    for call, answer in answered.items():
        assert answer == REFUSED.get(call, "EINVAL" if call in SPLITS else "ok"), call


@pytest.mark.parametrize(("kernel", "answer"), [("6.1", "ENOMEM"), ("6.12", "EINVAL")])
def test_mapping_over_a_part_of_a_block_is_refused_as_by_that_kernel(compiled, kernel, answer):
    with Engine(kernel=kernel) as engine:
        device = engine.add_region("32M").devices[0]
        answers = engine.run([compiled("vma"), device.path, str(device.align)], capture_output=True, text=True).stdout
    assert f"MAP_ANONYMOUS | MAP_FIXED, -1, 0): {answer}\n" in answers


def test_what_is_not_the_devices_is_left_alone(daxemu_run):
    """Between two mappings of a device lies ordinary memory; calls on it are the kernel's alone."""
    code = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
device = os.open("/dev/dax0.0", os.O_RDWR)
first = libc.mmap(None, 2 << 20, 3, mmap.MAP_SHARED, device, 0)
between = libc.mmap(None, 1 << 20, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
last = libc.mmap(None, 2 << 20, 3, mmap.MAP_SHARED, device, 0)
print(libc.munmap(between + 4096, 4096), libc.msync(between, 4096, 4), libc.munmap(between, 1 << 20))
print(libc.munmap(first + 4096, 4096), ctypes.get_errno(), libc.munmap(first, 2 << 20), libc.munmap(last, 2 << 20))
"""
    assert daxemu_run("python3", "-c", code).stdout.splitlines() == ["0 0 0", "-1 22 0 0"]
