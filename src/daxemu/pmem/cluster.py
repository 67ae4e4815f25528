"""Explorations on a dask.distributed cluster. Imported only when one is asked for: it needs ``daxemu[dask]``."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker, WorkerPlugin, as_completed, get_worker

from daxemu import __version__
from daxemu.errors import UsageError
from daxemu.pmem.checks import refuse_check, show_check
from daxemu.pmem.exploration import Part, Parts
from daxemu.pmem.journal import JOURNAL
from daxemu.pmem.walker import Task
from daxemu.pmem.workers import close_walkers, explore_part, killed_workers

__all__ = ["connected", "explored_on"]

_PATIENCE = 10  # seconds to wait for a scheduler, and for a worker
_PIECE = 1 << 20
_SECONDS = 5.0  # after which workers see that a client was killed

_Packed = dict[str, tuple[int, list[tuple[int, bytes]]]]  # by name: size, and where what is, compressed


@contextmanager
def connected(cluster: str | Client) -> Iterator[tuple[Client, int, int]]:
    """A client of a cluster, how many workers it has, and how many threads these have. UsageError: there is none."""
    if not isinstance(cluster, str):
        yield cluster, *_size(cluster, "the cluster")
        return
    try:
        client = Client(cluster, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"dask {cluster}: no scheduler answers there within {_PATIENCE} seconds ({error}); start one by 'dask "
            "scheduler', and workers by 'dask worker ADDRESS'"
        ) from None
    with client:
        yield client, *_size(client, f"dask {cluster}")


def _size(client: Client, name: str) -> tuple[int, int]:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise UsageError(f"{name} has no workers; start some by 'dask worker ADDRESS'") from None
    threads = client.nthreads()
    return len(threads), sum(threads.values())


def explored_on(client: Client, task: Task, ranges: Sequence[tuple[int, int]]) -> Parts:
    """Parts as workers have them ready. Each gets the recording once; what a lost worker had in hand, another does."""
    _refuse_workers(client, task)
    name = f"daxemu-{task.key}"
    begins, ends = zip(*ranges, strict=True) if ranges else ((), ())
    lease = _lease(client, name)
    futures: list[Any] = []
    try:
        try:
            client.register_plugin(_Shipment(name, task, _pack(Path(task.path)), _SECONDS), name=name)
        except Exception as error:
            raise UsageError(f"check {show_check(task.check)} cannot be sent to the workers: {error}") from None
        futures += client.map(_explore_on_worker, [name] * len(begins), begins, ends, pure=False, retries=2)
        for future in as_completed(futures, loop=client.loop):
            yield future.result()
    except KilledWorker:
        raise killed_workers(task.check, "workers that tried it were killed, one after the other") from None
    finally:
        with suppress(OSError, RuntimeError):  # the scheduler may be gone
            client.cancel(futures)
            client.unregister_worker_plugin(name)
            lease.release()


def _lease(client: Client, name: str) -> Any:
    """Have the scheduler know a key of this name, until the future is gone, or this process."""
    future = client.submit(int, key=name, pure=False)
    while not any(client.sync(client.scheduler.get_task_status, keys=[name]).values()):
        time.sleep(0.01)  # it is told by another way than what comes next
    return future


def _refuse_workers(client: Client, task: Task) -> None:
    mine = __version__
    for address, found in client.run(version, "daxemu", on_error="return").items():
        if found != mine:
            has = "no daxemu" if isinstance(found, Exception) else f"daxemu {found}"
            raise UsageError(f"dask worker {address} has {has}; install {mine} there, which is the version here")
    for address, error in client.run(refuse_check, task.check, on_error="return").items():
        if error is not None:
            raise UsageError(f"dask worker {address}: {error}")


def _explore_on_worker(name: str, begin: int, end: int) -> Part | None:
    try:
        return explore_part(get_worker().plugins[name].task, begin, end)
    except KeyboardInterrupt:  # nobody waits for it any more
        return None


class _Shipment(WorkerPlugin):
    """A recording in a worker's own directory, as long as it is explored, and the scheduler knows a key of its name."""

    def __init__(self, name: str, task: Task, packed: _Packed, seconds: float) -> None:
        self.name, self.task, self._packed, self._seconds = name, task, packed, seconds

    async def setup(self, worker: Any) -> None:
        self._directory = Path(worker.local_directory, self.name)
        recording, scratch = self._directory / "recording", self._directory / "scratch"
        scratch.mkdir(parents=True)
        await asyncio.to_thread(_unpack, self._packed, recording)
        self._packed = {}
        self.task = replace(self.task, key=worker.id, path=str(recording), scratch=str(scratch))
        self._watch = asyncio.create_task(self._end_with_client(worker))

    async def _end_with_client(self, worker: Any) -> None:
        with suppress(OSError):  # the scheduler is gone, and soon this worker
            while any((await worker.scheduler.get_task_status(keys=[self.name])).values()):
                await asyncio.sleep(random.uniform(0.5, 1) * self._seconds)  # not all workers at once
            with suppress(ValueError):  # another was faster
                await worker.scheduler.unregister_worker_plugin(name=self.name)

    async def teardown(self, worker: Any) -> None:  # noqa: ARG002
        self._watch.cancel()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        close_walkers(self.task.key)
        shutil.rmtree(self._directory, ignore_errors=True)


def _pack(directory: Path) -> _Packed:
    """The files of a recording, without what nobody ever wrote."""
    packed: _Packed = {}
    for path in directory.iterdir():
        if path.is_file() and path.name != JOURNAL:
            with path.open("rb") as file:
                packed[path.name] = path.stat().st_size, [*_pieces(file.fileno())]
    return packed


def _pieces(fd: int) -> Iterator[tuple[int, bytes]]:
    end = 0
    with suppress(OSError):  # ENXIO: the rest is a hole
        while True:
            at = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, at, os.SEEK_HOLE)
            for begin in range(at, end, _PIECE):
                yield begin, zlib.compress(os.pread(fd, min(_PIECE, end - begin), begin), 1)


def _unpack(packed: _Packed, directory: Path) -> None:
    directory.mkdir()
    for name, (size, pieces) in packed.items():
        with (directory / name).open("wb") as file:
            file.truncate(size)
            for at, data in pieces:
                os.pwrite(file.fileno(), zlib.decompress(data), at)
