"""What ``--workers`` and ``--scheduler`` mean: who runs the tasks of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from speechscope.errors import UsageProblem
from speechscope.work.parallel import Executor, Here, Threads


@contextmanager
def executor(
    workers: int = 1,
    scheduler: str | None = None,
    *,
    threads: bool = False,
    alone: Executor | None = None,
) -> Iterator[Executor]:
    """Give what runs tasks while the block lasts.

    Parameters
    ----------
    workers
        Threads or processes of this machine.
    scheduler
        Address or file of a Dask scheduler instead.
    threads
        Whether threads do: for tasks that mostly decode, transform and compress.
    alone
        What runs them in this process where no others are asked for; None: one after another.

    Raises
    ------
    UsageProblem
        Both were asked for.
    SpeechscopeError
        The scheduler cannot be used.
    """
    if scheduler is not None:
        if workers > 1:
            raise UsageProblem("--workers and --scheduler exclude each other")
        from speechscope.work.dask_workers import dask_workers

        with dask_workers(scheduler) as found:
            yield found
    elif threads:
        yield Threads(workers)
    elif workers > 1:
        from speechscope.work.processes import Processes

        yield Processes(workers)
    else:
        yield alone or Here()
