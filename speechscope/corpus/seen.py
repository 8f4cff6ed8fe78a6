"""Speech that a network was not trained with, as the network takes it."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechscope.corpus.audio import length_of
from speechscope.corpus.files import walk
from speechscope.corpus.layouts import MANIFESTS, layout_of
from speechscope.corpus.pairing import AUDIO_SUFFIXES
from speechscope.corpus.phones import NONE, features_of, phone_set
from speechscope.corpus.store import Corpus
from speechscope.corpus.units import stretches
from speechscope.corpus.units.window import UNLABELLED
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import PHONE_SETS
from speechscope.store.artifact import METADATA
from speechscope.store.lineage import ancestor
from speechscope.store.record import Record

PREPARATION = (
    "unit", "features", "bins", "rate", "samples", "window", "overlap", "deltas", "normalize",
    "padding", "duration", "context",
)  # fmt: skip
"""What of a corpus' settings decides how its inputs look."""

FRAME, SHORTEST, PAUSE_DECIBELS = 0.01, 0.1, 25
"""Of pauses: frames they are looked for by [s]; the shortest, and the shortest sound between two
[s]; how far below what is loud they are [dB]. Source: Praat, "Sound: To TextGrid (silences)"."""
FRAMES = 12_800
"""Samples that are whole numbers of the usual frames: 160, 256, 320, 400, 512, 640 and 1,280."""


def differences(corpus: Corpus, trained: Corpus) -> list[str]:
    """Return what sets the preparation of one corpus apart from that of another."""
    own, wanted = corpus.config, trained.config
    return [
        f"{name} {own.get(name)} and not {wanted.get(name)}"
        for name in PREPARATION
        if own.get(name) != wanted.get(name)
    ]


class Seen(Corpus):
    """Another corpus, with the mean and the classes of the one a network was trained with.

    Its items are those whose class the network knows: by the same name, by the class it is folded
    to, or by what the phone set of the training corpus makes of either. Of recordings without
    labels they are all, and their class is `UNLABELLED`.

    Parameters
    ----------
    path
        Of the other corpus.
    trained
        The corpus the network was trained with.

    Raises
    ------
    UsageProblem
        It was prepared in another way, or has no class the network knows.
    ArtifactError
        See `Corpus`.
    """

    def __init__(self, path: Path, trained: Corpus) -> None:
        super().__init__(path)
        self.trained = trained
        differ = differences(self, trained)
        if differ:
            raise UsageProblem(
                f"--input {path}: was prepared with {', '.join(differ)}; name the folder of its "
                "recordings, which is then prepared as the network was trained"
            )
        if self._classed and not (self._class_of >= 0).any():
            raise UsageProblem(
                f"--input {path}: the network knows none of its classes "
                f"({', '.join(self._names[:12])}), only {', '.join(trained.classes[:12])} …"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return Seen, (self.path.resolve(), self.trained)

    @property
    def labelled(self) -> bool:
        """Whether somebody said what its items are, or of letters what was said."""
        if "label" not in self.trained.artifact:
            return "letter" in self.artifact
        return "label" in self.artifact and self._names != (UNLABELLED,)

    @property
    def _classed(self) -> bool:
        return self.labelled and "label" in self.trained.artifact

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the network; `UNLABELLED` behind them where nobody said what items are."""
        known = self.trained.classes
        return known if self.labelled or "label" not in self.artifact else (*known, UNLABELLED)

    @property
    def classes_folded(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.trained.classes_folded

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Folded class of each class of the network."""
        return self.trained.fold

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """The mean over what the network was trained with."""
        return self.trained.mean

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The network's class of every item; -1 where it knows none, (item,)."""
        own = self._labels
        if self._classed:
            return self._class_of[own]
        return np.full(len(own), len(self.trained.classes))

    @cached_property
    def splits(self) -> NDArray[np.int8]:
        """As in `Corpus`, and 3 where the network does not know the class.

        Where nothing is test material, all is: the network has seen none of it.
        """
        splits: NDArray[np.int8] = self.artifact.read("split")
        if not (splits == SPLITS.index("test")).any():
            splits[:] = SPLITS.index("test")
        if "label" in self.artifact:
            splits[self.labels < 0] = len(SPLITS)
        return splits

    def items(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split; those to test with where it has none of another."""
        present = (self.splits == SPLITS.index(split)).any()
        return super().items(split if present else "test")

    def unknown(self) -> Mapping[str, int]:
        """Return its classes that the network does not know, and how many items they have."""
        if not self._classed:
            return {}
        counts = np.bincount(self._labels, minlength=len(self._names))
        pairs = zip(self._names, self._class_of, counts.tolist(), strict=True)
        return {name: count for name, to, count in pairs if to < 0 and count}

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        """Its own class of every item, (item,)."""
        self._need_classes()
        return self.artifact.read("label").astype(np.int64)

    @property
    def _names(self) -> tuple[str, ...]:
        return self.names("label")

    @cached_property
    def _class_of(self) -> NDArray[np.int64]:
        """The network's class of each of its own classes; -1: it has none."""
        config = self.trained.config
        # Where two labels differ by case alone, as S and s of SAMPA do, case is part of them.
        plain = {name.lower() for name in self._names}
        cased = len(plain) < len(self._names)
        known = {name: number for number, name in enumerate(self.trained.classes)}
        named, sets = str(config.get("phone_set")), []
        if named in PHONE_SETS.names() and config.get("labels", "phone") == "phone":
            mapping = config.get("mapping")
            own = phone_set(named, mapping and Path(mapping), self.trained.classes)
            sets = [own, phone_set("timit-39")]  # what Lee & Hon count as one, last
        folded, fold = self.names("label_folded"), self.artifact.read("fold")

        def class_of(*texts: str) -> int:
            for text in texts:
                if text in known:
                    return known[text]
            for phones, text in product(sets, texts):
                number = None if cased and text != text.lower() else phones.index(text)
                if number is not None and phones.classes[number] in known:
                    return known[phones.classes[number]]
            return -1

        there, here = (
            features_of(names)["manner"] for names in (self._names, self.trained.classes)
        )
        found = []
        for number, (name, manner) in enumerate(zip(self._names, there, strict=True)):
            to = class_of(name, folded[fold[number]])
            kinds = {manner, here[to]} if to >= 0 else set()
            # What one notation calls a vowel is no consonant of another: y of SAMPA and ARPABET.
            alike = len(kinds) < 2 or NONE in kinds or "vowel" not in kinds
            found.append(to if alike else -1)
        return np.array(found, dtype=np.int64)


def seen_by(path: Path, record: Record, moved: Mapping[str, Path]) -> Corpus:
    """Return the corpus that the items of an artifact are of, as its network takes them.

    Raises
    ------
    ArtifactError
        See `speechscope.store.lineage.ancestor`.
    """
    of_items = ancestor(path, record, "corpus", moved)
    if "looked_at" not in record["config"]:
        return Corpus(of_items)
    trained = ancestor(path, of_network(record), "corpus", moved)
    return Seen(of_items, Corpus(trained))


def of_network(record: Record) -> Record:
    """Return the record of an artifact of other speech as if it had its network's parents alone."""
    return {**record, "parents": record["parents"][1:]}


Row = tuple[str, float | str, float | str, str, str, str]
"""Recording, start and end [s], label, words, speaker: a line of a manifest."""


def readable(
    source: Path,
    folder: Path,
    trained: Corpus,
    problems: list[str],
    every: int | None = None,
    *,
    pauses: bool = False,
) -> tuple[Path, bool]:
    """Return what `prepare` can read of some speech, and whether it is labelled.

    That is `source` itself where a layout knows its labels, else a manifest, written into
    `folder`. Recordings without labels have one stretch there, or, where items are segments or
    whole recordings, stretches of the length of the longest, one `every` so many samples.

    Parameters
    ----------
    source
        A recording, a folder of them, or a corpus, whose sounds are written into `folder`.
    trained
        Says what an item is.
    problems
        Receives a line for each recording without labels that cannot be read.
    every
        [samples at the rate of `trained`]; None: half a segment.
    pauses
        Whether stretches are of what is between pauses: where `every` is None, parts of it of one
        length, no longer than a segment.

    Raises
    ------
    SpeechscopeError
        There is no recording, or none that can be read.
    UsageProblem
        A corpus does not hold the sound that is needed.
    """
    if pauses and trained.unit == "utterance":
        raise UsageProblem("--pauses: the network answers along whole recordings")
    if (source / METADATA).exists():
        return _manifest(folder, _of_corpus(Corpus(source), folder, trained)), True
    if source.is_dir():
        with suppress(SpeechscopeError):
            layout_of(source)
            return source, True
    elif rows := _beside(source, trained):
        return _manifest(folder, rows), True
    found = _unlabelled(source, trained, problems, every, pauses)
    return _manifest(folder, found), False


def _manifest(folder: Path, rows: Iterable[Row]) -> Path:
    path = folder / MANIFESTS[0]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("audio", "start", "end", "label", "text", "speaker"))
        table.writerows(rows)
    return path


def _beside(source: Path, trained: Corpus) -> list[Row]:
    """Return the labels beside a recording; none where no layout knows what a network asks for.

    Letters are of words, and a speaker that a network was not taught is none of its classes.
    """
    kind = trained.config["labels"]
    try:
        layout = layout_of(source.parent)
        utterances = [u for u in layout.scan(source.parent).utterances if u.audio == source]
        if kind == "speaker":
            utterances = [u for u in utterances if u.speaker in trained.classes]
        texts = [layout.text(u) if kind == "letter" else "" for u in utterances]
        marks = [layout.marks(utterance) for utterance in utterances]
    except SpeechscopeError:
        return []
    scale = [1.0 if m.per_second else float(soundfile.info(source).samplerate) for m in marks]
    return [
        (str(source.resolve()), s.start / k, s.stop / k, s.label, text, u.speaker)
        for u, m, k, text in zip(utterances, marks, scale, texts, strict=True)
        for s in m.segments
    ]


def _unlabelled(
    source: Path, trained: Corpus, problems: list[str], every: int | None, pauses: bool
) -> Iterator[Row]:
    """Yield the stretches of recordings that nobody labelled."""
    files = [source]
    if source.is_dir():
        inside = walk(source, lambda name: name.endswith(AUDIO_SUFFIXES), problems)
        files = [folder / name for folder, names in inside for name in names]
    rate, length = int(trained.config["rate"]), int(trained.config["samples"])
    cut = trained.unit == "segment" or trained.whole
    told_apart = trained.config["labels"] == "speaker"
    heard = False
    for file in files:
        speaker = UNLABELLED if told_apart else file.parent.name
        try:
            frames, own = length_of(file)
            spans = sounding(file) if pauses else [(0.0, frames / own)]
        except (SpeechscopeError, soundfile.SoundFileError) as error:
            problems.append(f"{file}: {error}")
            continue
        heard = True
        for begin, end in ((round(a * rate), round(b * rate)) for a, b in spans):
            pieces = [(begin, end)]
            if cut and pauses and every is None:
                edges = np.linspace(begin, end, -(-(end - begin) // length) + 1)
                pieces = list(pairwise(edges.round().astype(int).tolist()))
            elif cut:
                step = every or _half(length, trained)
                last = max(end - length + step, begin + 1) if trained.whole else end
                starts = range(begin, max(last, begin + 1), step)
                pieces = [(start, min(start + length, end)) for start in starts]
            for start, stop in pieces:
                at = start / rate, stop / rate
                yield str(file.resolve()), *at, UNLABELLED, "", speaker
    if not heard:
        more = f"; {len(problems) - 1} more cannot be read" if problems[1:] else ""
        why = f"{problems[0]}{more}" if problems else f"{source}: holds no recording"
        raise SpeechscopeError(f"--input {why}")


def _half(length: int, trained: Corpus) -> int:
    """Return half a length; of networks that take whole recordings a whole number of their frames.

    So that from one stretch to the next their frames go on where they were.
    """
    half = length // 2
    return half // FRAMES * FRAMES if trained.whole and half > FRAMES else half


def sounding(path: Path) -> list[tuple[float, float]]:
    """Return where a recording sounds, from and to [s]; all of it where nothing stands out.

    As Praat's "To TextGrid (silences)" with what it suggests, but for the loudest hundredth of the
    frames in place of the loudest: one click does not make speech a pause (chosen).
    """
    info = soundfile.info(path)
    rate, total = info.samplerate, info.frames / info.samplerate
    size = max(1, round(FRAME * rate))
    parts = [np.empty(0)]
    for block in soundfile.blocks(path, 1000 * size, dtype="float32", always_2d=True):
        parts.append(np.add.reduceat(block.mean(1) ** 2, np.arange(0, len(block), size)) / size)
    energy = np.concatenate(parts)
    loud = np.percentile(energy, 99) if len(energy) else 0.0
    sounds = (energy > loud * 10 ** (-PAUSE_DECIBELS / 10)).astype(int)
    edges = np.flatnonzero(np.diff(sounds, prepend=0, append=0))
    starts, stops = edges[::2], edges[1::2]
    apart = starts[1:] - stops[:-1] >= SHORTEST / FRAME
    starts, stops = (
        starts[np.r_[True, apart][: len(starts)]],
        stops[np.r_[apart, True][: len(stops)]],
    )
    spans = zip((starts * size / rate).tolist(), (stops * size / rate).tolist(), strict=True)
    return [(a, min(b, total)) for a, b in spans if b - a >= SHORTEST] or [(0.0, total)]


def _of_corpus(corpus: Corpus, folder: Path, trained: Corpus) -> Iterator[Row]:
    """Yield the segments of a corpus' test split, or all, whose sounds are written into a folder.

    What is measured on whole recordings, or looks at what was said around a segment, cannot be
    made from its segments.
    """
    for config in (corpus.config, trained.config):
        alone = (config["unit"], config["normalize"], config.get("padding", "zeros"))
        if alone != ("segment", "none", "zeros"):
            raise UsageProblem(
                f"--input {corpus.path}: was prepared with "
                f"{', '.join(differences(corpus, trained))}, and its items do not hold what the "
                "network needs of their recordings; name the folder of its recordings instead"
            )
    rate, read = int(corpus.config["rate"]), corpus.artifact.read
    edges, labels, speakers = read("waveform_offset"), read("label"), read("speaker")
    names, voices = corpus.names("label"), corpus.names("speaker")
    items = np.flatnonzero(corpus.splits == SPLITS.index("test"))
    items = items if len(items) else np.arange(len(labels))
    for row, samples in stretches(corpus.artifact, edges[items], edges[items + 1]):
        item = int(items[row])
        audio = folder / f"{item:08d}.wav"
        soundfile.write(audio, samples, rate, subtype="FLOAT")
        yield str(audio), 0.0, len(samples) / rate, names[labels[item]], "", voices[speakers[item]]
