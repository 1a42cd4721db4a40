"""Processes that own a slice of the tasks each, and the two pipes and shared arrays through which they are led.

An order is one byte on a worker's pipe, its reply another; actions and observations lie in memory that all processes
map, so nothing is copied through a pipe in the hot path. Blocking on a pipe costs about as much as on a semaphore,
wastes no core that the learner could use, and tells both sides at once when the other one dies: its end is closed by
the operating system. A worker that has replied stays awake for a moment, giving way to whoever wants its core: where
environments are all that runs, the next order comes at once, and a core that sleeps takes long to wake. Processes are
started afresh (never forked, so no lock of a torch thread is inherited) and in a session of their own: signals of a
terminal or a process group reach only the parent, which ends them in order.

``python -P -m d2r.envs.workers ORDERS REPLIES MEMORY`` is such a process; the arguments are file descriptors.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from d2r.config.benchmarks import Benchmark
from d2r.config.schema import Protocol
from d2r.envs.slices import Buffers, TaskSlice
from d2r.envs.tasks import share_out
from d2r.errors import RunFailure, Unfit, UserError

_STEP, _LAST_STEP, _CALL = b"s", b"l", b"c"
_DONE, _FAILED = b".", b"!"
_AWAKE_SECONDS = 3e-4
_CLOSE_SECONDS = 5.0


class WorkerDied(RunFailure):
    """A process that owns environments is gone; its message is one line that says which one and how it ended."""


def share(memory: mmap.mmap, tasks: int) -> Buffers:
    """The arrays of all tasks, laid out one after the other in ``memory``."""
    arrays, offset = [], 0
    for shape, dtype in Buffers.shapes(tasks):
        arrays.append(np.ndarray(shape, dtype, memory, offset))
        offset += _aligned(arrays[-1].nbytes)
    return Buffers(*arrays)


def _shared_size(tasks: int) -> int:
    return sum(
        _aligned(int(np.prod(shape)) * np.dtype(dtype).itemsize) for shape, dtype in Buffers.shapes(tasks)
    )


def _aligned(size: int) -> int:
    return -(-size // 64) * 64  # a cache line


def _anonymous_file(size: int) -> int:
    """A file without a name, so that nothing is left behind however the processes end."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("d2r-environments")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor


class _Worker:
    """The parent's side of one process."""

    def __init__(self, number: int, task_names: Sequence[str], memory: int) -> None:
        orders_read, self._orders = os.pipe()
        self._replies, replies_write = os.pipe()
        self._name = (
            f"environment worker {number} ({', '.join(task_names[:3])}{', ...' * (len(task_names) > 3)})"
        )
        inherited = (orders_read, replies_write, memory)
        # The modules of this process, and never those of the current folder (-P), which may be a stranger's; one
        # thread: several would fight for the cores.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",
            "MUJOCO_GL": "disable",  # nothing is rendered
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, *map(str, inherited)],
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            env=environment,
            start_new_session=True,
        )
        os.close(orders_read)
        os.close(replies_write)

    @property
    def pid(self) -> int:
        return self._process.pid

    def order(self, order: bytes) -> None:
        try:
            os.write(self._orders, order)
        except BrokenPipeError:
            self._report_death()

    def call(self, method: str, *arguments: Any) -> None:
        """Order a method call of the slice; :meth:`result` waits for what it returns."""
        self.order(_CALL)
        try:
            self._send((method, arguments))
        except BrokenPipeError:
            self._report_death()

    def wait(self) -> None:
        """Wait until the last order is done.

        Raises:
            WorkerDied: if the process ended or failed instead.
            UserError: if the process found bad input, as :class:`~d2r.errors.Unfit` a state of another run.
        """
        reply = os.read(self._replies, 1)
        if reply == _DONE:
            return
        if reply == _FAILED:
            kind, message = self._received()
            for known in (Unfit, UserError):
                if kind == known.__name__:
                    raise known(message)
            raise WorkerDied(f"{self._name} failed: {kind}: {message}")
        self._report_death()

    def result(self) -> Any:
        self.wait()
        return self._received()

    def _send(self, message: Any) -> None:
        connection = Connection(os.dup(self._orders), readable=False)
        with connection:
            connection.send(message)

    def _received(self) -> Any:
        try:
            with Connection(os.dup(self._replies), writable=False) as connection:
                return connection.recv()
        except (EOFError, OSError):  # it died before, or in the middle of, what it had to say
            self._report_death()

    def _report_death(self) -> NoReturn:
        status = self._process.wait()
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        raise WorkerDied(
            f"{self._name} died ({how}, process {self.pid}); the same command goes on from the last checkpoint"
        )

    def close(self) -> None:
        """Close the pipes, which ends the process."""
        os.close(self._orders)
        os.close(self._replies)
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


class WorkerPool:
    """The tasks of one seed or several, spread over processes.

    Args:
        seeds: of environments that are stepped together; each has its own rows of the shared arrays.
        workers: processes; each owns tasks of any of the seeds.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        protocol: Protocol,
        seeds: Sequence[np.random.SeedSequence],
        evaluation: bool,
        workers: int,
    ) -> None:
        names = benchmark.tasks * len(seeds)
        size = _shared_size(len(names))
        descriptor = _anonymous_file(size)
        self._memory = mmap.mmap(descriptor, size)
        self._buffers = share(self._memory, len(names))
        self._workers: list[_Worker] = []
        self._seats = set(range(len(seeds)))
        self._waiting: set[int] = set()
        try:
            for number, rows in enumerate(share_out(names, workers)):
                self._workers.append(_Worker(number, [names[row] for row in rows], descriptor))
                self._workers[-1].call("__init__", benchmark, protocol, list(seeds), evaluation, rows)
            for worker in self._workers:
                worker.result()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(descriptor)

    @property
    def process_ids(self) -> list[int]:
        """Process id of each worker."""
        return [worker.pid for worker in self._workers]

    def seats(self) -> list[PoolSeat]:
        """Each seed's part of the pool."""
        return [
            PoolSeat(self, place, rows_of(self._buffers, place, len(self._seats)))
            for place in sorted(self._seats)
        ]

    def begin_step(self, place: int, last: bool) -> None:
        """Let every task of all seeds step, once the last of the seeds has asked for it, and do not wait for it."""
        self._waiting.add(place)
        if self._waiting == self._seats:
            for worker in self._workers:
                worker.order(_LAST_STEP if last else _STEP)

    def end_step(self) -> None:
        """Wait until every task of all seeds has stepped."""
        if self._waiting:
            self._waiting = set()
            for worker in self._workers:
                worker.wait()

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of what each worker owns, and return what it returns."""
        for worker in self._workers:
            worker.call(method, *arguments)
        results, refused = [], None
        for worker in self._workers:
            try:
                results.append(worker.result())
            except Unfit as error:  # all are heard, so that the next order has its own answers
                refused = error
        if refused is not None:
            raise refused
        return results

    def leave(self, place: int) -> None:
        """Step a seed's tasks no more; with the last seed, end the processes."""
        self.end_step()
        self._seats.discard(place)
        if not self._seats:
            self.close()
        elif self._workers:
            self.call("leave", place)

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.pop().close()


class PoolSeat:
    """One seed's tasks in a pool; the same methods as :class:`~d2r.envs.slices.TaskSlice`."""

    def __init__(self, pool: WorkerPool, place: int, buffers: Buffers) -> None:
        self.pool, self.buffers, self._place = pool, buffers, place

    def begin_step(self, last: bool) -> None:
        """Let every task step with its action in the buffers, and do not wait for it."""
        self.pool.begin_step(self._place, last)

    def end_step(self) -> None:
        """Wait until every task has stepped."""
        self.pool.end_step()

    def restart_goals(self) -> None:
        """Let every task's goals begin again as if new."""
        self._call("restart_goals")

    def reset(self) -> None:
        """Begin a new episode of every task."""
        self._call("reset")

    def goal_states(self) -> dict[int, dict[str, Any]]:
        """State of each task's goal source at the start of the current episode."""
        return {task: state for states in self._call("goal_states") for task, state in states.items()}

    def simulator_states(self) -> dict[int, npt.NDArray[np.float64]]:
        """State of each task's simulator, for comparisons."""
        return {task: state for states in self._call("simulator_states") for task, state in states.items()}

    def simulate(self, steps: int) -> None:
        """Step the simulators alone, each process its own."""
        self._call("simulate", steps)

    def reenact(self, states: dict[int, dict[str, Any]], actions: npt.NDArray[np.float32]) -> None:
        """Restore an episode: the sources' states at its start, and the actions [steps, tasks, 4] since then."""
        self._call("reenact", states, actions)

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        """What each process that owns tasks of this seed returns."""
        answers = self.pool.call("of_seed", self._place, method, *arguments)
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """Leave the pool."""
        self.pool.leave(self._place)


class _Owned:
    """What one process owns: tasks of one seed or several."""

    def __init__(
        self,
        benchmark: Benchmark,
        protocol: Protocol,
        seeds: Sequence[np.random.SeedSequence],
        evaluation: bool,
        rows: Sequence[int],
        memory: mmap.mmap,
    ) -> None:
        count = len(benchmark.tasks)
        buffers = share(memory, count * len(seeds))
        self._slices: dict[int, TaskSlice] = {}
        for place, seed in enumerate(seeds):
            tasks = [row - place * count for row in rows if row // count == place]
            if tasks:
                own = rows_of(buffers, place, len(seeds))
                self._slices[place] = TaskSlice(benchmark, protocol, seed, evaluation, tasks, own)

    def step(self, last: bool) -> None:
        """Step every task."""
        for tasks in self._slices.values():
            tasks.step(last)

    def of_seed(self, place: int, method: str, *arguments: Any) -> Any:
        """Call a method of a seed's slice, if some of its tasks are here."""
        tasks = self._slices.get(place)
        return None if tasks is None else getattr(tasks, method)(*arguments)

    def leave(self, place: int) -> None:
        """Give up a seed's tasks."""
        self._slices.pop(place, None)


def rows_of(buffers: Buffers, place: int, seeds: int) -> Buffers:
    """One seed's rows of arrays that hold those of several, one after the other."""
    tasks = len(buffers.rewards) // seeds
    rows = slice(place * tasks, (place + 1) * tasks)
    actions, observations, final_observations, rewards, infos, exceptions = buffers
    return Buffers(
        actions[rows],
        observations[rows],
        final_observations[rows],
        rewards[rows],
        infos[rows],
        exceptions[rows],
    )


def next_order(orders: int) -> bytes:
    """The next order of the parent, nothing if it has closed the pipe: waits awake at first, then asleep."""
    pipe = select.poll()
    pipe.register(orders, select.POLLIN)
    awake_until = time.perf_counter() + _AWAKE_SECONDS
    while not pipe.poll(0) and time.perf_counter() < awake_until:
        os.sched_yield()
    return os.read(orders, 1)


def serve(orders: int, replies: int, memory: mmap.mmap) -> None:
    """Obey the orders of the parent until it closes the pipe or dies."""
    tasks: _Owned | None = None
    while order := next_order(orders):
        try:
            if order == _CALL:
                with Connection(os.dup(orders), writable=False) as connection:
                    method, arguments = connection.recv()
                if tasks is None:
                    tasks, result = _Owned(*(*arguments, memory)), None
                else:
                    result = getattr(tasks, method)(*arguments)
                os.write(replies, _DONE)
                with Connection(os.dup(replies), readable=False) as connection:
                    connection.send(result)
            else:
                assert tasks is not None
                tasks.step(order == _LAST_STEP)
                os.write(replies, _DONE)
        except (BrokenPipeError, EOFError):
            return
        except Exception as error:  # noqa: BLE001 - the parent reports whatever happened here
            os.write(replies, _FAILED)
            with Connection(os.dup(replies), readable=False) as connection:
                connection.send((type(error).__name__, " ".join(str(error).split())))


def main() -> None:
    """Run one worker process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent answers them, and ends this process
        signal.signal(number, signal.SIG_IGN)
    orders, replies, descriptor = map(int, sys.argv[1:])
    with contextlib.suppress(BrokenPipeError):
        serve(orders, replies, mmap.mmap(descriptor, os.fstat(descriptor).st_size))


if __name__ == "__main__":
    main()
