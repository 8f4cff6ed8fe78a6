"""Reading ``corpus.zarr``: what training, inversion and scoring ask of a corpus."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import names_of
from speechscope.corpus.units import Indices, View, stretches
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import UsageProblem
from speechscope.features.representations import Representation
from speechscope.features.stft import Transform, centred
from speechscope.registry import UNITS
from speechscope.store.artifact import Artifact

_RANGE = re.compile(r"(\d*):(\d*)|(\d+)")


class Corpus:
    """A prepared corpus; only labels are held in memory.

    Attributes
    ----------
    config
        The settings it was prepared with.
    unit
        What an item is: ``segment``, ``frame``, ``window`` or ``utterance``.
    features
        Name of the representation; ``waveform`` for windows.
    whole
        Whether its windows are whole recordings, with the times of their phones.

    Raises
    ------
    ArtifactError
        See `speechscope.store.artifact.Artifact`.
    """

    def __init__(self, path: Path) -> None:
        self.artifact = Artifact(path, "corpus")
        self.path = path
        self.config: dict[str, Any] = self.artifact.record["config"]
        self.unit, self.features = str(self.config["unit"]), str(self.config["features"])
        self.whole = self.unit == "utterance" and self.features == "waveform"
        if self.whole:  # windows that begin with their recording
            self.unit = "window"

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens it anew, whatever its working directory is.
        return Corpus, (self.path.resolve(),)

    @property
    def labelled(self) -> bool:
        """Whether somebody said what its items are; of other speech (`Seen`) nobody may have."""
        return True

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of every item, (item,).

        Raises
        ------
        UsageProblem
            Its items are labelled with letters.
        """
        self._need_classes()
        return self.artifact.read("label").astype(np.int64)

    @cached_property
    def splits(self) -> NDArray[np.int8]:
        """0 train, 1 dev, 2 test, (item,)."""
        return self.artifact.read("split")

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the training split: (channel, frequency, time), of utterances without time."""
        return self.artifact.read("mean")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; of a corpus with letters, the letters."""
        return self.names("label" if "label" in self.artifact else "letter")

    @property
    def classes_folded(self) -> tuple[str, ...]:
        """Names of the folded classes."""
        self._need_classes()
        return self.names("label_folded")

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Folded class of each class, (class,)."""
        self._need_classes()
        return self.artifact.read("fold").astype(np.int64)

    def names(self, label: str) -> tuple[str, ...]:
        """Return the names behind the integers of ``speaker``, ``utterance`` or another label."""
        return names_of(self.artifact, label)

    @cached_property
    def representation(self) -> Representation:
        """The representation of its inputs.

        Raises
        ------
        UsageProblem
            It holds waveforms.
        """
        if self.unit == "window":
            raise UsageProblem(
                f"{self.path} holds waveforms; this needs spectrograms "
                "(speechscope prepare --unit segment)"
            )
        config = self.config
        sizes = ("samples", "window", "overlap", "bins", "rate")
        return Representation(
            self.features,
            Transform(**{name: int(config[name]) for name in sizes}),
            deltas=int(config["deltas"]),
            normalize=str(config["normalize"]),
        )

    @cached_property
    def invertible(self) -> bool:
        """Whether `sound_of` can turn inputs back into waveforms."""
        representation = self.representation
        return self.unit == "segment" and representation.invert(self.mean[None]) is not None

    def sound_of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the waveforms (N, samples) of inputs (N, channel, frequency, time).

        Raises
        ------
        UsageProblem
            They do not determine a waveform; see `invertible`.
        """
        sound = self.representation.invert(values) if self.unit == "segment" else None
        if sound is None:
            raise UsageProblem(f"{self.path}: {self.features} cannot be turned back into sound")
        return sound

    @cached_property
    def view(self) -> View:
        """Its items as arrays of one shape.

        Raises
        ------
        UsageProblem
            They are whole utterances.
        """
        view: type[View] | None = UNITS[self.unit].view
        if view is None:
            raise UsageProblem(
                f"{self.path} holds whole {self.unit}s; this needs items of one length "
                "(speechscope prepare --unit segment, frame or window)"
            )
        return view(self.artifact)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item; raises as `view` does."""
        return self.view.shape

    def items(self, split: str) -> NDArray[np.int64]:
        """Return the indices of a split's items.

        Raises
        ------
        UsageProblem
            The split is empty.
        """
        items = np.flatnonzero(self.splits == SPLITS.index(split))
        if len(items) == 0:
            raise UsageProblem(f"{self.path} has no {split} items")
        return items

    def centred(self, items: Indices) -> NDArray[np.float32]:
        """Read inputs with the training mean removed, (N, channel, frequency, time).

        A window of the waveform is (1, 1, samples). Raises as `view` does.
        """
        values = self.view.read(items)
        values -= self.mean
        return values

    @property
    def in_windows(self) -> bool:
        """Whether what is explained of it are windows of utterances, each by its first frame."""
        return self.unit == "utterance" and not self.whole

    @property
    def framing(self) -> tuple[int, int]:
        """From one frame of its spectrograms to the next, and the middle of the first [samples]."""
        window = int(self.config["window"])
        return window - int(self.config["overlap"]), window // 2

    @property
    def grid(self) -> tuple[int, int]:
        """The same of the places of an input along time: of waveforms every sample is one."""
        return (1, 0) if self.unit == "window" else self.framing

    @property
    def axes(self) -> dict[str, tuple[NDArray[Any], Mapping[str, Any]]]:
        """Coordinates of its inputs and their attributes: frequency and time, where it has them."""
        return {
            name: (self.artifact.read(name), self.artifact.attributes(name))
            for name in ("frequency", "time")
            if name in self.artifact
        }

    def lengths(self, items: Indices) -> NDArray[np.int64]:
        """Return how long whole recordings are, (N,): behind that inputs are zeros."""
        start, stop = (self.artifact.read_items(name, items) for name in ("start", "stop"))
        return np.asarray(stop - start, dtype=np.int64)

    def shares(self, items: Indices) -> NDArray[np.float64]:
        """Return how much of the longest recording each is, (N,)."""
        return np.asarray(self.lengths(items) / self.input_shape[2])

    def phones(self, item: int) -> list[tuple[str, slice]]:
        """Return the phones of a whole recording and their samples, in order.

        Raises
        ------
        UsageProblem
            It knows of none: its items are no whole recordings, or nobody marked them.
        """
        if "phone" not in self.artifact:
            raise UsageProblem(
                f"{self.path} holds no times of phones (speechscope prepare --unit utterance, of a "
                "folder with time marks)"
            )
        names, read = self.names("phone"), self.artifact.read
        first, last = read("phone_offset", slice(item, item + 2)).tolist()
        rows = (
            read(n, slice(first, last)).tolist() for n in ("phone", "phone_start", "phone_stop")
        )
        return [(names[n], slice(a, b)) for n, a, b in zip(*rows, strict=True)]

    def waveforms(self, items: Indices) -> NDArray[np.float32]:
        """Read segments, zero-padded as for the transform, (N, samples).

        Raises
        ------
        UsageProblem
            Its items are not segments.
        """
        self._need("segment")
        samples = int(self.config["samples"])
        edges = self.artifact.read("waveform_offset")
        out = np.zeros((len(items), samples), dtype=np.float32)
        for row, stretch in stretches(self.artifact, edges[items], edges[np.add(items, 1)]):
            out[row] = centred([stretch], samples)[0]
        return out

    def places(self, item: int) -> list[slice]:
        """Return where along the input of a whole recording its phones are; see `phones`."""
        hop, first = self.grid
        stretches = [(stretch.start, stretch.stop) for _, stretch in self.phones(item)]
        return [slice(*(max(0, -((first - at) // hop)) for at in ends)) for ends in stretches]

    def utterance_inputs(self, items: Indices) -> list[NDArray[np.float32]]:
        """Read whole utterances as stored, each (channel, frequency, time).

        Raises
        ------
        UsageProblem
            Its items are not utterances.
        """
        self._need("utterance")
        edges = self.artifact.read("input_offset")
        return [self.frames(slice(int(edges[item]), int(edges[item + 1]))) for item in items]

    def frames(self, rows: slice) -> NDArray[np.float32]:
        """Read frames of utterances, which lie one after the other: (channel, frequency, time)."""
        part = self.artifact.read("input", rows)
        return np.ascontiguousarray((part[:, None] if part.ndim == 2 else part).transpose(1, 2, 0))

    def letters(self, items: Indices) -> list[NDArray[np.int64]]:
        """Read what is said in each utterance, as indices of `classes`.

        Raises
        ------
        UsageProblem
            The corpus has no letters.
        """
        if "letter" not in self.artifact:
            raise UsageProblem(
                f"{self.path} has no letters (speechscope prepare --unit utterance --labels letter)"
            )
        letters, edges = self._letters
        return [letters[edges[item] : edges[item + 1]].astype(np.int64) for item in items]

    @cached_property
    def _letters(self) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """The letters of all items, and where each item's begin."""
        return self.artifact.read("letter"), self.artifact.read("letter_offset")

    def _need(self, unit: str) -> None:
        if self.unit != unit:
            raise UsageProblem(
                f"{self.path} holds items of unit {self.unit}; this needs "
                f"`speechscope prepare --unit {unit}`"
            )

    def _need_classes(self) -> None:
        if "label" not in self.artifact:
            raise UsageProblem(
                f"{self.path} is labelled with letters; this needs one class an item "
                "(speechscope prepare --labels phone)"
            )


def choose(
    corpus: Corpus, split: str, *, ranges: list[str] | None, everything: bool, count: int, seed: int
) -> NDArray[np.int64]:
    """Return the items of a split: all, those that `ranges` name, or `count` a class.

    Raises
    ------
    UsageProblem
        A range is malformed or names an item that is not there.
    """
    if everything:
        return corpus.items(split)
    if ranges is not None:
        return positions(corpus.items(split), f"the {split} split", ranges)
    return per_class(corpus, split, count, seed)


def per_class(corpus: Corpus, split: str, count: int, seed: int) -> NDArray[np.int64]:
    """Return up to `count` random items of every class of a split, in order of class.

    Churchman 2015, sec. 7: "only one randomly chosen example from each of the 48 phone classes".
    Each class has its own stream of random numbers, so that more classes or a larger `count`
    leave the first choices as they were.
    """
    items = corpus.items(split)
    labels = corpus.labels[items]
    chosen = []
    for label in np.unique(labels):
        rng = np.random.default_rng([seed, int(label)])
        chosen.append(rng.permutation(items[labels == label])[:count])
    return np.concatenate(chosen)


def positions(items: NDArray[np.int64], what: str, texts: list[str]) -> NDArray[np.int64]:
    """Return those of items that ranges name: ``0:100``, ``7``, ``90:``; `what` they are of.

    Raises
    ------
    UsageProblem
        A range is malformed or names an item that is not there.
    """
    parts = []
    for text in texts:
        match = _RANGE.fullmatch(text)
        if match is None or text == ":":
            raise UsageProblem(f"--items {text}: give positions such as 0:100 or 7")
        first, last, single = match.groups()
        start = int(single or first or 0)
        stop = start + 1 if single else int(last or len(items))
        if start >= stop or stop > len(items):
            raise UsageProblem(f"--items {text}: {what} has items 0 to {len(items) - 1}")
        parts.append(items[start:stop])
    return np.concatenate(parts)
