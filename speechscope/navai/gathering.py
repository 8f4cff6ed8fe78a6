"""What is found of the items of a corpus, block by block, by whoever works it out.

Items are divided into spans, and spans into blocks, in a way that depends on their number alone.
Sums of blocks are added up in order to those of their span, and sums of spans in order to those of
all: always the same bits, whether one process does it, several do, or a job for each shard. What
travels is sums, and a few numbers of every input.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError
from speechscope.navai.sums import Listed, Sums
from speechscope.store.writer import ArtifactWriter
from speechscope.work.local import Executor

SPANS = 64
"""Most spans, and so most shards (chosen: sums of each are stored until they are merged)."""
Watch = Callable[[int, int], None]  # (done, total)


@dataclass
class Found:
    """What is found of some items.

    Parameters
    ----------
    sums
        Over the inputs.
    lists
        Something of every input, (…, n), in their order.
    """

    sums: Sums
    lists: dict[str, NDArray[Any]] = field(default_factory=dict)


class Work(Protocol):
    """What is to be done; picklable."""

    @property
    def block(self) -> int:
        """Items of a block."""
        ...

    @property
    def items(self) -> NDArray[np.int64]:
        """All items, (N,)."""
        ...

    def __call__(self, rows: slice, watch: Watch | None) -> Found:
        """Work out some of the items; report (items done, items of all) where it takes long."""
        ...


def span_items(count: int, block: int) -> int:
    """Return the items of a span, whole blocks, when there are so many items in all."""
    return -(-count // (SPANS * block)) * block


def gathered(
    work: Work,
    rows: slice,
    writer: ArtifactWriter,
    executor: Executor,
    progress: Watch | None = None,
) -> Iterator[tuple[int, Found]]:
    """Yield what is found of each span, with its number.

    Parameters
    ----------
    rows
        Which of the items: whole spans.
    writer
        Beside its output lies what comes from other processes.
    """
    step = span_items(len(work.items), work.block)
    tasks = (
        slice(start, min(start + work.block, span + step, rows.stop))
        for span in range(rows.start, rows.stop, step)
        for start in range(span, min(span + step, rows.stop), work.block)
    )
    total = rows.stop - rows.start

    def watch(done: int) -> None:
        if progress is not None:
            progress(done - rows.start, total)

    folder = writer.folder.resolve() if executor.elsewhere else None
    errand = _Errand(work, folder, uuid.uuid4().hex, watch)
    with executor.ordered_map(errand, tasks, writer.folder) as results:
        opened = (_opened(result, watch) for result in results)
        for number, group in groupby(opened, lambda one: one[0].start // step):
            yield number, joined(found for _, found in group)


def joined(parts: Iterable[Found]) -> Found:
    """Return what parts are together, added in order."""
    sums: Sums | None = None
    lists: dict[str, list[NDArray[Any]]] = {}
    for part in parts:
        if sums is None:
            sums = part.sums
        else:
            sums.add(part.sums)
        for name, values in part.lists.items():
            lists.setdefault(name, []).append(values)
    assert sums is not None
    return Found(sums, {name: np.concatenate(rows, axis=-1) for name, rows in lists.items()})


@dataclass(frozen=True)
class _Errand:
    """Works out a block, here, or elsewhere into a file that is read when its turn comes."""

    work: Callable[[slice, Watch | None], Found]
    folder: Path | None
    token: str
    watch: Callable[[int], None] | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "watch": None}

    def __call__(self, rows: slice) -> tuple[slice, Found | Path]:
        if self.folder is None:
            watch = self.watch
            return rows, self.work(rows, watch and (lambda done, _: watch(rows.start + done)))
        found = self.work(rows, None)
        # A block may be worked out twice: what is at its name is whole, whichever it is.
        path = self.folder / f".sums-{self.token}-{rows.start}"
        draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        with draft.open("wb") as file:
            np.savez(file, **dict(_arrays(found)))  # type: ignore[arg-type]
        draft.replace(path)
        return rows, path


def _opened(
    result: tuple[slice, Found | Path], watch: Callable[[int], None]
) -> tuple[slice, Found]:
    rows, found = result
    if isinstance(found, Path):
        try:
            with np.load(found, allow_pickle=False) as arrays:
                read = dict(arrays)
            found.unlink()
        except OSError as error:
            raise SpeechscopeError(
                f"{found.parent}: what a worker found is not here ({error.strerror}); the output "
                "has to be in a folder that all machines share"
            ) from error
        found = _found(read)
    watch(rows.stop)
    return rows, found


def _arrays(found: Found) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, keys, values in found.sums.listed():
        yield f"key/{name}", keys
        yield f"sum/{name}", values
    for name, values in found.lists.items():
        yield f"list/{name}", values


def _found(arrays: Mapping[str, NDArray[Any]]) -> Found:
    of = {
        kind: {
            name.removeprefix(f"{kind}/"): values
            for name, values in arrays.items()
            if name.startswith(f"{kind}/")
        }
        for kind in ("key", "sum", "list")
    }
    listed: list[Listed] = [(name, of["key"][name], sums) for name, sums in of["sum"].items()]
    return Found(Sums.of_listed(listed), of["list"])
