"""Where relevance lies, beside what phonetics knows: the phone, formants, the burst, the band.

Relevance of another sign than expected lies somewhere all the same: magnitudes are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from speechscope.corpus.store import Corpus
from speechscope.features.distances import lost, partners
from speechscope.scores.navai import PLOSIVES, RANGE, bands
from speechscope.scores.statistics import UNTRAINED
from speechscope.scores.voices import MEANS

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

STRETCH = 0.005
"""Of waveforms whose relevance is added up before it is compared [s] (chosen: a period of F0)."""
BURST = 0.02
"""From the beginning of a plosive's release, which holds its burst [s] (chosen)."""
HISSES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("s", "z"), (5000.0, 8000.0)),
    **dict.fromkeys(("sh", "zh", "S", "Z", "ʃ", "ʒ"), (2500.0, 5000.0)),
}
"""Where sibilants hiss [Hz] (chosen: around the peaks of Jongman, Wayland & Wong 2000, table I, of
alveolars at 6.8 and of palato-alveolars at 3.8 kHz; other fricatives have none)."""
MEASURES = ("energy inside", "AUC", "pointing")
MOVED, ANOTHER = "the region moved", "another item's region"


@dataclass(frozen=True, eq=False)
class Region:
    """Where relevance is looked for in one item.

    Parameters
    ----------
    looked_at
        Which bins (F,) and frames (T,) are.
    along
        0: what is inside is a matter of frequency, 1: of time.
    inside
        Which of those bins or frames are, (n,).
    """

    looked_at: tuple[Mask, Mask]
    along: int
    inside: Mask

    def profile(self, size: Values) -> Values:
        """Return the magnitude (F, T) of relevance, added up along the other axis, (n,)."""
        part = size[np.ix_(*self.looked_at)]
        return np.asarray(part.sum(1 - self.along), dtype=np.float64)


def localised(profile: Values, inside: NDArray[np.bool_]) -> Values:
    """Return how much of a profile (n,) is inside each of some masks (m, n), (measure, m).

    Energy inside Σ_in p / Σ p (Arras, Osman & Samek 2022, eq. 2, relevance mass accuracy); AUC, the
    probability that a value inside is larger than one outside; pointing, whether the largest is
    inside (Zhang et al. 2018, sec. 4). NaN where all is inside or nothing, or the profile is 0.
    """
    count, whole = inside.sum(1), profile.sum()
    out = np.full((len(MEASURES), len(inside)), np.nan)
    there = (count > 0) & (count < len(profile)) & bool(whole > 0)
    if there.any():
        chosen, n = inside[there].astype(np.float64), count[there]
        ranks = chosen @ rankdata(profile)
        out[0, there] = chosen @ profile / whole
        out[1, there] = (ranks - n * (n + 1) / 2) / (n * (len(profile) - n))
        out[2, there] = chosen[:, profile.argmax()]
    return out


def moved(profile: Values, inside: Mask) -> Values:
    """Return what `localised` gives on average over all circular shifts of a mask, (measure,)."""
    shifts = [np.roll(inside, step) for step in range(len(inside))]
    return np.asarray(localised(profile, np.array(shifts)).mean(1))


class Regions:
    """The regions of some items, by what they are.

    Parameters
    ----------
    corpus
        Of the items.
    items
        Their indices (N,).
    explained
        The name of the class that is explained of each; formants, bursts and bands are looked for
        where it is the one that is spoken.
    at
        The time that is explained, of whole recordings [s].
    """

    def __init__(
        self,
        corpus: Corpus,
        items: NDArray[np.int64],
        explained: Sequence[str | None],
        at: float | None = None,
    ) -> None:
        self._corpus, self._items, self._explained, self._at = corpus, items, explained, at
        self._rate = float(corpus.config["rate"])
        self.of = dict(self._found())

    def sizes(self, relevance: NDArray[np.floating]) -> Values:
        """Return the magnitude (N, F, T) of relevance (N, …); of waveforms by `STRETCH`."""
        size = np.abs(np.asarray(relevance, dtype=np.float64))
        if self._corpus.unit != "window":
            return np.asarray(size.reshape(len(size), -1, *size.shape[-2:]).sum(1))
        step = max(1, round(STRETCH * self._rate))
        flat = size.reshape(len(size), -1)
        count = flat.shape[1] // step
        return np.asarray(flat[:, : count * step].reshape(len(flat), 1, count, step).sum(3))

    def scores(
        self, own: NDArray[np.floating], random: NDArray[np.floating]
    ) -> Iterator[tuple[str, Values, dict[str, Values]]]:
        """Yield measures of relevance (N, …): its name, values (N,), and chance by null.

        Parameters
        ----------
        random
            The relevance of the same network with random weights.
        """
        first, second = self.sizes(own), self.sizes(random)
        for name, regions in self.of.items():
            rows = np.array([row for row, region in enumerate(regions) if region], dtype=np.int64)
            mine = [region for region in regions if region]
            profiles = [region.profile(first[row]) for row, region in zip(rows, mine, strict=True)]
            found = np.full((len(MEASURES), 2, len(regions)), np.nan)
            masks = [region.inside for region in mine]
            for row, region, profile in zip(rows, mine, profiles, strict=True):
                found[:, 0, row] = localised(profile, region.inside[None])[:, 0]
                found[:, 1, row] = moved(profile, region.inside)
            untrained = np.full((len(MEASURES), len(regions)), np.nan)
            for row, region in zip(rows, mine, strict=True):
                by_chance = localised(region.profile(second[row]), region.inside[None])
                untrained[:, row] = by_chance[:, 0]
            exchanged = np.full_like(untrained, np.nan)
            exchanged[:, rows] = _exchanged(profiles, masks)
            for measure, both, third, other in zip(
                MEASURES, found, untrained, exchanged, strict=True
            ):
                nulls = {MOVED: both[1], UNTRAINED: third, ANOTHER: other}
                known = {name: of for name, of in nulls.items() if np.isfinite(of).any()}
                yield f"{measure}, {name}", both[0], known

    def _found(self) -> Iterator[tuple[str, list[Region | None]]]:
        """Yield the regions of every item, by what they are; none of a kind: not of it."""
        corpus, rate = self._corpus, self._rate
        spans = spans_of(corpus, self._items, self._at)
        shape = self.sizes(np.zeros((1, *corpus.input_shape))).shape[1:]
        times = _times(corpus, shape[1])
        within = [(times >= low / rate) & (times < high / rate) for low, high in spans]
        every = np.ones(shape[0], dtype=bool)
        always = np.ones(shape[1], dtype=bool)
        here = [always] * len(within)
        if corpus.whole:  # nothing is explained behind the end of a recording
            here = [np.arange(shape[1]) < shape[1] * n for n in corpus.shares(self._items)]
        yield (
            "in the phone",
            [_some((every, a), 1, inside[a]) for a, inside in zip(here, within, strict=True)],
        )
        if corpus.unit != "segment":
            return
        names = [
            name if name == corpus.classes[label] else None
            for name, label in zip(self._explained, corpus.labels[self._items], strict=True)
        ]
        first = [inside & (times < low / rate + BURST) for inside, (low, _) in
                 zip(within, spans, strict=True)]  # fmt: skip
        yield (
            "at the burst",
            [
                _some((every, inside), 1, part[inside]) if name in PLOSIVES else None
                for name, inside, part in zip(names, within, first, strict=True)
            ],
        )
        if "frequency" not in corpus.artifact:
            return
        if corpus.artifact.attributes("frequency").get("units") != "Hz":
            return
        hertz = corpus.artifact.read("frequency")
        speech = (hertz >= RANGE[0]) & (hertz <= RANGE[1])
        for kind, known, range_ in (
            ("at the formants", {name: bands(name) for name in MEANS["M"]}, speech),
            ("where it hisses", {name: (band,) for name, band in HISSES.items()}, every),
        ):
            masks = {
                name: np.any([(hertz >= low) & (hertz <= high) for low, high in of], axis=0)
                for name, of in known.items()
            }
            yield (
                kind,
                [
                    _some((range_, inside), 0, masks[name][range_]) if name in masks else None
                    for name, inside in zip(names, within, strict=True)
                ],
            )


def _some(looked_at: tuple[Mask, Mask], along: int, inside: Mask) -> Region | None:
    """Return a region; None where nothing or all of what is looked at is inside."""
    some = looked_at[1 - along].any() and inside.any() and not inside.all()
    return Region(looked_at, along, inside) if some else None


def _exchanged(profiles: list[Values], masks: list[Mask]) -> Values:
    """Return what items get by the regions of others, (measure, N); NaN where they do not fit."""
    nothing = np.full((len(MEASURES), len(masks)), np.nan)
    if len({len(mask) for mask in masks}) != 1:
        return nothing
    pairs = partners(len(masks))
    others = np.array(
        [
            [localised(profiles[row], masks[other][None])[:, 0] for row, other in enumerate(pair)]
            for pair in pairs
        ]
    )
    if not len(pairs):
        return nothing
    return np.array([lost(others[:, :, measure], pairs) for measure in range(len(MEASURES))])


def _times(corpus: Corpus, frames: int) -> Values:
    """Return the middle of every frame, or stretch of a waveform, from that of the input [s]."""
    rate = float(corpus.config["rate"])
    if corpus.unit == "window":
        step = max(1, round(STRETCH * rate))
        return np.asarray(
            ((np.arange(frames) + 0.5) * step - corpus.input_shape[2] / 2) / rate, dtype=np.float64
        )
    if corpus.unit == "utterance":  # a window, in the middle of which is what it answers
        hop, _ = corpus.framing
        return np.asarray((np.arange(frames) + 0.5 - frames / 2) * hop / rate)
    times = corpus.artifact.read("time").astype(np.float64)
    return times - (float(corpus.config["samples"]) / 2 / rate if corpus.unit == "segment" else 0)


def spans_of(corpus: Corpus, items: NDArray[np.int64], at: float | None = None) -> Values:
    """Return where the phone of each item begins and ends, from the middle of its input, (N, 2).

    In samples. A segment is the phone, in the middle of its input. Of frames and windows a phone is
    a run of items of one label that follow each other; its ends are known to half a step. Of a
    window of an utterance it is that which sounds in its middle, of a whole recording that which
    sounds at a time; NaN where nobody marked one.

    Parameters
    ----------
    at
        The time that is explained of whole recordings [s].
    """
    read = corpus.artifact.read
    if "phone" in corpus.artifact:
        return _marked(corpus, items, at)
    start, stop = (read(name).astype(np.float64) for name in ("start", "stop"))
    if corpus.unit == "segment":
        half = (stop - start)[items] / 2
        return np.stack([-half, half], 1)
    size = (
        float(corpus.input_shape[2]) if corpus.unit == "window" else float(corpus.config["window"])
    )
    # Windows begin before their recording does, frames are cut where it begins or ends.
    middle = start + size / 2 if corpus.unit == "window" else np.where(
        start > 0, start + size / 2, stop - size / 2
    )  # fmt: skip
    step = np.diff(middle)
    hop, _ = corpus.framing
    breaks = (step != hop) | (np.diff(read("label")) != 0) | (np.diff(read("utterance")) != 0)
    run = np.concatenate([[0], np.cumsum(breaks)])
    edges = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(run)]])
    first, last = middle[edges[:-1]][run], middle[edges[1:] - 1][run]
    ends = np.stack([first - hop / 2 - middle, last + hop / 2 - middle], 1)
    return np.asarray(ends[items])


def _marked(corpus: Corpus, items: NDArray[np.int64], at: float | None) -> Values:
    """Return `spans_of` where the phones of recordings are marked."""
    rate = float(corpus.config["rate"])
    out = np.full((len(items), 2), np.nan)
    for row, (recording, moment, middle) in enumerate(_moments(corpus, items, at)):
        for _, stretch in corpus.phones(recording):
            if stretch.start <= moment * rate < stretch.stop:
                out[row] = stretch.start - middle, stretch.stop - middle
    return out


def _moments(
    corpus: Corpus, items: NDArray[np.int64], at: float | None
) -> Iterator[tuple[int, float, float]]:
    """Yield recording, explained time [s] (NaN: none), and middle of the input [samples]."""
    rate, frames = float(corpus.config["rate"]), corpus.input_shape[2]
    if corpus.whole:
        hop, first = corpus.grid
        for item in items.tolist():
            middle = frames / 2 if corpus.unit == "window" else first + hop * (frames - 1) / 2
            yield item, np.nan if at is None else at, middle
        return
    # Items are windows, by their first frame.
    edges, times = corpus.artifact.read("input_offset"), corpus.artifact.read("frame_time")
    for item in items.tolist():
        moment = float(times[item + (frames - 1) // 2] + times[item + frames // 2]) / 2
        yield int(np.searchsorted(edges, item, "right")) - 1, moment, moment * rate
