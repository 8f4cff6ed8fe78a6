"""Sums of aligned inputs by the class each is predicted as, and what they come to.

Items are divided into spans, and spans into blocks, in a way that depends on their number alone. A
task sums a span: the sums of its blocks are added in order, and those of spans in order to those of
all. They are always the same bits, whether one process does it, several do, or a job for each
shard.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.alignment import cropped, frames_left
from speechscope.navai.examples import Batch, Examples
from speechscope.navai.splits import Split, split_by
from speechscope.store.writer import ArtifactWriter
from speechscope.work.accelerators import fastest
from speechscope.work.device import sent
from speechscope.work.local import Executor
from speechscope.work.progress import Report
from speechscope.work.tasks import Results, Task, carry_out, mixed

if TYPE_CHECKING:
    from speechscope.stages.navai import Navai


MOST_BYTES = 2_000_000_000
"""Most memory the sums may take (chosen)."""

Key: TypeAlias = tuple[int, ...]
"""Such as a class, or a class and what its inputs are split by; () where there is one sum."""
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Lists: TypeAlias = dict[str, NDArray[Any]]
"""Something of every input, (…, n), in their order."""


class Sums:
    """Sums by name and key; those that were never asked for take no memory.

    Parameters
    ----------
    device
        Where they are; whole numbers stay with the processor.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = device
        self._of: dict[str, dict[Key, Tensor]] = {}
        self._bytes = 0

    def at(
        self, name: str, key: Key, shape: Iterable[int], dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Return a sum, to be added to in place; zero at first.

        Raises
        ------
        UsageProblem
            See `check_room`.
        """
        of = self._of.setdefault(name, {})
        if key not in of:
            device = self._device if dtype.is_floating_point else "cpu"
            self._keep(of, key, torch.zeros(*shape, dtype=dtype, device=device))
        return of[key]

    def of(self, name: str) -> dict[Key, Tensor]:
        """Return the sums of a name in order of their keys."""
        return dict(sorted(self._of.get(name, {}).items()))

    def add(self, other: "Sums") -> None:
        """Add those of other inputs, which are not to be used any more."""
        for name, of in other._of.items():
            mine = self._of.setdefault(name, {})
            for key, value in of.items():
                if key in mine:
                    mine[key] += value
                else:
                    self._keep(mine, key, value)

    def keep(self, name: str, key: Key, value: Tensor) -> None:
        """Take an array that is added to elsewhere as a sum, once."""
        of = self._of.setdefault(name, {})
        if key not in of:
            self._keep(of, key, value)

    def _keep(self, of: dict[Key, Tensor], key: Key, value: Tensor) -> None:
        self._bytes += value.nbytes
        check_room(self._bytes)
        of[key] = value

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all by name: their keys ``key_NAME`` (n, …) and the sums ``sum_NAME`` (n, …)."""
        arrays: dict[str, NDArray[Any]] = {}
        for name in self._of:
            of = self.of(name)
            arrays[f"key_{name}"] = np.array(list(of), dtype=np.int64).reshape(len(of), -1)
            arrays[f"sum_{name}"] = torch.stack(list(of.values())).cpu().numpy()
        return arrays

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> "Sums":
        """Return sums from `arrays`, among which there may be others."""
        sums = cls()
        for name in (name.removeprefix("sum_") for name in arrays if name.startswith("sum_")):
            of = sums._of.setdefault(name, {})
            values = torch.from_numpy(arrays[f"sum_{name}"])
            for key, value in zip(arrays[f"key_{name}"].tolist(), values, strict=True):
                sums._keep(of, tuple(key), value)
        return sums


def check_room(size: float) -> None:
    """Refuse sums that take more than `MOST_BYTES`.

    Raises
    ------
    UsageProblem
        They do.
    """
    if size > MOST_BYTES:
        raise UsageProblem(
            f"the means would take {size / 1e9:.1f} GB of memory; choose fewer "
            "(--class, --align, --by, --layer)"
        )


def joined(parts: Iterable[tuple[Sums, Lists]]) -> tuple[Sums, Lists]:
    """Return what parts are together: their sums, added in order, and their lists, joined."""
    sums = Sums()
    lists: dict[str, list[NDArray[Any]]] = {}
    for some, listed in parts:
        sums.add(some)
        for name, values in listed.items():
            lists.setdefault(name, []).append(values)
    return sums, {name: np.concatenate(rows, axis=-1) for name, rows in lists.items()}


def read_arrays(arrays: Arrays) -> tuple[Sums, Lists]:
    """Return sums from `Sums.arrays`, and the lists among them."""
    lists = {n: values for n, values in arrays.items() if not n.startswith(("key_", "sum_"))}
    return Sums.of_arrays(arrays), lists


SPANS = 64
"""Most spans, and so most shards (chosen: sums of each are stored until they are merged)."""
PLAIN, SHUFFLED, MOVED = range(3)
"""What is summed of each class: its inputs as aligned, those of others counted for it, and its own
aligned as others are."""


class Averages:
    """Sums over all inputs given so far; memory does not grow with them.

    Parameters
    ----------
    alignments
        How many there are, A.
    classes
        How many there are, K.
    shape
        (C, F, T) of one input.
    device
        Where they are added up, in double precision.
    seed
        Of the shuffled classes and shifts.

    Raises
    ------
    UsageProblem
        They would take more than `sums.MOST_BYTES`.
    """

    def __init__(
        self,
        alignments: int,
        classes: int,
        shape: tuple[int, int, int],
        *,
        device: torch.device,
        seed: int,
    ) -> None:
        check_room(3 * 8 * alignments * classes * float(np.prod(shape)))
        self.sums = Sums(device)
        self._alignments, self._shape = alignments, shape
        of_shift = (alignments, classes, shape[2])
        whole = torch.int64
        self._count = self.sums.at("count", (), (classes,), whole).cpu().numpy()
        self._covered = self.sums.at("covered", (), of_shift, whole).cpu().numpy()
        self._rng = np.random.default_rng(seed)
        sizes = (classes, 3, alignments, *self._shape)
        self._whole = torch.zeros(sizes, dtype=torch.float64, device=device)

    def add(
        self,
        inputs: Tensor,
        target: Tensor,
        shift: Tensor,
        parts: NDArray[np.int64] | None = None,
    ) -> None:
        """Add some inputs.

        Parameters
        ----------
        inputs
            (B, C, F, T), centred.
        target
            The class of each, (B,).
        shift
            (A, B), from `alignment.shifts`.
        parts
            By alignment, the class and the part of it that each input is counted for, (A, B, 2);
            a part below 0: for none.
        """
        # Classes, and shifts, change places among the inputs at hand: as many of each are left.
        mine = target.cpu().numpy()
        other = self._rng.permutation(len(mine))
        self._count += np.bincount(mine, minlength=len(self._count))
        for label in np.unique(mine).tolist():
            self.sums.keep("class", (label,), self._whole[label])
        fastest(add_aligned)(self._whole, inputs, target, other, shift)
        place, left = frames_left(shift, self._shape[2])
        for a, covered in enumerate(left.cpu().numpy()):
            np.add.at(self._covered[a], mine, covered)
            if parts is not None:
                own = cropped(inputs[:, :1], place[a], left[a])[:, 0]
                for n in np.flatnonzero(parts[a, :, 1] >= 0):
                    self._add_part(parts[a, n].tolist(), a, own[n])

    def _add_part(self, key: Sequence[int], a: int, left: Tensor) -> None:
        """Add the first channel of an input to a part of a class."""
        size = (self._alignments, *self._shape[1:])
        self.sums.at("part", tuple(key), size)[a] += left
        self.sums.at("part_count", tuple(key), (self._alignments,), torch.int64)[a] += 1


def add_aligned(
    whole: Tensor, inputs: Tensor, target: Tensor, other: NDArray[np.int64], shift: Tensor
) -> None:
    """Add inputs to the sums of classes, those of a class in the order of the inputs.

    Parameters
    ----------
    whole : (K, 3, A, C, F, T)
        The sums of every class, in double precision: `PLAIN`, `SHUFFLED` and `MOVED`.
    inputs, target, shift
        See `Averages.add`.
    other : (B,)
        The input whose class, and whose shift, each is given.
    """
    values, theirs = inputs.double(), sent(other, target.device)
    shuffled = target[theirs]
    place, left = frames_left(shift, inputs.shape[3])
    for a in range(len(shift)):
        own = cropped(values, place[a], left[a])
        whole[:, PLAIN, a].index_put_((target,), own, accumulate=True)
        whole[:, SHUFFLED, a].index_put_((shuffled,), own, accumulate=True)
        moved = cropped(values, place[a, theirs], left[a, theirs])
        whole[:, MOVED, a].index_put_((target,), moved, accumulate=True)


class Means:
    """What the sums of `Averages` come to; large arrays are made when they are asked for.

    Parameters
    ----------
    normalizer
        ``inputs``: the mean over all inputs, of any class (Krug 2018, sec. 3.5); ``classes``:
        the mean of the means of classes, each counting alike.

    Attributes
    ----------
    normalizer
        (A, C, F, T).
    covered
        (A, K, T), how many inputs have a value there.
    count
        (K,).
    """

    def __init__(self, sums: Sums, normalizer: str) -> None:
        self.count = sums.of("count")[()].numpy()
        self.covered = sums.of("covered")[()].numpy()
        self._sums = {key[0]: value.cpu().numpy() for key, value in sums.of("class").items()}
        plain = [(values[PLAIN], self.count[k]) for k, values in self._sums.items()]
        self.normalizer: NDArray[np.float64] = (
            np.sum([values for values, _ in plain], axis=0) / max(self.count.sum(), 1)
            if normalizer == "inputs"
            else np.mean([values / number for values, number in plain], axis=0)
        )

    def mean(self, kind: int = PLAIN) -> NDArray[np.float64]:
        """Return the mean of every alignment and class, (A, K, C, F, T); NaN without inputs.

        Parameters
        ----------
        kind
            `PLAIN`; `SHUFFLED`: each input counted for the class of another; `MOVED`: each input
            aligned as another one is.
        """
        alignments, *shape = self.normalizer.shape
        means = np.full((alignments, len(self.count), *shape), np.nan)
        for k, sums in self._sums.items():
            np.divide(sums[kind], self.count[k], out=means[:, k])
        return means

    def pattern(self, kind: int = PLAIN) -> NDArray[np.float64]:
        """Return what distinguishes a class, mean − normalizer (Krug 2018, sec. 3.5).

        Of `SHUFFLED`, what is left of it by chance; of `MOVED`, what is left where inputs are
        cropped as much, but not to where it matters: its normalizer is of inputs moved so, too.
        """
        over = self.normalizer
        if kind == MOVED:
            moved = [sums[MOVED] for sums in self._sums.values()]
            over = np.sum(moved, axis=0) / self.count.sum()
        return self.mean(kind) - over[:, None]


def chosen_classes(
    classes: Sequence[str], exclude: Sequence[str], only: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which classes count in the normalizer, (K,), and which of them are written.

    Parameters
    ----------
    only
        Those that are asked for; none means all.
    """
    counted = np.array([name not in exclude for name in classes])
    asked = np.array([not only or name in only for name in classes])
    return counted, counted & asked


@dataclass
class Summing:
    """Sums something of inputs by the class each is predicted as; a `work.tasks.Work`.

    Attributes
    ----------
    block
        Items of a block.

    Raises
    ------
    UsageProblem
        A class is not one of the network's, or is left out as well.
    """

    examples: Examples
    settings: "Navai"

    def __post_init__(self) -> None:
        self.block = self.examples.block
        known, exclude = self.examples.classes, self.settings.exclude
        for name in self.settings.class_:
            if name not in known:
                raise UsageProblem(f"--class {name}: choose from {', '.join(known)}")
            if name in exclude:
                raise UsageProblem(f"--class {name} is left out by --exclude")
        unknown = [name for name in exclude if name not in known]
        if unknown and "exclude" in self.settings.given:
            raise UsageProblem(f"--exclude {unknown[0]}: choose from {', '.join(known)}")

    @property
    def items(self) -> NDArray[np.int64]:
        """All items, (N,)."""
        return self.examples.items

    @cached_property
    def places(self) -> Tensor:
        """Which of the classes that count each class is, (K,); −1: none."""
        counted, _ = chosen_classes(self.examples.classes, self.settings.exclude, ())
        places = np.where(counted, np.cumsum(counted) - 1, -1)
        return sent(places, self.examples.device)

    @property
    def classes(self) -> int:
        """How many classes count."""
        return int((self.places >= 0).sum())

    def __getstate__(self) -> dict[str, Any]:
        kept = [field.name for field in fields(self)]
        return {name: getattr(self, name) for name in (*kept, "block")}

    @property
    def span(self) -> int:
        """Items of a span: whole blocks."""
        return -(-len(self.items) // (SPANS * self.block)) * self.block

    def spans(
        self,
        writer: ArtifactWriter,
        rows: slice,
        executor: Executor,
        progress: Report | None = None,
    ) -> Iterator[tuple[int, Arrays]]:
        """Yield the number of each span of some items, and its sums and lists as arrays."""
        starts = range(rows.start, rows.stop, self.span)
        edges = ((start, min(start + self.span, rows.stop)) for start in starts)
        tasks = (Task(start, stop, self.items[start:stop]) for start, stop in edges)
        total = rows.stop - rows.start
        for done in carry_out(writer, self, tasks, executor, total=total, progress=progress):
            yield done.task.start // self.span, done.returned

    def __call__(self, task: Task, progress: Report | None) -> Results:
        """Return sums and lists of the items of a task, block by block."""
        starts = range(task.start, task.stop, self.block)
        edges = ((start, min(start + self.block, task.stop)) for start in starts)
        sums, lists = joined(
            self.of_block(start, self._batches(start, stop, task, progress))
            for start, stop in edges
        )
        return Results(returned={**sums.arrays(), **lists})

    def _batches(
        self, start: int, stop: int, task: Task, progress: Report | None
    ) -> Iterator[Batch]:
        """Yield the inputs of some items that count."""
        for batch in self.examples.batches(slice(start, stop)):
            if progress is not None:
                progress(start - task.start + batch.done, task.stop - task.start)
            batch = batch.take(self.places[batch.target] >= 0)
            if len(batch):
                yield batch

    def of_block(self, start: int, batches: Iterator[Batch]) -> tuple[Sums, Lists]:
        """Return the sums of a block, and what is listed of its inputs.

        Parameters
        ----------
        start
            The first item; what is drawn at random depends on it.
        """
        raise NotImplementedError


@dataclass
class Averaging(Summing):
    """Averages aligned inputs by class.

    Parameters
    ----------
    phones
        See `splits.split_by`.

    Raises
    ------
    UsageProblem
        See `Summing`; or the means would not fit in memory.
    """

    phones: Corpus | None = None

    @cached_property
    def split(self) -> Split | None:
        """By what classes are split."""
        return split_by(self.settings.by, self.examples, self.phones)

    def of_block(self, start: int, batches: Iterator[Batch]) -> tuple[Sums, Lists]:
        """See `Summing`."""
        examples, settings = self.examples, self.settings
        averages = Averages(
            len(settings.alignments),
            self.classes,
            examples.shape,
            device=examples.device,
            seed=mixed(settings.seed, start),
        )
        rows = [np.empty((3, 0), dtype=np.int64)]
        shift = [np.empty((len(settings.alignments), 0), dtype=np.int16)]
        for batch in batches:
            parts = None if self.split is None else self._parts(batch, self.split)
            averages.add(batch.inputs, self.places[batch.target], batch.shift, parts)
            rows.append(np.stack([batch.item, batch.output, batch.target.cpu().numpy()]))
            shift.append(batch.shift.cpu().numpy().astype(np.int16))
        item, output, target = np.concatenate(rows, axis=1)
        return averages.sums, {
            "item_index": item,
            "output": output,
            "target": target.astype(np.int16),
            "shift": np.concatenate(shift, axis=1),
        }

    def _parts(self, batch: Batch, split: Split) -> NDArray[np.int64]:
        """Return class and part of each input by alignment, (A, B, 2)."""
        settings, target = self.settings, batch.target.cpu().numpy()
        _, written = chosen_classes(self.examples.classes, settings.exclude, settings.class_)
        parts = np.where(written[target], split.of(batch), -1)
        parts = np.broadcast_to(parts, tuple(batch.shift.shape))
        return np.stack(np.broadcast_arrays(target, parts), axis=-1)
