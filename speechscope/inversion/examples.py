"""What is to be reconstructed: items of a corpus, a recording, or sounds that are not speech."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.audio import BadRecording, read_audio
from speechscope.corpus.reading import GAIN_SCALE
from speechscope.corpus.store import Corpus
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.features.representations import SCOPES, Scaling
from speechscope.inversion.stimuli import make_stimuli
from speechscope.registry import STIMULI

Float = NDArray[np.float32]
Items = NDArray[np.integer[Any]]


class Examples(Protocol):
    """Segments by their place where they come from."""

    @property
    def kind(self) -> str:
        """``corpus``, ``audio``, a kind of stimulus, or the name of another corpus."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""

    @property
    def labels(self) -> Items:
        """Label of every segment, (N,)."""

    @property
    def index(self) -> Items:
        """Place of every segment where it comes from, (N,); seeds depend on it."""

    def inputs(self, index: Items) -> Float:
        """Return inputs (N, C, F, T), less the mean of the network's training items."""

    def waveforms(self, index: Items) -> Float:
        """Return segments (N, samples)."""


class CorpusExamples:
    """Items of a corpus, its own mean or another's taken away.

    Raises UsageProblem where the other corpus was prepared another way.
    """

    def __init__(self, corpus: Corpus, items: Items, trained: Corpus | None = None) -> None:
        self._corpus, self._mean = corpus, corpus.mean if trained is None else trained.mean
        self.kind = "corpus" if trained is None else corpus.path.stem
        self.classes, self.index = corpus.classes, items
        self.labels = corpus.labels[items]
        if trained is not None and _preparation(corpus) != _preparation(trained):
            raise UsageProblem(
                f"--input {corpus.path} was prepared as {_preparation(corpus)}, "
                f"{trained.path} as {_preparation(trained)}; prepare it in the same way"
            )

    def __getstate__(self) -> dict[str, Any]:
        # Other processes are told which items they are to read.
        none: Items = np.empty(0, dtype=np.int64)
        return {**self.__dict__, "index": none, "labels": none}

    def inputs(self, index: Items) -> Float:
        """See `Examples`."""
        values = self._corpus.centred(index)
        return values + (self._corpus.mean - self._mean)

    def waveforms(self, index: Items) -> Float:
        """See `Examples`."""
        if self._corpus.unit == "window":
            return self._corpus.view.read(index)[:, 0, 0]
        return self._corpus.waveforms(index)


class SoundExamples:
    """Segments held as waveforms (N, samples), all of one class.

    Where the corpus is z-normalised, each by itself, or all by the `scaling` of the utterance they
    were cut from.

    Raises UsageProblem where inputs of the corpus are not made from segments alone.
    """

    def __init__(
        self,
        waveforms: Float,
        name: str,
        kind: str,
        trained: Corpus,
        scaling: Scaling | None = None,
    ) -> None:
        self._waveforms, self._trained, self.kind = waveforms, trained, kind
        self._scaling = scaling
        if trained.unit != "segment" or trained.config.get("duration"):
            raise UsageProblem(
                f"{trained.path} does not hold segments by their sound alone, which --audio and "
                "stimuli need (speechscope prepare --unit segment, without --duration)"
            )
        self.classes: tuple[str, ...] = (
            "".join(c if c.isalnum() or c in "-." else "_" for c in name),
        )
        self.index = np.arange(len(waveforms))
        self.labels = np.zeros(len(waveforms), dtype=np.int64)

    def inputs(self, index: Items) -> Float:
        """See `Examples`."""
        trained = self._trained
        values = trained.representation.segments(self._waveforms[index], self._scaling)
        return values - trained.mean

    def waveforms(self, index: Items) -> Float:
        """See `Examples`."""
        return self._waveforms[index]


class TrainingSegments:
    """The training split of a corpus, as decoders are trained on it."""

    def __init__(self, corpus: Corpus, device: torch.device, most: int, seed: int) -> None:
        items = corpus.items("train")
        rng = np.random.default_rng([seed, 0xA116])
        self._items = np.sort(rng.permutation(items)[:most])
        # Held once: bounded by `most`, and read many times in random order.
        self._inputs = torch.from_numpy(corpus.centred(self._items))
        self._waveforms = torch.from_numpy(corpus.waveforms(self._items))
        self._device = device

    def __len__(self) -> int:
        return len(self._items)

    def batch(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return centred inputs (B, C, F, T) and waveforms (B, samples)."""
        return self._inputs[items].to(self._device), self._waveforms[items].to(self._device)


def choose(
    trained: Corpus,
    audio: Path | None,
    given: str | None,
    count: int,
    seed: int,
    items_of: Callable[[Corpus], Items],
) -> Examples:
    """Return what is asked for: a recording, stimuli, items of another corpus or of the first.

    Parameters
    ----------
    trained
        The corpus the network was trained on.
    audio
        A recording.
    given
        A kind of stimulus, or the path of a corpus.
    count, seed
        Of stimuli.
    items_of
        Chooses items of a corpus.
    """
    if audio is not None:
        return recording(audio, trained)
    if given is None:
        return CorpusExamples(trained, items_of(trained))
    if given in STIMULI or not Path(given).exists():
        return stimuli(given, count, trained, seed)
    other = Corpus(Path(given))
    return CorpusExamples(other, items_of(other), trained)


def recording(path: Path, trained: Corpus) -> SoundExamples:
    """Cut a recording into consecutive segments, the last padded with zeros.

    It is resampled, and brought to one loudness if the corpus was.

    Raises
    ------
    SpeechscopeError
        It cannot be read.
    """
    sizes = trained.representation.transform
    try:
        samples, _ = read_audio(path, sizes.rate)
    except BadRecording as error:
        raise SpeechscopeError(f"--audio {path}: {error}") from error
    if trained.config.get("normalize") == "gain":
        samples = samples / np.float32(GAIN_SCALE * np.sqrt(np.mean(np.square(samples))))
    count = -(-len(samples) // sizes.samples)
    padded = np.zeros((count, sizes.samples), dtype=np.float32)
    padded.reshape(-1)[: len(samples)] = samples
    scaled = trained.representation.normalize in SCOPES
    scaling = trained.representation.scaling(samples) if scaled else None
    return SoundExamples(padded, path.stem, "audio", trained, scaling)


def stimuli(kind: str, count: int, trained: Corpus, seed: int) -> SoundExamples:
    """Return sounds that are not speech; see `make_stimuli`.

    Raises
    ------
    UsageProblem
        There is no such kind.
    """
    if kind not in STIMULI:
        raise UsageProblem(
            f"--input {kind}: choose from {', '.join(STIMULI.names())}, or a corpus folder"
        )
    sizes = trained.representation.transform
    waveforms = make_stimuli(kind, count, sizes.samples, sizes.rate, seed)
    return SoundExamples(waveforms, kind, kind, trained)


def _preparation(corpus: Corpus) -> Sequence[object]:
    names = ("rate", "samples", "window", "overlap", "unit", "deltas", "normalize")
    return (corpus.features, *corpus.input_shape, *(corpus.config[name] for name in names))
