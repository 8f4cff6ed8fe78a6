"""Inputs of one size with the class each is predicted as, batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.clustering.samples import classes_of, in_stretches, phones
from speechscope.corpus.letters import NAMES, SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.alignment import answered, needed, shifts
from speechscope.networks.layers import Layered, Network, bytes_each, receptive_field
from speechscope.networks.subject import AT_ONCE, Subject
from speechscope.networks.tracing import table_graph
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import ALIGNMENTS
from speechscope.relevance.explain import Explained, explained
from speechscope.relevance.maximize import on_its_window
from speechscope.store.artifact import Artifact
from speechscope.store.writer import CHUNK_BYTES
from speechscope.work.device import fitting, sent

if TYPE_CHECKING:
    from speechscope.stages.navai import Navai


MOST = 256
"""Most inputs worked on at a time."""
BATCHES = 8
"""As many times that are a block (chosen)."""
ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """Inputs that are worked on together.

    Parameters
    ----------
    inputs
        (B, C, F, T), centred.
    target
        The class each is predicted as, (B,).
    shift
        (A, B) [frames], by alignment.
    item
        The item of the corpus each comes from, (B,).
    output
        Which of the item's outputs it is, (B,); 0 where it has one.
    done
        How many of the items asked for are done with, this batch included.
    """

    inputs: Tensor
    target: Tensor
    shift: Tensor
    item: NDArray[np.int64]
    output: NDArray[np.int64]
    done: int

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: "slice | Tensor") -> "Batch":
        """Return some of the inputs: a stretch, or those for which (B,) is true."""
        if isinstance(rows, Tensor) and rows.all():
            return self
        here = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        tensors = (self.inputs[rows], self.target[rows], self.shift[:, rows])
        return Batch(*tensors, self.item[here], self.output[here], self.done)


@dataclass
class Examples:
    """Inputs of one size from a corpus.

    Parameters
    ----------
    corpus
        Where they are from.
    classes
        What can be predicted.
    items
        Items of the corpus they come from, (N,).
    shape
        (C, F, T) of one.
    device
        Where they are worked on.
    network
        What runs on the inputs; None: it is not there.
    """

    corpus: Corpus
    classes: tuple[str, ...]
    items: NDArray[np.int64]
    shape: tuple[int, int, int]
    device: torch.device
    settings: "Navai"
    network: Layered | None = None

    @property
    def at_once(self) -> int:
        """How many inputs are worked on at a time: some 4 MB of them."""
        usual = max(16, min(MOST, CHUNK_BYTES // (4 * prod(self.shape))))
        if self.network is None:
            return usual
        return fitting(usual, bytes_each(self.network, self.shape), self.device)

    @property
    def block(self) -> int:
        """Items whose sums are added first."""
        return BATCHES * self.at_once

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """Yield all of some items, in the order of the corpus."""
        raise NotImplementedError

    def middles(self, batch: Batch) -> NDArray[np.int64]:
        """Return where in their recordings the middles of chosen frames lie, (A, B) [samples]."""
        corpus, (hop, first) = self.corpus, self.corpus.framing
        away = batch.shift.cpu().numpy()
        frame = away + self.shape[2] // 2
        if corpus.unit == "utterance":
            return np.asarray(first + hop * frame)
        start, stop = (corpus.artifact.read_items(name, batch.item) for name in ("start", "stop"))
        if corpus.unit == "window":
            return np.asarray(start + frame)
        centre = (start.astype(np.int64) + stop) // 2
        if corpus.unit == "frame":
            return np.asarray(centre + away * hop)
        return np.asarray(centre + frame * hop + first - int(corpus.config["samples"]) // 2)


class ItemExamples(Examples):
    """The items of a corpus of segments, frames or windows, as one network answers them."""

    def __init__(self, subject: Subject, items: NDArray[np.int64], settings: "Navai") -> None:
        shape, device = subject.corpus.input_shape, subject.device
        super().__init__(subject.corpus, subject.classes, items, shape, device, settings)
        self.network = subject.of_centred
        self._subject = subject
        self._explained = explained(subject.network, subject.inputs(items[:1]), None)

    def __reduce__(self) -> tuple[Any, ...]:
        return ItemExamples, (self._subject, self.items, self.settings)

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """See `Examples`."""
        mean = sent(self.corpus.mean, self.device)
        items = self.items[rows]
        for start in range(0, len(items), self.at_once):
            part = items[start : start + self.at_once]
            x = self._subject.inputs(part)
            found = [self._answered(given) for _, given in self._subject.parts(x, part)]
            target, shift = (torch.cat(all_, -1) for all_ in zip(*found, strict=True))
            inputs = x if self._subject.centred else x - mean
            yield Batch(inputs, target, shift, part, np.zeros_like(part), start + len(part))

    def _answered(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classes of inputs, and their shifts from the middle of the longest."""
        target, shift = answered(self._explained, self.settings, x)
        sooner = x.shape[-1] // 2 - self.shape[2] // 2
        moved = [ALIGNMENTS[name].evidence is not None for name in self.settings.alignments]
        return target, shift + sooner * torch.tensor(moved, device=shift.device)[:, None]


class StoredExamples(Examples):
    """The items of a `relevance.zarr`, with the relevance that it holds.

    Items whose relevance is for another class than the one predicted are left out.

    Raises
    ------
    UsageProblem
        It is of a layer inside the network, or of windows of utterances, or lacks the relevance
        that an alignment needs.
    """

    def __init__(self, path: Path, corpus: Corpus, device: torch.device, settings: "Navai") -> None:
        artifact = Artifact(path, "relevance")
        layer = artifact.record["config"].get("layer")
        if layer is not None:
            raise UsageProblem(
                f"{path} explains what enters {layer}; inputs are aligned by relevance "
                "of inputs (speechscope relevance without --layer)"
            )
        if corpus.unit == "utterance":
            raise UsageProblem(
                f"{path} explains windows of utterances; navai takes the letter network "
                "itself (speechscope navai model.pt)"
            )
        methods = artifact.flags("technique")
        for method, name in needed(settings.alignments).items():
            if method not in methods:
                raise UsageProblem(
                    f"--align {name}: {path} holds {', '.join(methods)}; it needs "
                    f"{method} (speechscope relevance --method gradient,lrp)"
                )
        items = artifact.read("item_index").astype(np.int64)
        classes = artifact.flags("target")
        super().__init__(corpus, classes, items, corpus.input_shape, device, settings)
        self._artifact = artifact

    def __reduce__(self) -> tuple[Any, ...]:
        path = self._artifact.path.resolve()
        return StoredExamples, (path, self.corpus, self.device, self.settings)

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """See `Examples`."""
        artifact, methods = self._artifact, self._artifact.flags("technique")
        first, last, _ = rows.indices(len(self.items))
        for start in range(first, last, self.at_once):
            some = slice(start, min(start + self.at_once, last))
            part = self.items[some]
            size = (len(part), *self.shape)
            values = artifact.read("input", some).reshape(size) - self.corpus.mean
            x = sent(values, self.device)
            relevance = {
                method: sent(
                    artifact.read("relevance", (methods.index(method), some)).reshape(size),
                    self.device,
                )
                for method in needed(self.settings.alignments)
            }
            answers = [
                artifact.read(name, some).astype(np.int64) for name in ("target", "predicted")
            ]
            target, predicted = sent(np.stack(answers), self.device)
            shift = shifts(self.settings.alignments, relevance, x)
            batch = Batch(x, target, shift, part, np.zeros_like(part), some.stop - first)
            yield batch.take(target == predicted)


UTTERANCES = 8
"""Utterances of a block (chosen)."""


class PhoneExamples(Examples):
    """The phones that are marked in recordings: of each, what layers have at its frames.

    Raises
    ------
    UsageProblem
        None are marked.
    """

    block = UTTERANCES

    def __init__(self, subject: Subject, items: NDArray[np.int64], settings: "Navai") -> None:
        subject.recordings.phones(0)  # refuses a corpus without
        corpus, shape = subject.corpus, subject.network.input_shape
        classes = classes_of(corpus)
        super().__init__(corpus, classes, items, shape, subject.device, settings)  # type: ignore[arg-type]
        self.subject = subject
        self._samples = phones(corpus, settings.split, settings.frame)

    def __reduce__(self) -> tuple[Any, ...]:
        return PhoneExamples, (self.subject, self.items, self.settings)

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """Yield the phones of each recording, without inputs; an output is a phone's number."""
        samples = self._samples
        for done, item in enumerate(self.items[rows].tolist(), start=1):
            mine = np.flatnonzero(samples.items == item)
            target = sent(samples.labels[mine], self.device)
            none = target.new_empty(len(mine), 0), target, target.new_empty(0, len(mine))
            yield Batch(*none, samples.items[mine], mine, done)

    def activations(self, batch: Batch, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return what layers have of phones, (n, …) by name."""
        found = in_stretches(self.subject, self._samples.take(batch.output), layers)
        return {name: values.to(self.device) for name, values in found.items()}


class LetterExamples(Examples):
    """Windows of utterances, one for every letter answered.

    Parameters
    ----------
    network
        The letter network, on its device.
    corpus
        The utterances.
    items
        Which of them, (N,).

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    block = UTTERANCES

    def __init__(
        self, network: Wav2Letter, corpus: Corpus, items: NDArray[np.int64], settings: "Navai"
    ) -> None:
        if corpus.unit != "utterance":
            raise UsageProblem(
                f"{corpus.path} holds items of unit {corpus.unit}; a letter network takes whole "
                "utterances (speechscope prepare --recipe krug2018)"
            )
        last = len(network.table)
        window = on_its_window(network, last)
        channels, bins, frames = window.seen
        device = next(network.parameters()).device
        super().__init__(corpus, NAMES, items, (channels, bins, frames), device, settings)
        self._whole, self._field = network, receptive_field(network.table, last)
        assert isinstance(window.run, Network) and self._field.frames == frames
        self.network = window.run
        graph = table_graph(window.run)
        self._explained = Explained(window.run, lambda x: x, lambda *_: graph)

    def __reduce__(self) -> tuple[Any, ...]:
        return LetterExamples, (self._whole, self.corpus, self.items, self.settings)

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """Yield all of some items, in order, in batches of one size whatever their lengths."""
        step = self.at_once
        waiting: list[Batch] = []
        for done, item in enumerate(self.items[rows].tolist(), start=1):
            for windows in self._windows(item, done):
                waiting = [_together([*waiting, windows])]
                while len(waiting[0]) >= step:
                    yield self._aligned(waiting[0].take(slice(step)), done)
                    waiting = [waiting[0].take(slice(step, None))]
        if waiting and len(waiting[0]):
            yield self._aligned(waiting[0], len(self.items[rows]))

    def answers(self, item: int) -> NDArray[np.int64]:
        """Return the class of every output of an utterance, (outputs,), padded ones included."""
        values = self.corpus.utterance_inputs(np.array([item])) - self.corpus.mean[..., None]
        with torch.no_grad():
            scores = self._whole(sent(values, self.device))[0]
        return np.asarray(scores.argmax(0).cpu())

    def middles(self, batch: Batch) -> NDArray[np.int64]:
        """See `Examples`."""
        field, (hop, middle) = self._field, self.corpus.framing
        frame = batch.shift.cpu().numpy() + self.shape[2] // 2
        first = batch.output * field.step - field.before
        return np.asarray((first + frame) * hop + middle)

    def _windows(self, item: int, done: int) -> Iterator[Batch]:
        """Yield the windows of an utterance that are answered with letters without padding.

        Without padding the network gives those outputs alone that see none in training.
        """
        field = self._field
        begin, end = self.corpus.artifact.read("input_offset", slice(item, item + 2)).tolist()
        for first, seen in field.blocks(end - begin, AT_ONCE):  # an utterance may be hours long
            values = self.corpus.frames(slice(begin + seen.start, begin + seen.stop))
            x = sent(values - self.corpus.mean[..., None], self.device)
            with torch.no_grad():
                answer = self._explained.scores(x[None])[0, :, 0].argmax(0)
            place = torch.nonzero(answer < len(SPOKEN))[:, 0]
            views = x.unfold(2, field.frames, field.step).permute(2, 0, 1, 3)
            none = torch.empty(0, len(place), dtype=torch.int64, device=self.device)
            for start in range(0, len(place), self.at_once):
                some = place[start : start + self.at_once]
                output = first + some.cpu().numpy()
                items = np.full(len(output), item)
                yield Batch(views[some], answer[some], none[:, : len(some)], items, output, done)

    def _aligned(self, batch: Batch, done: int) -> Batch:
        _, shift = answered(self._explained, self.settings, batch.inputs, batch.target)
        return replace(batch, shift=shift, done=done)


def _together(batches: list[Batch]) -> Batch:
    """Return batches that are not aligned yet as one."""
    batches = [batch for batch in batches if len(batch)] or batches[-1:]
    if len(batches) == 1:
        return batches[0]
    return Batch(
        torch.cat([batch.inputs for batch in batches]),
        torch.cat([batch.target for batch in batches]),
        torch.cat([batch.shift for batch in batches], 1),
        np.concatenate([batch.item for batch in batches]),
        np.concatenate([batch.output for batch in batches]),
        batches[-1].done,
    )
