"""A demo corpus in TIMIT layout, spoken by Praat's speech synthesizer.

Folders, file names, label files and the plan of sentences are TIMIT's (Garofolo et al. 1993):
``TRAIN`` and ``TEST``, ``DR1`` to ``DR8``, a folder per speaker, 16 kHz 16-bit recordings with
``.PHN``, ``.WRD`` and ``.TXT`` beside them.

The synthesizer is deterministic in a new process and depends on what it spoke before, so every
speaker is recorded in a process of their own: the same seed gives the same files, byte for byte,
whatever the number of workers.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.utterances import Segment
from speechscope.errors import SpeechscopeError
from speechscope.store.wav import write_sound
from speechscope.synth.espeak import segment, word_segments
from speechscope.synth.fresh_process import fresh_map
from speechscope.synth.speakers import (
    FIRST_SI,
    PRAAT_RATE,
    RATE,
    SA,
    SI_SENTENCES,
    SX,
    TEST_SHARE,
    Speaker,
    draw_speakers,
    record,
    si_sentence,
)

if TYPE_CHECKING:
    from speechscope.stages.synth import Synth

_EDGE = (0.09, 0.15)  # [s] of silence before and after the speech
_NOTE = "SYNTHETIC.TXT"
_NOTE_BEGINS = "A corpus in TIMIT layout, synthesized by speechscope."


@dataclass(frozen=True)
class SynthReport:
    """What was written.

    Parameters
    ----------
    speakers, utterances, phones
        How many of each; silences and closures are phones.
    seconds
        Duration of the recordings [s].
    """

    speakers: int
    utterances: int
    phones: int
    seconds: float


@dataclass(frozen=True)
class _Session:
    """All that one speaker reads: (file name, sentence), and where it goes."""

    speaker: Speaker
    readings: tuple[tuple[str, str], ...]
    folder: Path
    seed: int
    sphere: bool


def synthesize(
    directory: Path,
    settings: "Synth",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SynthReport:
    """Write a synthesized corpus in TIMIT layout.

    About a quarter of the speakers are held out in ``TEST``, as in TIMIT, and read SX and SI
    sentences that no speaker in ``TRAIN`` reads. Of a speaker's ten sentences, two are SA, five SX
    and three SI, as in TIMIT; of fewer or more, as near to that as can be. The language is that of
    five of the eight dialect regions; the others speak other English accents (`ACCENTS`).

    Parameters
    ----------
    directory
        An existing, empty folder.
    settings
        Those of the stage; the files do not depend on the number of workers.
    progress
        Called with the number of speakers done and their total.

    Raises
    ------
    SpeechscopeError
        Praat is not installed, or there are not so many sentences, or no such accent.
    """
    if importlib.util.find_spec("parselmouth") is None:
        raise SpeechscopeError(
            "synth: Praat is not installed; run: pip install 'speechscope[demo]'"
        )
    cast = draw_speakers(settings.speakers, settings.language, settings.seed)
    sessions = _sessions(directory, cast, settings)
    (directory / _NOTE).write_text(_note(cast), encoding="ascii")
    phones = samples = 0
    imports = ("parselmouth", __name__)
    with closing(
        fresh_map(_record, _admitted(sessions), settings.workers, imports=imports)
    ) as recorded:
        for done, (phones_read, samples_read) in enumerate(recorded, 1):
            phones += phones_read
            samples += samples_read
            progress(done, len(cast))
    return SynthReport(len(cast), len(cast) * settings.sentences, phones, samples / RATE)


def is_synthetic(directory: Path) -> bool:
    """Whether a folder is a corpus that `synthesize` wrote."""
    note = directory / _NOTE
    return note.is_file() and note.read_bytes().startswith(_NOTE_BEGINS.encode())


def _note(cast: list[Speaker]) -> str:
    """Describe the speakers, a line each."""
    rows = [_NOTE_BEGINS, "", "speaker split region voice accent pitch rate formants"]
    rows += [
        f"{s.name} {s.split} DR{s.region} {s.voice} {s.accent.replace(' ', '_')} "
        f"{s.pitch:.2f} {s.rate} {s.formants:.2f}"
        for s in cast
    ]
    return "\n".join(rows) + "\n"


def _admitted(sessions: list[_Session]) -> Iterator[_Session]:
    """Make each speaker's folder; were it for the speakers, one who is late could bring it back."""
    for session in sessions:
        session.folder.mkdir(parents=True)
        yield session


def _sessions(directory: Path, speakers: list[Speaker], settings: "Synth") -> list[_Session]:
    """Deal the sentences out: each split's SX in turn, each SI once as long as they last."""
    sentences, seed = settings.sentences, settings.seed
    sa = min(len(SA), sentences // 5)
    si = 3 * (sentences - sa) // 8
    sx = sentences - sa - si
    rng = np.random.default_rng([seed, 2])
    sx_numbers, si_numbers = (
        _divide(rng.permutation(count) + first)
        for count, first in ((len(SX), 1), (SI_SENTENCES, FIRST_SI))
    )
    fewest = min(map(len, sx_numbers.values()))
    if sx > fewest:
        raise SpeechscopeError(
            f"synth: {sentences} sentences per speaker take {sx} different SX sentences, and there "
            f"are {fewest} to choose from; ask for fewer"
        )
    seats = {"TRAIN": 0, "TEST": 0}
    sessions: list[_Session] = []
    for speaker in speakers:
        seat = seats[speaker.split]
        seats[speaker.split] += 1
        readings = [(f"SA{n + 1}", SA[n]) for n in range(sa)]
        readings += [(f"SX{n}", SX[n - 1]) for n in _deal(sx_numbers[speaker.split], seat, sx)]
        readings += [(f"SI{n}", si_sentence(n)) for n in _deal(si_numbers[speaker.split], seat, si)]
        folder = directory / speaker.split / f"DR{speaker.region}" / speaker.name
        sessions.append(_Session(speaker, tuple(readings), folder, seed, settings.sphere))
    return sessions


def _divide(numbers: NDArray[np.int64]) -> dict[str, list[int]]:
    held_out = round(TEST_SHARE * len(numbers))
    return {"TEST": numbers[:held_out].tolist(), "TRAIN": numbers[held_out:].tolist()}


def _deal(numbers: list[int], seat: int, count: int) -> list[int]:
    return [numbers[(seat * count + n) % len(numbers)] for n in range(count)]


def _record(session: _Session) -> tuple[int, int]:
    """Record one speaker; return the number of phones and of samples."""
    from parselmouth.praat import call

    speaker = session.speaker
    rng = np.random.default_rng([session.seed, 3, speaker.number])
    praat = call("Create SpeechSynthesizer", speaker.accent, speaker.voice)
    call(
        praat, "Speech output settings", PRAAT_RATE, 0.0, speaker.pitch, speaker.pitch_range,
        speaker.rate, "IPA",
    )  # fmt: skip
    phones = samples = 0
    for name, sentence in session.readings:
        grid, sound = call(praat, "To Sound", sentence, "yes")
        lead, tail = rng.uniform(*_EDGE, size=2)
        # No line numbers, six decimals, with the names of the tiers and the empty intervals.
        tiers = _tiers(call(grid, "List", "no", 6, "yes", "yes"))
        speech, phonemes, words = _framed(
            sound.values[0], tiers["phoneme"], tiers["word"], lead, tail
        )
        spoken = segment(speech, PRAAT_RATE, phonemes, words)
        recording, scale = record(speech, speaker, rng)
        segments = _rescaled(spoken, scale, len(recording))
        written = word_segments(sentence, words, segments, PRAAT_RATE * scale)
        _write(session.folder / name, recording, segments, written, sentence, session.sphere)
        phones += len(segments)
        samples += len(recording)
    return phones, samples


def _tiers(listing: str) -> dict[str, list[Segment]]:
    """Parse Praat's listing of a TextGrid: start, tier, label (``?`` when empty) and end a line."""
    tiers: dict[str, list[Segment]] = {}
    for line in listing.splitlines()[1:]:
        start, tier, label, stop = line.split("\t")
        interval = Segment(float(start), float(stop), "" if label == "?" else label)
        tiers.setdefault(tier, []).append(interval)
    return tiers


def _framed(
    speech: NDArray[np.float64],
    phonemes: list[Segment],
    words: list[Segment],
    lead: float,
    tail: float,
) -> tuple[NDArray[np.float64], list[Segment], list[Segment]]:
    """Put `lead` and `tail` [s] of silence around the speech, in place of eSpeak's own."""
    heard = np.flatnonzero(speech)
    first, last = int(heard[0]), int(heard[-1]) + 1
    before, after = (np.zeros(round(t * PRAAT_RATE)) for t in (lead, tail))
    moved = (len(before) - first) / PRAAT_RATE
    framed = np.concatenate([before, speech[first:last], after])

    def shift(intervals: list[Segment]) -> list[Segment]:
        return [
            Segment(max(i.start + moved, lead), i.stop + moved, i.label)
            for i in intervals
            if i.stop + moved > lead
        ]

    return framed, shift(phonemes), [word for word in shift(words) if word.label]


def _rescaled(segments: list[Segment], scale: float, length: int) -> list[Segment]:
    edges = [round(segment.start * scale) for segment in segments] + [length]
    return [
        Segment(start, stop, segment.label)
        for start, stop, segment in zip(edges[:-1], edges[1:], segments, strict=True)
    ]


def _write(
    path: Path,
    recording: NDArray[np.int16],
    phones: list[Segment],
    words: list[Segment],
    sentence: str,
    sphere: bool,
) -> None:
    """Write a recording and its three label files."""
    container = "NIST" if sphere else "WAV"
    write_sound(path.with_suffix(".WAV"), recording, RATE, container=container)
    for suffix, segments in ((".PHN", phones), (".WRD", words)):
        lines = [f"{s.start} {s.stop} {s.label}\n" for s in segments]
        path.with_suffix(suffix).write_text("".join(lines), encoding="ascii")
    path.with_suffix(".TXT").write_text(f"0 {len(recording)} {sentence}\n", encoding="ascii")
