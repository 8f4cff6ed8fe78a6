"""The network a command looks into, ours or another, and the corpus it does so with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import NAMES, SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.corpus.units import Indices
from speechscope.corpus.units.window import UNLABELLED
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.foreign import ForeignNetwork, fitted
from speechscope.networks.kernels import wrong_layers
from speechscope.networks.layers import Network, receptive_field, unpadded
from speechscope.networks.loading import RANDOM, load
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.store.lineage import ancestor
from speechscope.store.record import file_digest
from speechscope.work.device import sent

AT_ONCE = 2048
"""Outputs of a letter network that are worked out at once: 41 s, some 100 MB (chosen)."""


@dataclass(frozen=True)
class Subject:
    """A network with the items that are explained.

    Parameters
    ----------
    network
        On its device, in evaluation mode.
    classes
        Names of its scores.
    corpus
        The items.
    centred
        Whether it takes inputs with the training mean removed, as ours do.
    parent
        Path and kind of the artifact it comes from.
    config
        What the record says of it.
    trained
        The corpus it was trained with, where the items are of another.
    notes
        What is to be said of it.
    trims
        Whether a recording is given as long as it is, without the zeros behind it.
    """

    network: Network | ForeignNetwork
    classes: tuple[str, ...]
    corpus: Corpus
    centred: bool
    parent: tuple[Path, str]
    config: Mapping[str, Any]
    trained: Corpus | None = None
    notes: tuple[str, ...] = ()
    trims: bool = False

    def looking_at(self, corpus: Corpus) -> "Subject":
        """Return the network with other items; see `speechscope.corpus.seen.Seen`."""
        if isinstance(self.corpus, LetterWindows):
            corpus = LetterWindows(corpus.path, self.corpus.network, self.corpus)
        elif isinstance(self.corpus, Utterances):
            corpus = Utterances(corpus.path, self.corpus)
        config = {**self.config, "looked_at": corpus.path.name}
        return replace(self, corpus=corpus, config=config, trained=self.corpus)

    @property
    def parents(self) -> list[tuple[Path, str]]:
        """Path and kind of the artifacts it comes from: other speech, then the network."""
        other = [] if self.trained is None else [(self.corpus.path, "corpus")]
        return [*other, self.parent]

    @property
    def recordings(self) -> Corpus:
        """The corpus with recordings as items, also where those explained are windows of them."""
        return Corpus(self.corpus.path) if isinstance(self.corpus, LetterWindows) else self.corpus

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def of_centred(self) -> Network | ForeignNetwork:
        """The network for inputs with the training mean removed, whatever its own inputs are."""
        if self.centred or isinstance(self.network, Network):
            return self.network
        return self.network.shifted(sent(self.corpus.mean, self.device))

    def values(self, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Read the inputs of items as the network takes them, (N, C, F, T)."""
        values = self.corpus.centred(items)
        if not self.centred:
            values += self.corpus.mean
        return values

    def inputs(self, items: NDArray[np.integer[Any]]) -> Tensor:
        """Read the inputs of items as the network takes them, (N, C, F, T), on its device."""
        return sent(self.values(items), self.device)

    def recording(self, item: int) -> tuple[Network | ForeignNetwork, Tensor, int, int]:
        """Return the network for whole recordings, and one as it takes it.

        Also how many samples a place along its time is, and where the middle of the first one lies.
        """
        corpus, place = self.corpus, np.array([item])
        if isinstance(corpus, LetterWindows):
            values = corpus.utterance_inputs(place)[0] - corpus.mean
            return corpus.network, sent(values[None], self.device), *corpus.grid
        ((_, x),) = self.parts(self.inputs(place), place)
        return self.network, x, *corpus.grid

    def parts(self, x: Tensor, items: NDArray[np.integer[Any]]) -> list[tuple[slice, Tensor]]:
        """Return the inputs of items as they are given to the network together, and their rows.

        Where recordings are given as long as they are, those are the recordings one by one.
        """
        if not self.trims:
            return [(slice(0, len(x)), x)]
        lengths = self.corpus.lengths(items).tolist()
        return [(slice(n, n + 1), x[n : n + 1, ..., :size]) for n, size in enumerate(lengths)]

    def taking(self, x: Tensor) -> Network | ForeignNetwork:
        """Return the network for inputs as long as these, which `parts` gave."""
        network = self.network
        cut = self.trims and isinstance(network, ForeignNetwork)
        return network.cut(x.shape[-1]) if cut else network  # type: ignore[operator]

    def whole(self, inputs: Tensor) -> NDArray[np.float32]:
        """Return inputs with the training mean, as the corpus holds them."""
        values: NDArray[np.float32] = inputs.cpu().numpy()
        return values + self.corpus.mean if self.centred else values


def check_shortest(
    network: Callable[[Tensor], Tensor], corpus: Corpus, device: torch.device
) -> None:
    """Refuse recordings too short for a network that is given them as long as they are.

    Raises
    ------
    SpeechscopeError
        The shortest is.
    """
    lengths = corpus.lengths(np.arange(len(corpus.labels)))
    item = np.array([lengths.argmin()])
    x = sent(corpus.centred(item)[..., : lengths.min()], device)
    try:
        with torch.no_grad():
            network(x)
    except RuntimeError as error:
        name = corpus.names("utterance")[int(corpus.artifact.read("utterance")[item[0]])]
        raise SpeechscopeError(f"{name} is too short for the network ({error})") from error


def together(parts: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Return parts (n, …) as one, smaller ones with zeros behind them up to a shape."""
    if all(part.shape[1:] == shape for part in parts):
        return torch.cat(list(parts))
    joined: Tensor = parts[0].new_zeros(sum(map(len, parts)), *shape)
    begin = 0
    for part in parts:
        joined[(slice(begin, begin + len(part)), *map(slice, part.shape[1:]))] = part
        begin += len(part)
    return joined


def subject_of(
    model: Path | None,
    factory: str | None,
    weights: Path | None,
    corpus: Path | None,
    device: torch.device,
    axes: str | None = None,
    scores: str | None = None,
) -> Subject:
    """Return what a command line asks for: a model of ours, or, with a factory, any network.

    Parameters
    ----------
    model
        None: ``model.pt``.
    factory, weights
        See `loading.load`.
    axes, scores
        See `foreign.fitted`.
    corpus
        None: the model's own, or ``corpus.zarr``.

    Raises
    ------
    UsageProblem
        They exclude each other, or one of them is unusable.
    ArtifactError
        A file is missing, damaged or another.
    """
    if factory is None:
        return _trained_here(model or Path("model.pt"), corpus, device)
    if model is not None:
        raise UsageProblem(f"{model} and --model {factory} exclude each other")
    return elsewhere(factory, weights, corpus or Path("corpus.zarr"), device, axes, scores)


def _trained_here(model: Path, corpus: Path | None, device: torch.device) -> Subject:
    """Return one of our models with its corpus, which may have moved to `corpus`.

    A letter network is taken without padding, on what single answers of it rest on.
    """
    trained = load_model(model)
    moved = {"corpus": corpus} if corpus else {}
    path = ancestor(model, trained.checkpoint.record, "corpus", moved)
    network = trained.network.to(device)
    if isinstance(network, Wav2Letter):
        windows = LetterWindows(path, network)
        return Subject(windows.part, windows.classes, windows, True, (model, "model"), {})
    return Subject(network, trained.classes, Corpus(path), True, (model, "model"), {})


def elsewhere(
    factory: str,
    weights: Path | None,
    corpus: Path,
    device: torch.device,
    axes: str | None = None,
    scores: str | None = None,
) -> Subject:
    """Return any network with the corpus it is to be looked into with.

    It is given inputs as the corpus holds them, mean included. Its scores have the names of the
    corpus's classes where there are as many, else those it comes with, and numbers otherwise.

    Raises
    ------
    UsageProblem, ArtifactError
        See `loading.load`, `foreign.fitted` and `Corpus`.
    """
    data = Corpus(corpus)
    data = Utterances(corpus) if data.unit == "utterance" else data
    loaded = load(factory, weights)
    some = next(found for split in ("test", "train") if len(found := _some(data, split)))
    example = torch.from_numpy(data.centred(some) + data.mean).to(device)
    network, count = fitted(loaded.network.to(device), example, axes, scores)
    kinds = [kind for kind in ("phone", "letter") if data.whole and kind in data.artifact]
    named = [tuple(loaded.classes)] if loaded.classes else [*map(data.names, kinds), data.classes]
    numbers = tuple(str(number) for number in range(count))
    classes = next((names for names in named if len(names) == count), numbers)
    digest = None if weights is None else file_digest(weights)
    config = {
        "model": factory,
        "weights": RANDOM if loaded.random else digest,
        **network.said(),
    }
    notes = [f"{factory} has {RANDOM}"] if loaded.random else []
    notes += wrong_layers(network.network, lambda: network(example))
    ending = network.taking.ending
    if network.taking.also:
        orders = " and ".join(network.taking.also)
        notes.append(
            f"inputs are given as {config['axes']}; {orders} would do with another answer: --axes"
        )
    if ending.names:
        notes.append(f"scores are explained before {', '.join(ending.names)}")
    if ending.kept:
        notes.append(
            f"scores stand behind {ending.kept}, and are explained as they are; --scores LAYER "
            "takes those of a layer before"
        )
    trims = data.whole and _takes(network, example[:1, ..., : int(data.lengths(some).min())])
    if data.whole and not trims:
        notes.append("recordings are given with zeros behind them: it takes one length alone")
    if network.taking.alone:
        notes.append("items are given alone: what the network gives one depends on the others")
    parent = (corpus, "corpus")
    return Subject(network, classes, data, False, parent, config, None, tuple(notes), trims)


def _takes(network: ForeignNetwork, x: Tensor) -> bool:
    """Say whether a network takes inputs of another length than that it was fitted with."""
    try:
        with torch.no_grad():
            return len(network(x)) == len(x)
    except Exception:
        return False


def _some(data: Corpus, split: str) -> NDArray[np.int64]:
    """Return up to three items of a split, from all over it."""
    items = data.items(split)
    places = np.unique(np.linspace(0, len(items) - 1, 3).astype(np.int64))
    return items[places] if len(items) else items


class _OfUtterances(Corpus):
    """A corpus of utterances.

    Parameters
    ----------
    path
        Of it.
    trained
        The corpus whose mean is taken away; None: this one.

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    def __init__(self, path: Path, trained: Corpus | None = None) -> None:
        super().__init__(path)
        self._need("utterance")
        self._trained = trained

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the training split, (channel, frequency, 1)."""
        return (
            self.artifact.read("mean")[..., None] if self._trained is None else self._trained.mean
        )


class Utterances(_OfUtterances):
    """A corpus of utterances as items of one shape: behind the end of shorter ones are zeros.

    Without a class each, as where they have letters, all are `UNLABELLED`. Parameters and errors as
    `_OfUtterances`.
    """

    def __init__(self, path: Path, trained: Corpus | None = None) -> None:
        super().__init__(path, trained)
        self.whole = True

    def __reduce__(self) -> tuple[Any, ...]:
        return Utterances, (self.path.resolve(), self._trained)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.diff(self.artifact.read("input_offset"))

    def lengths(self, items: Indices) -> NDArray[np.int64]:
        """See `Corpus`; in frames."""
        return np.asarray(self._lengths[items], dtype=np.int64)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of the longest."""
        channels, bins, _ = self.mean.shape
        return channels, bins, int(self._lengths.max())

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.names("label") if "label" in self.artifact else (UNLABELLED,)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of every item, (item,)."""
        if "label" in self.artifact:
            return self.artifact.read("label").astype(np.int64)
        return np.zeros(len(self._lengths), dtype=np.int64)

    @property
    def grid(self) -> tuple[int, int]:
        """See `Corpus`."""
        return self.framing

    @property
    def axes(self) -> dict[str, tuple[NDArray[Any], Mapping[str, Any]]]:
        """See `Corpus`; time is that of the middles of frames."""
        hop, first = self.grid
        time = (first + hop * np.arange(self.input_shape[2])) / int(self.config["rate"])
        return {**super().axes, "time": (time, {"units": "s"})}

    def centred(self, items: Indices) -> NDArray[np.float32]:
        """Read utterances with the training mean removed, (N, channel, frequency, time)."""
        values = np.zeros((len(items), *self.input_shape), dtype=np.float32)
        for row, part in zip(values, self.utterance_inputs(items), strict=True):
            row[..., : part.shape[-1]] = part
        values -= self.mean
        return values


class LetterWindows(_OfUtterances):
    """A corpus of utterances whose items are windows that are answered with a letter.

    An item's index is that of its first frame in ``input``. Its label is the answer itself: the
    text says which letters were spoken, not when.

    Parameters
    ----------
    path
        Of a corpus of utterances.
    network
        The letter network, on its device; `part` is the same without padding.
    trained
        The corpus whose mean is taken away; None: this one.

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    def __init__(self, path: Path, network: Wav2Letter, trained: Corpus | None = None) -> None:
        super().__init__(path, trained)
        self.network = network
        self._field = receptive_field(network.table, len(network.table))
        self.part = unpadded(network, len(network.table), self.input_shape)
        self._answers: dict[str, dict[int, int]] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's answers."""
        return NAMES

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of a window."""
        channels, bins, _ = self.network.input_shape
        return channels, bins, self._field.frames

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The answer to every window asked for by `items`, by index; -1 elsewhere."""
        found = np.full(int(self.artifact.array("input").shape[0]), -1, dtype=np.int64)
        for answers in self._answers.values():
            found[list(answers)] = list(answers.values())
        return found

    def items(self, split: str) -> NDArray[np.int64]:
        """Return the windows of a split's utterances that are answered with a letter, in order.

        Raises
        ------
        SpeechscopeError
            There are none.
        """
        if split not in self._answers:
            utterances = np.flatnonzero(self.splits == SPLITS.index(split))
            self._answers[split] = {
                start: answer for utterance in utterances for start, answer in self._read(utterance)
            }
            self.__dict__.pop("labels", None)
        found = np.array(sorted(self._answers[split]), dtype=np.int64)
        if not len(found):
            raise SpeechscopeError(f"{self.path} has no {split} utterance answered with a letter")
        return found

    def centred(self, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Read windows with the training mean removed, (N, channel, frequency, time)."""
        size = self._field.frames
        values = np.stack([self.frames(slice(int(i), int(i) + size)) for i in items])
        values -= self.mean
        return values

    def _read(self, utterance: np.integer[Any]) -> list[tuple[int, int]]:
        """Return first frame and answer of the windows of one utterance that are letters."""
        begin, end = self.artifact.read("input_offset", slice(int(utterance), int(utterance) + 2))
        device = next(self.network.parameters()).device
        found = []
        for output, seen in self._field.blocks(int(end - begin), AT_ONCE):
            values = self.frames(slice(int(begin) + seen.start, int(begin) + seen.stop)) - self.mean
            with torch.no_grad():
                scores = self.part(torch.from_numpy(values)[None].to(device))
            for place, answer in enumerate(scores[0, :, 0].argmax(0).tolist(), output):
                if answer < len(SPOKEN):
                    found.append((int(begin) + self._field.span(place)[0], answer))
        return found
