"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from hwmodels.errors import NeurofaError

T = TypeVar("T")
R = TypeVar("R")


class LostWorkerError(NeurofaError):
    """A worker process ended without an answer."""


def map_processes(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, threads: int
) -> Iterator[tuple[T, R | Exception]]:
    """Call a function on every item in worker processes; answers come as they are ready.

    No more items are taken than there are workers, so that an item is looked up as late as possible. A worker that is
    killed costs the items that were under way (they come back as :class:`LostWorkerError`), not the others. Workers
    end at once when this process ends, however it ends.

    Args:
        function: importable by its name; with its argument and its answer it crosses to the worker and back.
        items: one argument a call.
        workers: processes; 0: the calls are made in this process, one after the other.
        threads: of torch in each worker.

    Yields:
        An item with its answer, or with the exception that the call raised.

    Raises:
        NeurofaError: workers below 0 or threads below 1.
    """
    if workers < 0 or threads < 1:
        raise NeurofaError(
            f"got workers={workers}, threads={threads}; expected workers >= 0, threads >= 1; change them"
        )
    if not workers:
        yield from _here(function, items, threads)
        return
    waiting: Iterator[T] | None = iter(items)
    while waiting is not None:
        waiting = yield from _with_one_pool(function, waiting, workers, threads)


def _here(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[tuple[T, R | Exception]]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for item in items:
            try:
                answer: R | Exception = function(item)
            except Exception as error:  # as a worker's, it is an answer
                answer = error
            yield item, answer
    finally:
        torch.set_num_threads(before)


def _with_one_pool(
    function: Callable[[T], R], waiting: Iterator[T], workers: int, threads: int
) -> Generator[tuple[T, R | Exception], None, Iterator[T] | None]:
    """Serve items until a worker is lost; returns the items that are left, None when all are served."""
    context = multiprocessing.get_context("spawn")
    # The leash: workers wait for the end of this pipe. Nobody writes; its other end closes with this process.
    leash, hand = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start, (leash, threads))
    under_way: dict[Future[R], T] = {}
    lost = False
    try:
        while True:
            while len(under_way) < workers and not lost:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                try:
                    under_way[pool.submit(function, item)] = item
                except BrokenProcessPool:
                    lost, waiting = True, itertools.chain([item], waiting)
            if not under_way:
                pool.shutdown()
                return waiting if lost else None
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                item = under_way.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    lost = True
                    error = LostWorkerError(
                        "got a worker process that ended without an answer; expected one answer a run; start again,"
                        " with fewer workers if memory ran out"
                    )
                yield item, future.result() if error is None else _plain(error)
    finally:
        hand.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


def _plain(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _start(leash: Connection, threads: int) -> None:
    """Prepare a worker: interrupts are the parent's business, and the leash is watched."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_leave_with, args=(leash,), daemon=True).start()


def _leave_with(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
