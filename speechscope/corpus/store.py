"""Reading ``corpus.zarr``: what training, inversion and scoring ask of a corpus."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import SPLIT_NAMES
from speechscope.corpus.names import names_of
from speechscope.corpus.views import Indices, View, stretches, view_of
from speechscope.errors import UsageProblem
from speechscope.features.representations import Representation, representation
from speechscope.features.stft import centre
from speechscope.features.transform import Transform
from speechscope.store.artifact import Artifact


class Corpus:
    """A prepared corpus; only labels are held in memory.

    Raises
    ------
    ArtifactError
        See `speechscope.store.artifact.Artifact`.
    """

    def __init__(self, path: Path) -> None:
        self.artifact = Artifact(path, "corpus")
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens it anew, whatever its working directory is.
        return Corpus, (self.path.resolve(),)

    @property
    def config(self) -> dict[str, Any]:
        """The settings it was prepared with."""
        return self.artifact.record["config"]

    @property
    def unit(self) -> str:
        """What an item is: ``segment``, ``frame``, ``window`` or ``utterance``."""
        return str(self.config["unit"])

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
    def labels_folded(self) -> NDArray[np.int64]:
        """Folded class of every item, (item,)."""
        self._need_classes()
        return self.artifact.read("label_folded").astype(np.int64)

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

    @property
    def features(self) -> str:
        """Name of the representation; ``waveform`` for windows."""
        return str(self.config["features"])

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
        transform = Transform(
            samples=int(config["samples"]),
            window=int(config["window"]),
            overlap=int(config["overlap"]),
            bins=int(config["bins"]),
            rate=int(config["rate"]),
        )
        return representation(
            self.features,
            transform,
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
        found = self.representation.invert(values) if self.unit == "segment" else None
        if found is None:
            raise UsageProblem(f"{self.path}: {self.features} cannot be turned back into sound")
        return found

    @cached_property
    def view(self) -> View:
        """Its items as arrays of one shape.

        Raises
        ------
        UsageProblem
            They are whole utterances.
        """
        if self.unit == "utterance":
            raise UsageProblem(
                f"{self.path} holds whole utterances; this needs items of one length "
                "(speechscope prepare --unit segment, frame or window)"
            )
        config = self.config
        return view_of(
            self.artifact,
            self.unit,
            context=int(config["context"]),
            length=int(config["samples"]),
            standardise=config["normalize"] == "item",
        )

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
        found = np.flatnonzero(self.splits == SPLIT_NAMES.index(split))
        if len(found) == 0:
            raise UsageProblem(f"{self.path} has no {split} items")
        return found

    def centred(self, items: Indices) -> NDArray[np.float32]:
        """Read inputs with the training mean removed, (N, channel, frequency, time).

        A window of the waveform is (1, 1, samples). Raises as `view` does.
        """
        values = self.view.read(items)
        values -= self.mean
        return values

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
            out[row] = centre(stretch, samples)
        return out

    def utterance_inputs(self, items: Indices) -> list[NDArray[np.float32]]:
        """Read whole utterances as stored, each (channel, frequency, time).

        Raises
        ------
        UsageProblem
            Its items are not utterances.
        """
        self._need("utterance")
        edges = self.artifact.read("input_offset")
        parts = [
            self.artifact.read("input", slice(int(edges[item]), int(edges[item + 1])))
            for item in items
        ]
        return [
            np.ascontiguousarray((part[:, None] if part.ndim == 2 else part).transpose(1, 2, 0))
            for part in parts
        ]

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
