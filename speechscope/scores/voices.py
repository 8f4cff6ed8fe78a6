"""F0 and formants of voices: of a vowel, and of what a network's relevance signal has of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features.attributes import available
from speechscope.features.distances import lost, partners
from speechscope.networks.subject import Subject
from speechscope.scores.statistics import OTHER, UNTRAINED, Score
from speechscope.store.artifact import Artifact

Array = NDArray[np.float64]

QUANTITIES = ("F0", "F1", "F2")
CONTEXT, STEP = 10, 0.01
"""Frames around the middle that are averaged (Muckenhirn 2019, sec. 4.2.2), and their hop [s]."""
FRAME = 0.025
"""Length of a frame [s] (Muckenhirn 2019, sec. 4.2.1)."""
ORDER, TOP = 12, 5000.0
"""Of the linear prediction, and the frequency up to which it predicts [Hz] (see `formants`)."""
LOWEST, WIDEST = 150.0, 800.0
"""Of what counts as a formant: frequency and bandwidth [Hz] (chosen)."""
STABLE = 1e-6
"""Noise added to a spectrum, over its power (chosen)."""
DIVIDE = 170.0
"""Voices below are compared with the deviations of men, above with those of women [Hz].

Chosen: the middle of the means of Hillenbrand et al. (1995), 131 Hz and 220 Hz, on a log scale.
"""
MOST = 600
"""Voices measured, of many: some 40 MB of waveforms a method (chosen)."""
CHANGED = 0.1
"""Noise that makes the original "slightly changed", over its size: 20 dB below (chosen)."""
FLOOR = 1e-9
"""Of the largest power of a spectrum, what counts at least (chosen)."""
NOISE = "white noise"

Table = Mapping[str, Mapping[str, tuple[float, float, float]]]

MEANS: Table = {
    "M": {
        "aa": (127, 756, 1309),
        "ae": (126, 591, 1930),
        "ah": (129, 621, 1181),
        "ao": (125, 656, 1023),
        "eh": (127, 588, 1803),
        "er": (131, 475, 1379),
        "ey": (129, 476, 2090),
        "ih": (136, 429, 2034),
        "iy": (139, 343, 2323),
        "ow": (130, 498, 910),
        "uh": (133, 469, 1123),
        "uw": (144, 380, 992),
    },
    "F": {
        "aa": (212, 921, 1524),
        "ae": (214, 676, 2335),
        "ah": (218, 760, 1416),
        "ao": (214, 804, 1188),
        "eh": (213, 727, 2063),
        "er": (218, 524, 1588),
        "ey": (220, 535, 2526),
        "ih": (225, 484, 2369),
        "iy": (227, 437, 2761),
        "ow": (218, 555, 1036),
        "uh": (230, 519, 1229),
        "uw": (236, 460, 1106),
    },
}
"""Means of F0, F1, F2 [Hz] of vowels of 45 men and 48 women, by their names in TIMIT.

From the steady-state values of Hillenbrand et al. (1995).
"""
DEVIATIONS: Table = {
    "M": {
        "aa": (20, 62, 111),
        "ae": (20, 42, 133),
        "ah": (20, 30, 87),
        "ao": (21, 34, 66),
        "eh": (20, 41, 117),
        "er": (20, 29, 78),
        "ey": (21, 41, 140),
        "ih": (22, 31, 122),
        "iy": (26, 28, 136),
        "ow": (20, 43, 98),
        "uh": (21, 28, 97),
        "uw": (27, 33, 113),
    },
    "F": {
        "aa": (22, 97, 124),
        "ae": (21, 69, 159),
        "ah": (22, 58, 115),
        "ao": (20, 75, 128),
        "eh": (19, 74, 143),
        "er": (25, 45, 126),
        "ey": (23, 63, 154),
        "ih": (21, 34, 149),
        "iy": (24, 41, 147),
        "ow": (22, 81, 123),
        "uh": (22, 41, 145),
        "uw": (25, 39, 205),
    },
}
"""Their standard deviations over speakers [Hz], from the same values."""


def pitch(samples: NDArray[np.floating[Any]], rate: int) -> float:
    """Return F0 [Hz] around the middle of a waveform (n,), of any scale; NaN if it is not voiced.

    By Praat's autocorrelation method, the median over the frames that are voiced (Muckenhirn 2019,
    sec. 4.2.1); chosen: Praat's range of 75 to 600 Hz.
    """
    import parselmouth

    largest = float(np.abs(samples).max())
    if largest == 0:
        return np.nan
    sound = parselmouth.Sound(np.asarray(samples, dtype=np.float64) / largest, rate)
    times = len(samples) / rate / 2 + STEP * (np.arange(CONTEXT) - (CONTEXT - 1) / 2)
    found = sound.to_pitch(time_step=STEP, pitch_floor=75.0, pitch_ceiling=600.0)
    f0 = np.array([found.get_value_at_time(time) for time in times])
    return float(np.median(f0[np.isfinite(f0)])) if np.isfinite(f0).any() else np.nan


def levels(signals: NDArray[np.floating[Any]], rate: int) -> Array:
    """Return the logarithm of the power spectra (N, bins) of signals (N, n) around their middles.

    Of the mean power over `CONTEXT` frames, in Hamming windows.
    """
    length, hop = round(FRAME * rate), round(STEP * rate)
    first = max(0, (signals.shape[1] - length - (CONTEXT - 1) * hop) // 2)
    starts = first + hop * np.arange(CONTEXT)
    frames = np.stack([signals[:, start : start + length] for start in starts], 1)
    power = (np.abs(np.fft.rfft(frames * np.hamming(length), 2 * length)) ** 2).mean(1)
    floor = np.maximum(FLOOR * power.max(1, keepdims=True), np.finfo(np.float64).tiny)
    found: Array = np.log(np.maximum(power, floor))
    return found


def equalised(given: Array, originals: Array) -> Array:
    """Return `levels` (N, bins) through one filter, which gives them the originals' mean.

    log |H|² = mean_j (log O_j − log S_j) over all other originals O and signals S. A relevance
    signal has a tilt of its own, as a vowel that was differentiated has, and linear prediction
    would find that instead of the formants. In logarithms a filter that all signals went through
    is undone exactly, whatever the scale of each. It is the same for all, but for leaving out the
    signal itself, so that it cannot carry a vowel's own spectrum to it.

    Muckenhirn 2019 says nothing of a filter; chosen.
    """
    if len(given) < 2:
        return given
    apart = originals - given
    even: Array = given + (apart.sum(0) - apart) / (len(apart) - 1)
    return even


def formants(levels: Array, rate: int) -> Array:
    """Return F1 and F2 [Hz] (N, 2) of `levels` (N, bins) by linear prediction; NaN where not found.

    The two lowest resonances above `LOWEST` that are no wider than `WIDEST`, of the polynomial that
    the autocorrelation method finds for the spectrum up to `TOP`, after pre-emphasis
    |1 − 0.97 e^{−iω}|². Muckenhirn 2019, sec. 4.2.2, has order 16, up to 8 kHz as it seems, and the
    mean over frames. So Praat found F1 of 69 and 84 % of synthetic men's and women's vowels again
    with noise 20 dB below, F2 of 84 and 68 %; the mean spectrum and 12 poles for the five formants
    below 5 kHz find 100, 98, 98 and 90 %. Chosen by that test, without relevance.
    """
    from scipy.linalg import solve_toeplitz

    width = rate / 2 / (levels.shape[1] - 1)
    kept = levels[:, : min(levels.shape[1], round(TOP / width) + 1)]
    top = width * (kept.shape[1] - 1)
    angle = np.pi * np.arange(kept.shape[1]) * width / (rate / 2)
    power = np.exp(kept - kept.max(1, keepdims=True)) * np.abs(1 - 0.97 * np.exp(-1j * angle)) ** 2
    found = np.full((len(levels), 2), np.nan)
    for row, correlation in enumerate(np.fft.irfft(power)[:, : ORDER + 1]):
        if not np.ptp(levels[row]):
            continue  # silence
        correlation[0] *= 1 + STABLE
        weights = solve_toeplitz(correlation[:-1], -correlation[1:])
        poles = np.roots([1, *weights])
        frequency, narrow = np.angle(poles) * top / np.pi, -np.log(np.abs(poles)) * 2 * top / np.pi
        peaks = np.sort(frequency[(frequency > LOWEST) & (narrow < WIDEST)])[:2]
        found[row, : len(peaks)] = peaks
    return found


def steady(
    labels: NDArray[Any], utterances: NDArray[Any], starts: NDArray[Any]
) -> NDArray[np.bool_]:
    """Say of windows in order whether they stand in the middle half of what their label names.

    A vowel is a run of windows with one label, one hop apart; of m windows those no farther than
    m / 4 from the run's middle count (chosen, for the "steady state" of Muckenhirn 2019, 4.2.2).
    """
    hop = np.diff(starts)
    least = hop[hop > 0].min(initial=np.iinfo(np.int64).max)
    new = (np.diff(labels) != 0) | (np.diff(utterances) != 0) | (hop != least)
    run = np.concatenate([[0], new.cumsum()])
    length, first = np.bincount(run), np.flatnonzero(np.concatenate([[True], new]))
    place = np.arange(len(labels)) - first[run]
    return np.asarray(np.abs(place - (length[run] - 1) / 2) <= length[run] / 4)


def within(
    found: Array, reference: Array, vowels: Sequence[str | None], groups: Sequence[str]
) -> Array:
    """Return which of F0, F1, F2 (N, 3) lie within the deviation of a reference (N, 3): 1, 0.

    |found − reference| ≤ Δ of the vowel and group; what was not found is wrong, and what the
    reference does not have is NaN. Of no vowel (None): the mean deviation of all (chosen).

    Source: Muckenhirn 2019, sec. 4.2.2.
    """
    right = np.abs(found - reference) <= _of(DEVIATIONS, vowels, groups)
    return np.where(np.isfinite(reference), right.astype(np.float64), np.nan)


def _of(table: Table, vowels: Sequence[str | None], groups: Sequence[str]) -> Array:
    rows = [
        np.mean(list(table[group].values()), 0) if vowel is None else table[group][vowel]
        for vowel, group in zip(vowels, groups, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def voices_of(artifact: Artifact, subject: Subject) -> "Voices | None":
    """Return what measures the voices of a `relevance.zarr`; None where it has none.

    Waveforms alone have voices, and Praat measures them. Of phones: windows in the middle half of
    a vowel (`steady`); of speakers, whose vowels are not labelled, all. Of more than `MOST` evenly
    so many.
    """
    corpus, names = subject.corpus, artifact.flags("label")
    if corpus.unit != "window" or artifact.record["config"]["layer"] or not available():
        return None
    labels, of_speakers = artifact.read("label"), corpus.config["labels"] == "speaker"
    taken = np.ones(len(labels), dtype=bool)
    if not of_speakers:
        columns = (corpus.artifact.read(name) for name in ("label", "utterance", "start"))
        taken = steady(*columns)[artifact.read("item_index")]
        taken &= np.array([names[label] in DEVIATIONS["M"] for label in labels])
    rows = np.flatnonzero(taken)
    even = np.linspace(0, max(len(rows) - 1, 0), min(MOST, len(rows))).round().astype(int)
    of = {int(row): None if of_speakers else names[labels[row]] for row in rows[even]}
    return Voices(of, int(corpus.config["rate"]))


class Voices:
    """Voiced windows, and what methods' relevance signals have of their F0 and formants.

    Parameters
    ----------
    vowels
        By number of an item that is measured, its vowel; None of windows of speakers.
    rate
        [Hz].
    """

    def __init__(self, vowels: Mapping[int, str | None], rate: int) -> None:
        self._vowels, self._rate = vowels, rate
        self._rows: list[int] = []
        self._originals: list[NDArray[np.float32]] = []
        self._signals: dict[str, list[NDArray[Any]]] = {}

    def add(
        self,
        first: int,
        waveforms: NDArray[np.float32],
        signals: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    ) -> None:
        """Take items from number `first` on: waveforms (n, …), and by method what explains them.

        That is the relevance, shaped as they, and the relevance in random weights.
        """
        for place in range(len(waveforms)):
            if first + place not in self._vowels:
                continue
            self._rows.append(first + place)
            self._originals.append(waveforms[place].ravel())
            for method, both in signals.items():
                mine = (one[place].ravel() for one in both)
                self._signals.setdefault(method, []).extend(mine)

    def scores(self, speakers: NDArray[Any] | None) -> Iterator[Score]:
        """Yield the shares of voices whose F0, F1 and F2 the relevance signal has, by group.

        Formants are those of `equalised` signals. By chance: the relevance in random weights, that
        of another voice of the group, white noise, all of which are equalised as well. Ceiling: the
        original with a little noise, differentiated, and equalised. "By the table": the other
        reading of the paper's tolerance, the deviation about the vowel's mean in place of about
        what the original has; its ceiling is the original's own share.
        """
        originals = np.array(self._originals)
        if not len(originals):
            return
        f0 = np.array([pitch(wave, self._rate) for wave in originals])
        kept = np.isfinite(f0)
        originals, over = originals[kept], levels(originals[kept], self._rate)
        true = np.column_stack([f0[kept], formants(over, self._rate)])
        rows = np.array(self._rows)[kept]
        vowels = [self._vowels[int(row)] for row in rows]
        groups = ["F" if one > DIVIDE else "M" for one in true[:, 0]]
        noise = np.random.default_rng(0).standard_normal(originals.shape)
        size = originals.std(1, keepdims=True)
        changed = np.diff(originals + CHANGED * size * noise, axis=1, prepend=0)
        nothing, best = self._heard(noise, over), self._heard(changed, over)
        for method, signals in self._signals.items():
            own, random = (self._heard(np.array(signals[start::2])[kept], over) for start in (0, 1))
            for reading, reference in (("", true), (" by the table", _of(MEANS, vowels, groups))):
                if reading and None in vowels:
                    continue
                found = {
                    name: within(heard, reference, vowels, groups)
                    for name, heard in (("own", own), (UNTRAINED, random), (NOISE, nothing))
                }
                top = true if reading else best
                ceiling = within(top, reference, vowels, groups)
                found[OTHER] = _other(own, reference, vowels, groups)
                for part, group, mine in _parts(vowels, groups, bool(reading)):
                    for n, quantity in enumerate(QUANTITIES):
                        yield Score(
                            {"method": method}
                            | {"measure": f"{quantity}{reading} of {part}, {group}"},
                            found["own"][mine, n],
                            {null: found[null][mine, n] for null in (UNTRAINED, OTHER, NOISE)},
                            float(np.nanmean(ceiling[mine, n])),
                            speakers=None if speakers is None else speakers[rows[mine]],
                            beside={
                                null: float(np.nanmean(found[null][mine, n]))
                                for null in (OTHER, NOISE)
                                if np.isfinite(found[null][mine, n]).any()
                            },
                        )

    def _heard(self, signals: NDArray[np.floating[Any]], over: Array) -> Array:
        """Return F0 of signals as they are, formants of their `equalised` levels, (N, 3)."""
        f0 = [pitch(signal, self._rate) for signal in signals]
        even = equalised(levels(signals, self._rate), over)
        return np.column_stack([f0, formants(even, self._rate)])


def _other(
    heard: Array, reference: Array, vowels: Sequence[str | None], groups: Sequence[str]
) -> Array:
    """Return what each voice gets by chance: the relevance of others of its group, (N, 3)."""
    out = np.full(heard.shape, np.nan)
    for group in set(groups):
        mine = np.flatnonzero([one == group for one in groups])
        own, pairs = [vowels[int(row)] for row in mine], partners(len(mine))
        shares = [
            within(heard[mine[pair]], reference[mine], own, [group] * len(mine)) for pair in pairs
        ]
        for n in range(3):
            out[mine, n] = lost(np.array([share[:, n] for share in shares]), pairs)
    return out


def _parts(
    vowels: Sequence[str | None], groups: Sequence[str], whole: bool
) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """Yield (name, group, rows): all voices of a group, and unless `whole` those of each vowel."""
    for group in sorted(set(groups)):
        mine = [row for row, one in enumerate(groups) if one == group]
        yield "voiced" if None in vowels else "all vowels", group, np.array(mine)
        if whole or None in vowels:
            continue
        for vowel in sorted({str(vowels[row]) for row in mine}):
            yield vowel, group, np.array([row for row in mine if vowels[row] == vowel])
