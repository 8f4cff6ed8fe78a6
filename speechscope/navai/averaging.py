"""What is averaged, and the averaging of some items of a corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.averages import NORMALIZERS, Averages
from speechscope.navai.block import Block
from speechscope.navai.examples import Examples
from speechscope.navai.gathering import Found, Watch
from speechscope.navai.splits import Split, split_by
from speechscope.work.tasks import mixed


@dataclass(frozen=True)
class NavaiSettings:
    """What is averaged.

    Parameters
    ----------
    alignments
        Names in `alignment.ALIGNMENTS`.
    classes
        Names of the classes that are written; empty: all.
    exclude
        Names of classes that neither are written nor count in the normalizer.
    normalizer
        See `Averages.finish`.
    least
        Inputs a part of a class has to have to be written.
    seed
        Of the shuffled classes and shifts.
    """

    alignments: tuple[str, ...]
    classes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    normalizer: str = "inputs"
    least: int = 5
    seed: int = 0

    def check(self, known: Sequence[str]) -> None:
        """Refuse classes that the network does not have.

        Raises
        ------
        UsageProblem
            There is one, or one that is left out as well.
        """
        for name in self.classes:
            if name not in known:
                raise UsageProblem(f"--class {name}: choose from {', '.join(known)}")
            if name in self.exclude:
                raise UsageProblem(f"--class {name} is left out by --exclude")
        if self.normalizer not in NORMALIZERS:
            raise UsageProblem(f"--normalizer {self.normalizer}: choose {' or '.join(NORMALIZERS)}")

    def counted(self, classes: Sequence[str]) -> NDArray[np.bool_]:
        """Return which classes count in the normalizer, (K,)."""
        return np.array([name not in self.exclude for name in classes])

    def wanted(self, classes: Sequence[str]) -> NDArray[np.bool_]:
        """Return which classes are written, where they have inputs, (K,)."""
        chosen = [not self.classes or name in self.classes for name in classes]
        return np.asarray(self.counted(classes) & np.array(chosen))


@dataclass(frozen=True)
class Layout:
    """What is known of the arrays before anything is averaged.

    Parameters
    ----------
    classes
        Names of the network's classes.
    axes
        Values and attributes of the coordinates ``frequency``, ``time`` and ``channel``.
    parts
        Names of what classes are split by; none: nothing.
    layers
        Names of the layers of profiles.
    """

    classes: tuple[str, ...]
    axes: Mapping[str, tuple[NDArray[Any], Mapping[str, Any]]]
    parts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


@dataclass
class Counting:
    """Sums something of inputs by the class each is predicted as; see `gathering.Work`.

    Raises
    ------
    UsageProblem
        A class is not one of the network's.
    """

    examples: Examples
    settings: NavaiSettings

    def __post_init__(self) -> None:
        self.settings.check(self.examples.classes)

    @property
    def block(self) -> int:
        """Items of a block."""
        return self.examples.task

    @property
    def items(self) -> NDArray[np.int64]:
        """All items, (N,)."""
        return self.examples.items

    @property
    def counted(self) -> int:
        """How many classes count in the normalizer."""
        return int(self.settings.counted(self.examples.classes).sum())

    def blocks(
        self, alignments: Sequence[str], rows: slice, watch: Watch | None
    ) -> Iterator[tuple[Block, Tensor]]:
        """Yield the inputs of some items that count, and the place (B,) of the class of each."""
        examples = self.examples
        kept = self.settings.counted(examples.classes)
        place = torch.from_numpy(np.where(kept, np.cumsum(kept) - 1, -1)).to(examples.device)
        for block in examples.blocks(alignments, rows):
            if watch is not None:
                watch(block.done, len(self.items))
            block = block.kept(place[block.target] >= 0)
            if len(block.item):
                yield block, place[block.target]


@dataclass
class Averaging(Counting):
    """Averages aligned inputs of some items by class; see `gathering.Work`.

    Parameters
    ----------
    by, phones
        See `splits.split_by`.

    Raises
    ------
    UsageProblem
        See `Counting`; or the means would not fit in memory.
    """

    by: str = "none"
    phones: Corpus | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def split(self) -> Split | None:
        """By what classes are split."""
        of = self.examples
        return split_by(self.by, of.corpus, phones=self.phones, times=of.times, answers=of.answers)

    @property
    def layout(self) -> Layout:
        """What is known of the arrays."""
        parts = () if self.split is None else tuple(self.split.names)
        return Layout(self.examples.classes, axes_of(self.examples), parts)

    def __call__(self, rows: slice, watch: Watch | None) -> Found:
        """Average the inputs of some items; those drawn at random depend on the first item."""
        examples, settings = self.examples, self.settings
        wanted = settings.wanted(examples.classes)
        averages = Averages(
            len(settings.alignments),
            self.counted,
            examples.shape,
            device=examples.device,
            seed=mixed(settings.seed, rows.start),
        )
        items = [np.empty((3, 0), dtype=np.int64)]
        shift = [np.empty((len(settings.alignments), 0), dtype=np.int16)]
        for block, place in self.blocks(settings.alignments, rows, watch):
            groups = None if self.split is None else self.split.groups(block, wanted)
            averages.add(block.inputs, place, block.shift, groups)
            items.append(np.stack([block.item, block.output, block.target.cpu().numpy()]))
            shift.append(block.shift.cpu().numpy().astype(np.int16))
        item, output, target = np.concatenate(items, axis=1)
        lists = {
            "item_index": item,
            "output": output,
            "target": target.astype(np.int16),
            "shift": np.concatenate(shift, axis=1),
        }
        return Found(averages.sums, lists)


def axes_of(examples: Examples) -> dict[str, tuple[NDArray[Any], Mapping[str, Any]]]:
    """Return the coordinates of inputs; time is that from the middle."""
    artifact, config = examples.corpus.artifact, examples.corpus.config
    found = {
        name: (artifact.read(name), artifact.attributes(name))
        for name in ("frequency", "channel")
        if name in artifact
    }
    hop = int(config["window"]) - int(config["overlap"])
    step = (1 if examples.corpus.unit == "window" else hop) / int(config["rate"])
    frames = examples.shape[2]
    away = (np.arange(frames) - frames // 2) * step
    return {**found, "time": (away, {"units": "s", "comment": "from the middle"})}
