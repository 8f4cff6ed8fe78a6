"""Choosing the samples of a class that are clustered (Pellegrini 2016, sec. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.foreign import ForeignNetwork
from speechscope.networks.layers import Layered, bytes_each
from speechscope.networks.subject import Subject
from speechscope.work.device import fitting

if TYPE_CHECKING:
    from speechscope.stages.cluster import Cluster

BATCH = 256
"""Items that go through a network at a time."""
ROUNDING = 1e-6
"""By which a stretch may reach into a frame that it does not touch [samples]."""
INPUT = "input"
"""The name of the input among the layers; also by number, 0."""


@dataclass(frozen=True)
class Samples:
    """Samples, each of one or more items whose activations are averaged.

    Parameters
    ----------
    items
        Corpus items, those of one sample after each other, (n,).
    edges
        Where the items of each sample begin, and the end, (sample + 1,).
    labels
        Class of each sample, (sample,).
    within
        Of whole recordings, the stretch of each that a sample is, [samples] (sample, 2); None: all.
    frame
        What of the frames there stands for it: the ``third``, the ``middle`` one or their ``mean``.
    """

    items: NDArray[np.int64]
    edges: NDArray[np.int64]
    labels: NDArray[np.int64]
    within: NDArray[np.int64] | None = None
    frame: str = "mean"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def first(self) -> NDArray[np.int64]:
        """The first item of each sample, (sample,)."""
        return self.items[self.edges[:-1]]

    def take(self, rows: NDArray[np.integer[Any]]) -> "Samples":
        """Return some of the samples."""
        counts = np.diff(self.edges)[rows]
        items = [self.items[:0]]
        items += [self.items[self.edges[row] : self.edges[row + 1]] for row in rows]
        edges = np.concatenate([[0], np.cumsum(counts)])
        within = None if self.within is None else self.within[rows]
        edges = edges.astype(np.int64)
        return Samples(np.concatenate(items), edges, self.labels[rows], within, self.frame)

    def fewer_than(self, wanted: int, classes: tuple[str, ...]) -> list[str]:
        """Return the classes with fewer samples than wanted, and how many they have."""
        counts = np.bincount(self.labels, minlength=len(classes)).tolist()
        return [f"{name} {n}" for name, n in zip(classes, counts, strict=True) if n < wanted]


def phones(corpus: Corpus, split: str, frame: str) -> Samples:
    """Return one sample for every phone of a split.

    Of frames and windows, where a phone has several items, the third ("we systematically chose the
    third samples", sec. 3), the middle one, or all, to be averaged (sec. 5); a phone with fewer
    than three items has no third. An item of another unit is a phone. Of whole recordings a phone
    is the stretch where it is marked.

    Parameters
    ----------
    frame
        ``third``, ``middle`` or ``mean``.

    Raises
    ------
    UsageProblem
        The split is empty, or no phone is long enough.
    """
    if "phone" in corpus.artifact:
        return _marked(corpus, split, frame)
    if corpus.whole:
        corpus.phones(0)  # refuses it
    items = corpus.items(split)
    labels = corpus.labels
    if corpus.unit not in ("frame", "window"):
        return Samples(items, np.arange(len(items) + 1), labels[items])
    starts = corpus.artifact.read("start").astype(np.int64)[items]
    utterances = corpus.artifact.read("utterance")[items]
    step = np.diff(starts)
    hop = int(np.median(step[step > 0])) if (step > 0).any() else 1
    breaks = (np.diff(labels[items]) != 0) | (np.diff(utterances) != 0) | (step > hop)
    edges = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(items)]])
    lengths = np.diff(edges)
    if frame == "mean":
        return Samples(items, edges, labels[items[edges[:-1]]])
    if frame == "third":
        chosen = edges[:-1][lengths > 2] + 2
    else:
        chosen = edges[:-1] + lengths // 2
    if not len(chosen):
        raise UsageProblem(f"{corpus.path}: no phone of the {split} split has three items")
    return Samples(items[chosen], np.arange(len(chosen) + 1), labels[items[chosen]])


def classes_of(corpus: Corpus) -> tuple[str, ...]:
    """Return the names of what `phones` labels samples with."""
    return corpus.names("phone") if "phone" in corpus.artifact else corpus.classes


def _marked(corpus: Corpus, split: str, frame: str) -> Samples:
    """Return the phones of the recordings of a split."""
    read = corpus.artifact.read
    recording = np.repeat(np.arange(len(corpus.splits)), np.diff(read("phone_offset")))
    rows = np.flatnonzero(corpus.splits[recording] == SPLITS.index(split))
    if not len(rows):
        raise UsageProblem(f"{corpus.path}: no phone of the {split} split is marked")
    within = np.stack([read("phone_start"), read("phone_stop")], 1)[rows]
    edges, labels = np.arange(len(rows) + 1), read("phone").astype(np.int64)[rows]
    return Samples(recording[rows], edges, labels, within, frame)


def activations(subject: Subject, samples: Samples, layer: str) -> Tensor:
    """Return what a layer holds of each sample, (sample, …) float32 on the CPU.

    Read and run in batches of `BATCH` items; the activations of a sample's items are averaged.
    Whole recordings are run alone, and a layer's frames in the stretch of a sample are averaged.

    Raises
    ------
    SpeechscopeError
        They are not numbers.
    """
    held = _of_each(subject, samples, layer)
    bad = (~held.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise SpeechscopeError(
            f"layer {layer}: {len(bad)} of {len(samples)} samples give what is not a number, the "
            f"first is item {samples.first[bad[0]]}; choose other layers by --layer"
        )
    return held


def _of_each(subject: Subject, samples: Samples, layer: str) -> Tensor:
    """Return what a layer, or "" the scores, holds of each sample, (sample, …)."""
    if samples.within is None:
        return _averaged(subject, samples, layer)
    return in_stretches(subject, samples, [layer])[layer]


def _held(network: Layered, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return what layers hold of inputs, by name; `INPUT` the inputs themselves, "" the scores."""
    numbers = {network.resolve(name): name for name in layers if name not in ("", INPUT)}
    with torch.no_grad():
        found = {numbers[n]: out for n, out in network.activations(x, numbers).items()}
        found |= {"": network(x)} if "" in layers else {}
    return found | ({INPUT: x} if INPUT in layers else {})


def _averaged(subject: Subject, samples: Samples, layer: str) -> Tensor:
    """Return the mean of what a layer holds over the items of each sample, (sample, …)."""
    total: Tensor | None = None
    lengths = np.diff(samples.edges)
    weights = torch.from_numpy(1.0 / lengths).float()
    owner = torch.from_numpy(np.repeat(np.arange(len(samples)), lengths))
    size = bytes_each(subject.network, subject.corpus.input_shape)
    step = fitting(BATCH, size, subject.device)
    for start in range(0, len(samples.items), step):
        block = slice(start, start + step)
        out = _held(subject.network, subject.inputs(samples.items[block]), [layer])[layer]
        if not layer and out.dim() > 2:
            out = out.flatten(2).mean(2)
        out = out.cpu().float()
        if total is None:
            total = torch.zeros(len(samples), *out.shape[1:])
        rows = owner[block]
        total.index_add_(0, rows, out * weights[rows].view(-1, *(1,) * (out.dim() - 1)))
    assert total is not None
    return total


def in_stretches(subject: Subject, samples: Samples, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return what layers have at their frames within the stretch of each sample, (sample, …).

    Frames are those whose middles lie in the stretch; where none does, the nearest. Frame j of T
    has its middle at (N − 1 − (T − 1) s − (s − 1) / 2) / 2 + j s of N places of the input, s a
    frame: frames lie in the middle of the recording, but for half of what they may leave over.
    Those of a letter network, the last of which see padding, divide the recording evenly, and count
    where they touch the stretch. An output without frames is taken as it is.
    """
    assert samples.within is not None
    found: dict[str, dict[int, Tensor]] = {name: {} for name in layers}
    whole = subject.network if isinstance(subject.network, ForeignNetwork) else None
    for item in np.unique(samples.items).tolist():
        network, x, hop, first = subject.recording(item)
        rows = np.flatnonzero(samples.items == item).tolist()
        for name, out in _held(network, x, layers).items():
            axis, step = (2, 1.0)
            if whole is not None and name != INPUT:
                axis, step = whole.frames.get(name, (-1, 0.0))
            frames = out.movedim(axis + 1, 1)[0] if axis >= 0 else out
            if whole is None:
                step, around = hop * x.shape[3] / len(frames), 0.5
                middles = step * (np.arange(len(frames)) + around)
            else:
                over = x.shape[3] - 1 - (len(frames) - 1) * step - (step - 1) / 2
                middles, around = first + hop * (over / 2 + step * np.arange(len(frames))), 0.0
            for row in rows:
                there = _within(middles, samples.within[row], max(0.0, step * around - ROUNDING))
                if samples.frame != "mean":
                    last = len(there) - 1
                    there = there[[min(2, last) if samples.frame == "third" else len(there) // 2]]
                found[name][row] = frames[there].mean(0).cpu().float()
    return {
        name: torch.stack([held[row] for row in range(len(samples))])
        for name, held in found.items()
    }


def _within(
    middles: NDArray[np.floating[Any]], stretch: NDArray[np.int64], around: float
) -> NDArray[np.int64]:
    """Return the frames that lie in a stretch, or within so much of it; the nearest, if none."""
    start, stop = stretch
    there = np.flatnonzero((start - around <= middles) & (middles < stop + around))
    return there if len(there) else np.abs(middles - (start + stop - 1) / 2).argmin()[None]


def layers_of(subject: Subject, wanted: Sequence[str], flag: str = "--layer") -> tuple[str, ...]:
    """Return layers by name or number, in order; of ``all`` or nothing, all that are counted.

    Of phones in whole recordings those that have frames, without the inputs.

    Raises
    ------
    UsageProblem
        There is no such layer, or it has no frames.
    """
    network, frames = subject.network, None
    if subject.corpus.whole and isinstance(network, ForeignNetwork):
        frames = network.frames
    if list(wanted) in ([], ["all"]):
        if frames is None:
            return (INPUT, *network.names)
        return tuple(name for name in network.names if name in frames)
    # A layer may have the name of the input, or one that is a number.
    inputs = {text for text in wanted if text in ("0", INPUT) and text not in network.names}
    try:
        numbers = {network.resolve(text) for text in wanted if text not in inputs}
    except UsageProblem as error:
        reason = str(error).removeprefix("layer ").replace("expected 1 to", "expected 0 to", 1)
        raise UsageProblem(f"{flag} {reason}") from error
    named = tuple(network.named(number) for number in sorted(numbers))
    if frames is not None and (still := [name for name in named if name not in frames]):
        known = ", ".join(filter(None, frames))
        raise UsageProblem(f"{flag} {', '.join(still)}: no frames along time; {known} have some")
    return (*((INPUT,) if inputs else ()), *named)


def choose(subject: Subject, settings: "Cluster") -> Samples:
    """Return up to ``per_class`` random samples of every class, in order of class.

    With ``correct`` only samples whose largest score (of the mean scores, where items are averaged)
    is that of their class: "samples that were correctly classified by the model" (sec. 3). Each
    class has its own stream of random numbers.

    Raises
    ------
    UsageProblem
        Scores and classes are not the same, or fewer than two classes have samples.
    """
    corpus, correct = subject.corpus, settings.correct
    classes = classes_of(corpus)
    of_frames = "phone" in corpus.artifact and not (
        isinstance(subject.network, ForeignNetwork) and "" in subject.network.frames
    )
    if correct and (of_frames or subject.classes != classes):
        count = len(subject.classes)
        why = f"the network gives {count} scores, the corpus has {len(classes)} classes:"
        if of_frames:
            why = "of phones in whole recordings"
        raise UsageProblem(f"{why} which are correct cannot be told (--any takes all samples)")
    samples = phones(corpus, settings.split, settings.frame)
    if correct:
        samples = samples.take(np.flatnonzero(_answers(subject, samples) == samples.labels))
    chosen = some_of(samples, settings.per_class, settings.seed)
    count = len(np.unique(chosen.labels))
    if count < 2:
        kind, remedy = ("correct ", " (--any takes all samples)") if correct else ("", "")
        raise UsageProblem(
            f"{count} classes have {kind}samples in the {settings.split} split of the corpus; "
            f"clustering needs two{remedy}"
        )
    return chosen


def some_of(samples: Samples, per_class: int, seed: int) -> Samples:
    """Return up to so many random samples of every class, in order of class.

    Each class has its own stream of random numbers.
    """
    chosen = [np.empty(0, dtype=np.int64)]
    for label in np.unique(samples.labels):
        rng = np.random.default_rng([seed, int(label)])
        chosen.append(rng.permutation(np.flatnonzero(samples.labels == label))[:per_class])
    return samples.take(np.concatenate(chosen))


def _answers(subject: Subject, samples: Samples) -> NDArray[np.int64]:
    """Return the class with the largest score, over whatever positions there are, (sample,)."""
    answers: NDArray[np.int64] = _of_each(subject, samples, "").argmax(1).numpy()
    return answers
