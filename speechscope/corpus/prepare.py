"""From a corpus folder to the arrays of ``corpus.zarr``: phone segments and their spectrograms.

Churchman 2015, sec. 3: phones are cut out by their time marks, the longest 5 % discarded, the
others padded with zeros on both sides to one length, and transformed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.corpus.audio import BadRecording, read_audio
from speechscope.corpus.phones import PHONES_39, PHONES_48, TIMIT_61, TO_39, TO_48
from speechscope.corpus.timit import Segment, Utterance, read_segments, scan
from speechscope.errors import SpeechscopeError
from speechscope.features.representations import compute
from speechscope.features.stft import Stft, centre
from speechscope.parallel import ordered_map

SPLIT_NAMES = ("train", "dev", "test")
BATCH = 16  # utterances a task: some hundred segments, about 10 MB of spectrograms
# Time marks on a 10 ms grid run a little past the last sample; further is a truncated recording.
TOLERANCE_SECONDS = 0.02
# Read speech has a root mean square near a tenth or less of full scale: amplitudes stay near 1.
GAIN_SCALE = 10.0


@dataclass(frozen=True)
class Settings:
    """What `prepare` needs to know; `speechscope.recipes` holds the defaults and their sources.

    Parameters
    ----------
    stft
        The transform; ``stft.samples`` is the length segments are padded to.
    features
        A representation of `speechscope.features.representations`.
    normalize
        ``gain`` scales every recording to one root mean square, 1 / `GAIN_SCALE`; ``none`` leaves
        it.
    max_length
        Longest segment kept [samples], or a share such as ``95%`` of the training segments.
    drop_sa, drop_labels
        Whether the SA sentences are left out; labels that are left out.
    dev
        Share of the training speakers set apart as the dev split.
    seed
        Draws those speakers.
    """

    stft: Stft
    features: str
    normalize: str
    max_length: int | str
    drop_sa: bool
    drop_labels: tuple[str, ...]
    dev: float
    seed: int


@dataclass
class Summary:
    """What became of a corpus."""

    items: int = 0
    utterances: int = 0
    seconds: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    label: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Block:
    """Some utterances, worked out: rows of the corpus arrays."""

    spectra: NDArray[np.float32]
    waveforms: list[NDArray[np.float32]]
    items: list[_Item]
    counts: list[int]  # items of each utterance
    seconds: float
    dropped: Counter[str]
    skipped: list[str]


def prepare(
    root: Path,
    writer: ArtifactWriter,
    settings: Settings,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write the corpus arrays of DESIGN sec. 2 for a folder in TIMIT layout.

    Parameters
    ----------
    root
        The corpus folder.
    writer
        Receives the arrays; memory stays bounded by the blocks in flight.
    settings
        See `Settings`.
    workers
        Processes; the arrays do not depend on it.
    progress
        Called with (utterances done, utterances in all).

    Returns
    -------
    Summary
        Counts, and one line for each item that had to be left out.

    Raises
    ------
    SpeechscopeError
        Nothing usable is in the folder, or its training split is empty.
    """
    found = scan(root)
    summary = Summary(skipped=list(found.problems))
    wanted = [u for u in found.utterances if not (settings.drop_sa and u.is_sa)]
    summary.dropped["SA sentences"] = len(found.utterances) - len(wanted)
    split_of = _splits(wanted, settings)
    limit = longest_kept(wanted, settings)
    stft = settings.stft
    if limit > stft.samples:
        stft = Stft(limit, stft.window, stft.overlap, stft.points, stft.rate)
    writer.set_config(max_length=limit, samples=stft.samples)

    arrays = _Arrays(writer, settings.features, stft, wanted)
    work = partial(_work, stft=stft, settings=settings, limit=limit)
    tasks = [wanted[i : i + BATCH] for i in range(0, len(wanted), BATCH)]
    done = 0
    for task, block in zip(tasks, ordered_map(work, tasks, workers), strict=True):
        arrays.append(task, block, split_of)
        done += len(task)
        summary.items += len(block.items)
        summary.utterances += sum(1 for count in block.counts if count)
        summary.seconds += block.seconds
        summary.dropped.update(block.dropped)
        summary.skipped += block.skipped
        if progress is not None:
            progress(done, len(wanted))
    arrays.finish()
    if arrays.training_items == 0:
        reason = f"; the first of {len(summary.skipped)} problems: {summary.skipped[0]}"
        raise SpeechscopeError(
            f"{root} has no usable training segment{reason if summary.skipped else ''}"
        )
    return summary


def longest_kept(utterances: Sequence[Utterance], settings: Settings) -> int:
    """Return the length [samples] above which segments are discarded.

    For a share such as ``95%`` it is that percentile of the training segments' lengths
    (Churchman 2015, sec. 3.2: "the vectors above the 95th percentile in length").
    """
    if isinstance(settings.max_length, int):
        return settings.max_length
    share = float(settings.max_length.rstrip("%"))
    lengths: list[int] = []
    for utterance in utterances:
        if utterance.split != "train":
            continue
        try:
            segments = read_segments(utterance.labels)
        except BadRecording:
            continue  # named when its recording is read
        lengths += [s.stop - s.start for s in segments if s.label not in settings.drop_labels]
    if not lengths:
        raise SpeechscopeError("there is no training segment to take the percentile of")
    return int(np.percentile(lengths, share))


def class_of(label: str) -> int | None:
    """Return the index into the 48 classes of a label of TIMIT, of ARPABET or of the 48 itself.

    Case and ARPABET's stress digits do not count. None for an unknown label.
    """
    name = label.lower()
    if name not in TIMIT_61:
        name = name.rstrip("012")
    folded = TO_48.get(name) if name in TIMIT_61 else name
    return PHONES_48.index(folded) if folded in PHONES_48 else None


def _splits(utterances: Sequence[Utterance], settings: Settings) -> dict[str, int]:
    """Return the split of every utterance key; dev speakers are drawn from the training ones."""
    speakers = sorted({u.speaker for u in utterances if u.split == "train"})
    rng = np.random.default_rng([settings.seed, 0x5EED])
    held_out = set(rng.permutation(speakers)[: round(settings.dev * len(speakers))].tolist())
    return {
        f"{u.split}/{u.key}": SPLIT_NAMES.index(
            "dev" if u.split == "train" and u.speaker in held_out else u.split
        )
        for u in utterances
    }


def _work(task: Sequence[Utterance], *, stft: Stft, settings: Settings, limit: int) -> _Block:
    waveforms: list[NDArray[np.float32]] = []
    items: list[_Item] = []
    counts: list[int] = []
    skipped: list[str] = []
    dropped: Counter[str] = Counter()
    seconds = 0.0
    for utterance in task:
        before = len(items)
        try:
            samples, scale = read_audio(utterance.audio, stft.rate)
            segments = _fitting(read_segments(utterance.labels), len(samples), scale, stft.rate)
        except BadRecording as error:
            skipped.append(f"{utterance.audio}: {error}")
            counts.append(0)
            continue
        seconds += len(samples) / stft.rate
        if settings.normalize == "gain":
            samples = samples / np.float32(GAIN_SCALE * np.sqrt(np.mean(np.square(samples))))
        for segment in segments:
            length = segment.stop - segment.start
            if segment.label.lower() in settings.drop_labels:
                dropped[f"label {segment.label.lower()}"] += 1
                continue
            label = class_of(segment.label)
            where = f"{utterance.labels}: {segment.start}-{segment.stop}"
            if label is None:
                skipped.append(f"{where}: unknown phone {segment.label!r}")
            elif length <= 0:
                skipped.append(f"{where} {segment.label}: holds no samples")
            elif length > limit:
                dropped[f"longer than {limit} samples"] += 1
            else:
                waveforms.append(samples[segment.start : segment.stop])
                items.append(_Item(label, segment.start, segment.stop))
        counts.append(len(items) - before)
    padded = np.zeros((len(items), stft.samples), dtype=np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[:] = centre(waveform, stft.samples)
    spectra = compute(settings.features, stft, padded)
    return _Block(spectra, waveforms, items, counts, seconds, dropped, skipped)


def _fitting(segments: list[Segment], length: int, scale: float, rate: int) -> list[Segment]:
    """Convert label times to samples as read, and compare the last one with the recording."""
    scaled = [Segment(round(s.start * scale), round(s.stop * scale), s.label) for s in segments]
    last = max(s.stop for s in scaled)
    if last > length + TOLERANCE_SECONDS * rate:
        raise BadRecording(f"is truncated: {length} samples, but its labels reach {last}")
    return [Segment(s.start, min(s.stop, length), s.label) for s in scaled]


class _Arrays:
    """The corpus arrays while they grow."""

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

    def append(self, task: Sequence[Utterance], block: _Block, split_of: dict[str, int]) -> None:
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
