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

from speechscope.artifact_writer import ArtifactWriter
from speechscope.corpus.arrays import SPLIT_NAMES, Block, CorpusArrays, Item
from speechscope.corpus.audio import BadRecording, read_audio
from speechscope.corpus.phones import PHONES_48, TIMIT_61, TO_48
from speechscope.corpus.timit import Segment, Utterance, read_segments, scan
from speechscope.errors import SpeechscopeError
from speechscope.features.representations import compute
from speechscope.features.stft import Stft, centre
from speechscope.parallel import ordered_map

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

    arrays = CorpusArrays(writer, settings.features, stft, wanted)
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


def _work(task: Sequence[Utterance], *, stft: Stft, settings: Settings, limit: int) -> Block:
    waveforms: list[NDArray[np.float32]] = []
    items: list[Item] = []
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
                items.append(Item(label, segment.start, segment.stop))
        counts.append(len(items) - before)
    padded = np.zeros((len(items), stft.samples), dtype=np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[:] = centre(waveform, stft.samples)
    spectra = compute(settings.features, stft, padded)
    return Block(spectra, waveforms, items, counts, seconds, dropped, skipped)


def _fitting(segments: list[Segment], length: int, scale: float, rate: int) -> list[Segment]:
    """Convert label times to samples as read, and compare the last one with the recording."""
    scaled = [Segment(round(s.start * scale), round(s.stop * scale), s.label) for s in segments]
    last = max(s.stop for s in scaled)
    if last > length + TOLERANCE_SECONDS * rate:
        raise BadRecording(f"is truncated: {length} samples, but its labels reach {last}")
    return [Segment(s.start, min(s.stop, length), s.label) for s in scaled]
