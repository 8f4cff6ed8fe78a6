"""The speakers of the synthesized corpus: who they are, how they speak, and what they read.

A speaker is a voice of eSpeak's, an accent, a pitch, a liveliness, a rate, a length of the vocal
tract and a microphone, all drawn from the corpus seed and the speaker's number.
With these, what is spoken becomes a recording of a room.

They read what TIMIT's plan says (Garofolo et al. 1993), with sentences of our own: two dialect
sentences that everybody reads (SA), phonetically compact sentences that several speakers read (SX),
and diverse sentences that one speaker reads (SI). SX and SI are rich in the phones that are rare in
English: every sentence was written around some of oy, zh, uh, th, ch, jh, aw, y, en, el and dx.
``sentences.txt`` lists them; SI sentences are formed from templates and lists of words, the number
of the sentence deciding the words, so that there are as many as TIMIT has.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from speechscope.errors import SpeechscopeError
from speechscope.synth.espeak import ACCENTS

# Voices without eSpeak's echo, which would fill every closure, and neither whispered nor creaky;
# its Klatt voices are silent in Praat. Of TIMIT's speakers, 30 % are women: so here.
WOMEN = ("Female1", "Linda", "Auntie", "Annie", "Steph")
MEN = (
    "Male1", "Male3", "Male4", "Male5", "Male6", "Male7", "Robert", "Rob", "Max", "Mario", "Lee",
    "Travis",
)  # fmt: skip

TEST_SHARE = 168 / 630
"""The share of TIMIT's speakers in its test set (Garofolo et al. 1993)."""

REGIONS = 8
# DR1–DR5 speak the accent asked for, DR6–DR8 three others.
_OWN_REGIONS = 5

# Ratios to the voice's own, words per minute, and the ratio of its formants to the voice's.
_PITCH = (0.85, 1.2)
_PITCH_RANGE = (0.6, 1.4)
_RATE = (175.0, 215.0)
_FORMANTS = (0.94, 1.06)
# First coefficient of the microphone's two-tap response: its tilt is within ±2.2 dB.
_TILT = (-0.25, 0.25)
_LEVEL = (-29.0, -23.0)  # dB re full scale
_NOISE = (-48.0, -42.0)  # dB re the speech


@dataclass(frozen=True)
class Speaker:
    """One speaker.

    Parameters
    ----------
    number
        From 0; with the corpus seed it fixes all that is random about the speaker.
    name
        As TIMIT's: sex, three initials, a digit.
    split
        ``TRAIN`` or ``TEST``.
    region
        Dialect region, 1–8.
    accent, voice
        Praat's names of the language and the voice variant.
    pitch, pitch_range, formants
        Ratios to the voice's own.
    rate
        Words per minute.
    tilt
        Second tap of the microphone's response, the first being 1.
    level
        RMS of the speech [dB re full scale].
    noise
        RMS of the room's noise [dB re the speech].
    """

    number: int
    name: str
    split: str
    region: int
    accent: str
    voice: str
    pitch: float
    pitch_range: float
    formants: float
    rate: int
    tilt: float
    level: float
    noise: float


def draw_speakers(count: int, language: str, seed: int) -> list[Speaker]:
    """Draw the speakers of a corpus.

    Parameters
    ----------
    count
        How many; regions and voices are shared out evenly among them, and a share of
        ``TEST_SHARE`` of them (one at least, of two or more) is held out.
    language
        The accent of most, one of ``ACCENTS``; three of the eight regions speak others.
    seed
        Of the corpus.

    Raises
    ------
    SpeechscopeError
        No such accent.
    """
    if language not in ACCENTS:
        raise SpeechscopeError(
            f"--language {language}: the synthesizer's phones map to TIMIT's in "
            f"{', '.join(ACCENTS)}; choose one of these"
        )
    others = [code for code in ACCENTS if code != language]
    spoken = [language] * _OWN_REGIONS + others[: REGIONS - _OWN_REGIONS]
    shared = np.random.default_rng([seed, 0])
    test = _held_out(count, shared.random())
    voices = shared.permutation([*WOMEN, *MEN]).tolist()
    speakers: list[Speaker] = []
    names: set[str] = set()
    for number in range(count):
        own = np.random.default_rng([seed, 1, number])
        voice = voices[number % len(voices)]
        region = number % REGIONS + 1
        speaker = Speaker(
            number=number,
            name=_name(own, "F" if voice in WOMEN else "M", names),
            split="TEST" if number in test else "TRAIN",
            region=region,
            accent=ACCENTS[spoken[region - 1]],
            voice=voice,
            pitch=own.uniform(*_PITCH),
            pitch_range=own.uniform(*_PITCH_RANGE),
            formants=own.uniform(*_FORMANTS),
            rate=round(own.uniform(*_RATE)),
            tilt=own.uniform(*_TILT),
            level=own.uniform(*_LEVEL),
            noise=own.uniform(*_NOISE),
        )
        names.add(speaker.name)
        speakers.append(speaker)
    return speakers


def _held_out(count: int, offset: float) -> set[int]:
    """Return the speakers of the test set, evenly spread over regions and voices."""
    size = 0 if count < 2 else max(1, round(TEST_SHARE * count))
    return {int((n + offset) * count / size) for n in range(size)}


def _name(rng: np.random.Generator, sex: str, taken: set[str]) -> str:
    initials = "".join(chr(ord("A") + letter) for letter in rng.integers(26, size=3))
    digit = 0
    while f"{sex}{initials}{digit}" in taken:
        digit += 1
    return f"{sex}{initials}{digit}"


RATE = 16_000
"""Sampling rate of the recordings [Hz], TIMIT's."""

PRAAT_RATE = 22_050
"""Sampling rate of the speech [Hz]: eSpeak's own, so that Praat does not resample."""

_UP, _DOWN = 320, 441  # RATE / PRAAT_RATE
_SILENT = 1e-4  # what lies below is no speech
_PEAK = 0.95  # of full scale; a louder recording is turned down to it
_NOISE_POLE = 0.7  # of the room's noise, which falls by 15 dB from 0 to 8 kHz


def record(
    speech: NDArray[np.float64], speaker: Speaker, rng: np.random.Generator
) -> tuple[NDArray[np.int16], float]:
    """Return the recording of a speaker, and its samples per sample of speech.

    A vocal tract shorter by a factor raises all formants by it: the speech is sampled so much too
    slowly, which shortens it and raises its pitch by the same factor. A two-tap response and
    low-pass noise stand for microphone and room, so that no silence is digital.
    """
    down = round(_DOWN * speaker.formants)
    recorded = signal.resample_poly(speech, _UP, down)
    recorded = signal.lfilter([1.0, speaker.tilt], [1.0], recorded)
    level = 10 ** (speaker.level / 20)
    # RMS of the sound alone: pauses would count for slow speakers.
    gain = level / np.sqrt(np.mean(np.square(recorded[np.abs(recorded) > _SILENT])))
    gain = min(gain, _PEAK / np.max(np.abs(recorded)))
    noise = signal.lfilter([1.0], [1.0, -_NOISE_POLE], rng.standard_normal(len(recorded)))
    noise *= level * 10 ** (speaker.noise / 20) * np.sqrt(1 - _NOISE_POLE**2)
    mixed = np.clip(np.rint(32768 * (gain * recorded + noise)), -32768, 32767)
    return mixed.astype(np.int16), _UP / down


FIRST_SI = 451
"""Number of the first SI sentence; TIMIT's SX are 1–450, its SI 451–2342."""

SI_SENTENCES = 1890
"""How many SI sentences there are: three for each of TIMIT's 630 speakers."""


def _lists() -> dict[str, tuple[str, ...]]:
    """Read ``sentences.txt``: lines under headings."""
    lists: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("sentences.txt").read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            lists[line.strip("[]")] = listed = []
        elif line and not line.startswith("#"):
            listed.append(line)
    return {name: tuple(lines) for name, lines in lists.items()}


_LISTS = _lists()
SA, SX = _LISTS["SA"], _LISTS["SX"]
"""The sentences that everybody reads, and those that several speakers read."""


def si_sentence(number: int) -> str:
    """Return one of the SI sentences.

    Parameters
    ----------
    number
        From ``FIRST_SI`` to ``FIRST_SI + SI_SENTENCES - 1``.
    """
    templates = _LISTS["SI"]
    index, template = divmod(number - FIRST_SI, len(templates))

    def pick(kind: str, step: int, start: int = 0) -> str:
        # Steps that differ, and lists of different lengths, keep words from recurring together.
        words = _LISTS[kind]
        return words[(index * step + template + start) % len(words)]

    verb, past, doing = pick("verb", 1).split()
    verb_2, past_2, _ = pick("verb", 1, 7).split()
    return templates[template].format(
        name=pick("name", 3),
        person=pick("person", 2),
        thing=pick("thing", 5),
        thing_2=pick("thing", 5, 11),
        adjective=pick("adjective", 7),
        adjective_2=pick("adjective", 7, 13),
        verb=verb,
        past=past,
        doing=doing,
        verb_2=verb_2,
        past_2=past_2,
        place=pick("place", 4),
        time=pick("time", 2),
    )
