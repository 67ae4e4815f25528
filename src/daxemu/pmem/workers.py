"""Who explores the parts of an exploration: this process, processes of our own, or somebody's executor."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import NoReturn

from daxemu.errors import DaxemuError, UsageError
from daxemu.pmem.checks import Check, show_check
from daxemu.pmem.exploration import Part, Parts
from daxemu.pmem.walker import Task, Walker

__all__ = [
    "close_walkers",
    "explore_part",
    "explored_by",
    "explored_by_processes",
    "explored_here",
    "interrupt",
    "killed_workers",
]

Range = tuple[int, int]
Work = Callable[[Task, int, int], Part]

# A worker, a process or a thread, goes through the recording once, whatever parts of it it gets.
_walkers: dict[tuple[str, int], Walker] = {}
_ended: set[str] = set()  # explorations of threads that are over, while some of these may just be beginning
_deciding = threading.Lock()
# Threads that make or end a walker: amid that no exception may come. And those that were interrupted meanwhile.
_undisturbed: set[int] = set()
_interrupted: set[int] = set()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """An interrupt of this thread waits until what it makes, or removes, is all there, or gone."""
    me = threading.get_ident()
    _undisturbed.add(me)
    try:
        yield
    finally:
        _undisturbed.discard(me)
        if me in _interrupted:
            _interrupted.discard(me)
            interrupt()


def explore_part(task: Task, begin: int, end: int) -> Part:
    """Explore the crash points of these numbers in this thread."""
    mine = task.key, threading.get_ident()
    walker = _walkers.get(mine)
    if walker is None or walker.next > begin:
        walker = _begin_walk(task)
    try:
        return walker.explore(begin, end)
    except BaseException:
        with _interrupted_later():
            if _walkers.pop(mine, None):  # what it knows now is neither here nor there
                walker.close()
        raise


def _begin_walk(task: Task) -> Walker:
    """A walker of this thread, in the place of the one that it may have."""
    mine = task.key, threading.get_ident()
    with _interrupted_later():
        if mine in _walkers:
            _walkers.pop(mine).close()
        elif not any(key == task.key for key, _ in _walkers):
            Finalize(None, close_walkers, args=(task.key,), exitpriority=10)
        walker = Walker(task)
        with _deciding:
            ended = task.key in _ended
            if not ended:
                _walkers[mine] = walker
        if ended:
            walker.close()
            raise CancelledError
    return walker


def interrupt() -> None:
    """What a handler of signals does: a KeyboardInterrupt in this thread, but not amid the start of a command.

    It could then not be ended; nor amid the making or the end of a session, which could then not be removed.
    """
    if threading.get_ident() in _undisturbed:
        _interrupted.add(threading.get_ident())
        return
    walkers = list(_walkers.values())
    for walker in walkers:
        walker.stop()
    if not all(walker.ends_orderly for walker in walkers) or not walkers:
        raise KeyboardInterrupt


def close_walkers(key: str) -> None:
    """End what the threads of this process do for an exploration."""
    closing = [_walkers.pop(mine) for mine in list(_walkers) if mine[0] == key]
    for walker in closing:
        walker.stop()
    for walker in closing:
        walker.close()


def explored_here(task: Task, ranges: Iterable[Range]) -> Parts:
    """One crash point after the other, as it is ready."""
    try:
        for begin, end in ranges:
            for number in range(begin, end):
                yield explore_part(task, number, number + 1)
    finally:
        close_walkers(task.key)


def explored_by(executor: Executor, task: Task, ranges: Iterable[Range]) -> Parts:
    """Parts as somebody's threads or processes have them ready."""
    try:
        yield from _submitted(executor, task, ranges, explore_part)
    finally:
        with _deciding:
            _ended.add(task.key)
        close_walkers(task.key)  # of threads


def _submitted(executor: Executor, task: Task, ranges: Iterable[Range], work: Work) -> Parts:
    waiting: list[Future[Part]] = []
    try:
        waiting += (executor.submit(work, task, begin, end) for begin, end in ranges)
        for future in as_completed(waiting):
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()


# -- processes of our own -----------------------------------------------------------------------


def explored_by_processes(jobs: int, task: Task, ranges: Iterable[Range]) -> Parts:
    """Parts as processes have them ready, which end at once if this is not gone through to its end."""
    _refuse_unpicklable(task.check)
    context = multiprocessing.get_context("spawn")  # a process with threads is not to be forked
    with ExitStack() as after:
        ours, theirs = (after.enter_context(closing(end)) for end in context.Pipe())
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(theirs,))
        after.enter_context(pool)
        try:
            yield from _submitted(pool, task, ranges, _work)
        except BrokenProcessPool:
            raise killed_workers(task.check, "a process that tried it was killed") from None
        except BaseException:
            ours.close()
            raise


def killed_workers(check: Check, what: str) -> DaxemuError:
    """What to tell of a check whose workers were killed."""
    advice = "what may crash, or take more memory than there is, is better a command"
    return DaxemuError(
        f"check {show_check(check)}: {what}; {advice if callable(check) else 'perhaps there was no memory left'}"
    )


def _refuse_unpicklable(check: Check) -> None:
    try:
        pickle.dumps(check)
    except Exception as error:
        raise UsageError(
            f"check {show_check(check)} cannot be sent to other processes ({error}); make it a function of a module, "
            "or explore with jobs=1"
        ) from None


_working = ""  # the exploration that this process has a part of in hand
_ending = False  # nobody waits for what comes of it


def _begin(parent: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    threading.Thread(target=_end_with, args=(parent,), name="daxemu-parent", daemon=True).start()


def _end_with(parent: Connection) -> None:
    """End when the other side of a pipe is closed, by whatever has become of who has it."""
    parent.poll(None)
    ident = threading.main_thread().ident
    assert ident
    signal.pthread_kill(ident, signal.SIGTERM)


def _end(*_: object) -> None:
    """The check that runs is ended, what is there is removed, and no other part begun."""
    global _ending
    _ending = True
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    if _working:
        interrupt()
    else:
        _leave()


def _ignore(*_: object) -> None:
    """Not SIG_IGN: of a signal that has come by now, Python would print that it does so."""


def _leave() -> NoReturn:
    for key in {key for key, _ in _walkers}:
        close_walkers(key)
    os._exit(1)  # an exception would only be sent to the parent, and the next part begun


def _work(task: Task, begin: int, end: int) -> Part:
    global _working
    try:
        _working = task.key
        return explore_part(task, begin, end)
    except KeyboardInterrupt:
        _leave()
    finally:
        _working = ""
        if _ending:  # to send what came of it might be to wait for a process that has left
            _leave()
