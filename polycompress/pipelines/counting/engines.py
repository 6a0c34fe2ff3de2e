"""Who counts: this process, all cores, or a Ray cluster. Each does the same jobs with the same function."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final, Literal, Protocol, TypeVar

from polycompress.errors import InputError, PolycompressError
from polycompress.pipelines.counting.units import (
    Job,
    OpenTokenizer,
    Outcome,
    Report,
    TokenizerFile,
    do_job,
    open_tokenizer,
    reread_tokenizer,
)

EngineName = Literal["process", "cores", "ray"]
ENGINES: Final[tuple[EngineName, ...]] = ("process", "cores", "ray")
AHEAD: Final = 2
"""Jobs for each worker that are prepared before one is free."""

_T = TypeVar("_T")
_R = TypeVar("_R")
_place: tuple[str, str] | None = None  # of a worker's tokenizer: its file, and that file's hash
_opened: OpenTokenizer | None = None  # of a worker, which lives for one tokenizer


class Engine(Protocol):
    """Does jobs."""

    workers: int
    """How many it does at a time."""

    def run(self, jobs: Iterable[Job], report: Report | None) -> Iterator[Outcome]:
        """Do jobs, in whatever order.

        Args:
            jobs: Units of work.
            report: Called while a unit is being counted, where the engine can tell.

        Raises:
            PolycompressError: A worker died.
        """
        ...

    def map(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        """Apply a function to each item, for work other than counting; results come in the order of the items."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def choose_engine(
    name: str, file: TokenizerFile, *, workers: int | None = None, address: str | None = None
) -> Engine:
    """Make an engine; nothing is started that another choice would have to end.

    Args:
        name: One of ``ENGINES``.
        file: The tokenizer to count with.
        workers: Processes or actors; None: as many as there are cores.
        address: Of a Ray cluster.

    Raises:
        InputError: The name is unknown, the number impossible, or the cluster does not answer.
        MissingExtraError: Ray is not installed.
    """
    if name not in ENGINES:
        raise InputError(f"Unknown engine {name!r}. There are {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot count. Give 1 or more, or leave it out.")
    if address is not None and name != "ray":
        raise InputError(f"The engine {name!r} knows no address. Add --engine ray, or leave --address out.")
    if name == "process":
        if workers is not None and workers > 1:
            raise InputError(
                "The engine 'process' is one process, whose threads use all cores by themselves. "
                "Leave --workers out, or use --engine cores."
            )
        return ProcessEngine(file)
    if name == "cores":
        return CoresEngine(file, workers or cores())
    from polycompress.pipelines.counting.ray_data import RayEngine

    return RayEngine(file, workers, address)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ProcessEngine:
    """This process; the tokenizers library uses all cores by itself."""

    workers = 1

    def __init__(self, file: TokenizerFile) -> None:
        self._file = file

    def run(self, jobs: Iterable[Job], report: Report | None) -> Iterator[Outcome]:
        """One after the other."""
        opened: OpenTokenizer | None = None
        for job in jobs:
            opened = opened or open_tokenizer(self._file)
            yield do_job(opened, job, report)

    def map(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        """See ``Engine``."""
        return map(function, items)

    def close(self) -> None:
        """Nothing was started."""


class CoresEngine:
    """Processes, each with a tokenizer of its own that uses one thread."""

    def __init__(self, file: TokenizerFile, workers: int) -> None:
        self.workers = workers
        self._file = file
        self._pool: ProcessPoolExecutor | None = None
        self._others: set[int | None] = set()
        self._busy = False

    def run(self, jobs: Iterable[Job], report: Report | None) -> Iterator[Outcome]:
        """As workers become free; ``report`` is called only for a single job, which is done in this process."""
        left = iter(jobs)
        ahead = list(itertools.islice(left, 2))
        left = itertools.chain(ahead, left)
        if len(ahead) < 2 or self.workers == 1:
            yield from ProcessEngine(self._file).run(left, report)
            return
        pool = self._started()
        waiting: set[Future[Outcome]] = set()
        try:
            while True:
                while len(waiting) < AHEAD * self.workers and (job := next(left, None)) is not None:
                    waiting.add(pool.submit(_work, job))
                self._busy = bool(waiting)
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise PolycompressError(
                "A process that counts died; perhaps the system had no memory left. Run the same command again with "
                "fewer --workers: what is finished is kept."
            ) from error

    def map(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterator[_R]:
        """See ``Engine``."""
        self._busy = True
        yield from self._started().map(function, items)
        self._busy = False

    def close(self) -> None:
        """End the workers, whatever they are at."""
        if self._pool is None:
            return
        for child in multiprocessing.active_children():
            if self._busy and child.pid not in self._others:
                child.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._others = {child.pid for child in multiprocessing.active_children()}
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context(
                    "spawn"
                ),  # the library's threads do not survive a fork
                initializer=_begin,
                # What goes along must fit a pipe: while it is written nobody sees that a worker is dead.
                initargs=(self._file.name, self._file.sha256),
            )
        return self._pool


def _begin(path: str, sha256: str) -> None:
    """Prepare a worker: one thread, no answer to Ctrl-C (the parent gives it), and no life without the parent."""
    global _place
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    one_thread()
    _place = path, sha256


def one_thread() -> None:
    """Let the tokenizers library of this process, which has not worked yet, use one thread."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> Outcome:
    global _opened
    if _opened is None:
        assert _place is not None
        _opened = open_tokenizer(reread_tokenizer(*_place))
    return do_job(_opened, job)
