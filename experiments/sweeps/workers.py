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

import torch

from hwmodels.errors import NeurofaError

T = TypeVar("T")
R = TypeVar("R")


class LostWorkerError(NeurofaError):
    """A worker process ended without a result."""


def map_processes(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, threads: int
) -> Iterator[tuple[T, R | Exception]]:
    """Call a function on every item in worker processes; yield results in the order in which they are ready.

    No more items are taken than there are workers, so that an item is evaluated as late as possible. A worker that is
    killed costs the items that were being computed (they come back as :class:`LostWorkerError`), not the others.
    Workers end at once when this process ends, however it ends.

    Args:
        function: importable by its name; function, item and result are pickled between the processes.
        items: one argument for each call.
        workers: processes; 0: the calls are made in this process, one after the other.
        threads: CPU threads of torch in each worker.

    Yields:
        An item with its result, or with the exception that the call raised.

    Raises:
        NeurofaError: workers below 0 or threads below 1.
    """
    if workers < 0 or threads < 1:
        raise NeurofaError(
            f"got workers={workers}, threads={threads}; expected workers >= 0, threads >= 1; change them"
        )
    if not workers:
        yield from _in_this_process(function, items, threads)
        return
    waiting: Iterator[T] | None = iter(items)
    while waiting is not None:
        waiting = yield from _with_one_pool(function, waiting, workers, threads)


def _in_this_process(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[tuple[T, R | Exception]]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for item in items:
            try:
                result: R | Exception = function(item)
            except Exception as error:  # as from a worker, it is a result
                result = error
            yield item, result
    finally:
        torch.set_num_threads(before)


def _with_one_pool(
    function: Callable[[T], R], waiting: Iterator[T], workers: int, threads: int
) -> Generator[tuple[T, R | Exception], None, Iterator[T] | None]:
    """Compute items until a worker is lost; return the items that are left, None when all are computed."""
    context = multiprocessing.get_context("spawn")
    # Workers end when this pipe ends: nothing is written, and the end that this process holds closes with it.
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (lifeline, threads))
    running: dict[Future[R], T] = {}
    lost = False
    try:
        while True:
            while len(running) < workers and not lost:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                try:
                    running[pool.submit(function, item)] = item
                except BrokenProcessPool:
                    lost, waiting = True, itertools.chain([item], waiting)
            if not running:
                pool.shutdown()
                return waiting if lost else None
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    lost = True
                    error = LostWorkerError(
                        "got a worker process that ended without a result; expected one for each run; start again, with"
                        " fewer workers if memory ran out"
                    )
                if error is not None and not isinstance(error, Exception):  # such as SystemExit
                    error = RuntimeError(repr(error))
                yield item, future.result() if error is None else error
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def _start_worker(lifeline: Connection, threads: int) -> None:
    """Prepare a worker: it ignores interrupts, which the parent handles, and ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
