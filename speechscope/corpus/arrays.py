"""The arrays of ``corpus.zarr`` (DESIGN sec. 2) while they grow, block by block."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.corpus.phones import PHONES_39, PHONES_48, TO_39
from speechscope.corpus.timit import Utterance
from speechscope.features.representations import compute
from speechscope.features.stft import Stft

SPLIT_NAMES = ("train", "dev", "test")
"""In the order of their values in ``split``."""


@dataclass(frozen=True)
class Item:
    """A segment as it is stored: its class and its samples [start, stop)."""

    label: int
    start: int
    stop: int


@dataclass(frozen=True)
class Block:
    """Some utterances, worked out: rows of the corpus arrays, and what was left out."""

    spectra: NDArray[np.float32]
    waveforms: list[NDArray[np.float32]]
    items: list[Item]
    counts: list[int]  # items of each utterance
    seconds: float
    dropped: Counter[str]
    skipped: list[str]


class CorpusArrays:
    """The corpus arrays, written as blocks arrive.

    Parameters
    ----------
    writer
        Receives the arrays.
    features, stft
        The representation.
    utterances
        All that may come, in order: their names become the flags of the integer labels.

    Attributes
    ----------
    training_items
        Segments of the training split so far.
    """

    def __init__(
        self, writer: ArtifactWriter, features: str, stft: Stft, utterances: Sequence[Utterance]
    ) -> None:
        self._writer = writer
        channels, bins, frames = compute(
            features, stft, np.zeros((1, stft.samples), dtype=np.float32)
        ).shape[1:]
        self._total = np.zeros((channels, bins, frames))
        self.training_items = 0
        self._offset = 0
        self._speakers = sorted({u.speaker for u in utterances})
        self._speaker_index = {name: i for i, name in enumerate(self._speakers)}
        self._utterances = [u.key for u in utterances]
        self._next_utterance = 0

        item = ("item",)
        volume = ("channel", "frequency", "time")
        rate = {"sampling_frequency": stft.rate, "units": "1"}
        sample_unit = {"units": "sample", "sampling_frequency": stft.rate}
        self._input = writer.stream(
            "input",
            (channels, bins, frames),
            np.float32,
            (*item, *volume),
            {"long_name": f"{features} short-time Fourier transform", "units": "1"},
        )
        self._waveform = writer.stream("waveform", (), np.float32, ("sample",), rate)
        self._edges = writer.stream("waveform_offset", (), np.int64, ("item_edge",), sample_unit)
        self._edges.append(np.zeros(1, dtype=np.int64))
        per_item: dict[str, tuple[type[np.integer], dict[str, object]]] = {
            "label": (np.int16, flag_attributes(PHONES_48)),
            "label_folded": (np.int16, flag_attributes(PHONES_39)),
            "speaker": (np.int32, flag_attributes(self._speakers)),
            "utterance": (np.int32, flag_attributes(self._utterances)),
            "start": (np.int64, sample_unit),
            "stop": (np.int64, sample_unit),
            "split": (np.int8, flag_attributes(SPLIT_NAMES)),
        }
        self._per_item = {
            name: writer.stream(name, (), dtype, item, attributes)
            for name, (dtype, attributes) in per_item.items()
        }
        self._dtypes = {name: dtype for name, (dtype, _) in per_item.items()}
        writer.put("frequency", stft.frequencies, ("frequency",), {"units": "Hz"})
        writer.put("time", stft.times, ("time",), {"units": "s"})

    def append(self, task: Sequence[Utterance], block: Block, split_of: dict[str, int]) -> None:
        """Add the rows of a block; `split_of` gives the split of ``folder split/key``."""
        self._input.append(block.spectra)
        if block.waveforms:
            self._waveform.append(np.concatenate(block.waveforms))
            lengths = np.array([len(w) for w in block.waveforms], dtype=np.int64)
            self._edges.append(self._offset + np.cumsum(lengths))
            self._offset += int(lengths.sum())
        splits = np.repeat([split_of[f"{u.split}/{u.key}"] for u in task], block.counts)
        folded = [PHONES_39.index(TO_39[PHONES_48[i.label]]) for i in block.items]
        number = np.arange(self._next_utterance, self._next_utterance + len(task))
        self._next_utterance += len(task)
        columns = {
            "label": [i.label for i in block.items],
            "label_folded": folded,
            "speaker": np.repeat([self._speaker_index[u.speaker] for u in task], block.counts),
            "utterance": np.repeat(number, block.counts),
            "start": [i.start for i in block.items],
            "stop": [i.stop for i in block.items],
            "split": splits,
        }
        for name, values in columns.items():
            self._per_item[name].append(np.asarray(values, dtype=self._dtypes[name]))
        training = splits == SPLIT_NAMES.index("train")
        self._total += block.spectra[training].sum(axis=0, dtype=np.float64)
        self.training_items += int(training.sum())

    def finish(self) -> None:
        """Write what is only known at the end: the mean over the training split."""
        mean = self._total / max(1, self.training_items)
        volume = ("channel", "frequency", "time")
        self._writer.put("mean", mean.astype(np.float32), volume, {"units": "1"})
