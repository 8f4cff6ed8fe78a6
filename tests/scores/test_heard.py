"""What knows nothing is at chance; what knows one attribute scores on that one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import signal

from speechscope.features import attributes
from speechscope.scores.heard import MEL, MEL_WITHIN, Heard, Listener, together
from speechscope.scores.inversion import WAVEFORM, Given, _correlated, shaped_noise
from speechscope.scores.statistics import ABOVE, AT, Row, Score, rows_of

RATE, SAMPLES = 16000, 2554
pytestmark = pytest.mark.skipif(not attributes.available(), reason="Praat is not installed")


@dataclass(frozen=True)
class Voices:
    """What is particular to each item, (N,) each."""

    f0: np.ndarray
    f1: np.ndarray
    f2: np.ndarray
    length: np.ndarray
    level: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, count: int) -> "Voices":
        f1 = rng.uniform(300, 800, count)
        return cls(
            np.exp(rng.uniform(np.log(90), np.log(260), count)),
            f1,
            f1 + rng.uniform(500, 1500, count),
            rng.uniform(0.07, 0.15, count),
            rng.uniform(-30, 0, count),
        )

    def sounds(self, rng: np.random.Generator) -> np.ndarray:
        """Pulses through two resonances, in the middle of a segment."""
        out = np.zeros((len(self.f0), SAMPLES))
        for row, f0, f1, f2, length, level in zip(
            out, self.f0, self.f1, self.f2, self.length, self.level, strict=True
        ):
            count = int(length * RATE)
            phase = np.cumsum(np.full(count, f0 / RATE)) + rng.uniform()
            wave = np.diff(np.floor(phase), prepend=0.0) + 0.003 * rng.normal(size=count)
            for hertz in (f1, f2, 3000.0):
                pole = 0.97 * np.exp(2j * np.pi * hertz / RATE)
                wave = signal.lfilter([1.0], [1, -2 * pole.real, abs(pole) ** 2], wave)
            wave *= 10 ** (level / 20) / np.sqrt(np.mean(wave**2))
            start = (SAMPLES - count) // 2
            row[start : start + count] = wave
        return out.astype(np.float32)


def heard(waveforms: np.ndarray) -> Heard:
    vowels = np.ones(len(waveforms), dtype=bool)
    return Heard.of(iter([(waveforms, vowels)]), RATE, praat=True)


def rows(
    original: np.ndarray, restored: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, Row]:
    """Score waveforms against their originals, corrected together."""
    labels = np.zeros(len(original), dtype=np.int64) if labels is None else labels
    listener = Listener(heard(original), labels, {}, None)
    given = Given.of(original[:, None], original, original.mean(0), 0)
    values, chance = _correlated(original, restored, given.pairs, given.of_waveforms)

    def scores() -> Iterator[Score]:
        yield Score({"measure": WAVEFORM}, values, chance, 1.0)
        yield from listener.scores(heard(restored))

    return {str(row["measure"]): row for row in rows_of(scores())}


def controls(rng: np.random.Generator, original: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield reconstructions that know nothing of their originals."""
    count = len(original)
    yield "average", np.repeat(original.mean(0)[None], count, axis=0)
    yield "shaped-noise", shaped_noise(original, int(rng.integers(2**31))).astype(np.float32)
    yield "random", Voices.drawn(rng, count).sounds(rng)


def at_chance(draws: int, count: int) -> dict[str, float]:
    """Return how often no score at all of each control is above chance."""
    rng = np.random.default_rng(1)
    fine: dict[str, list[bool]] = {}
    for _ in range(draws):
        original = Voices.drawn(rng, count).sounds(rng)
        for name, restored in controls(rng, original):
            found = rows(original, restored, rng.integers(0, 4, count)).values()
            fine.setdefault(name, []).append(all(row["verdict"] != ABOVE for row in found))
    return {name: float(np.mean(values)) for name, values in fine.items()}


def test_controls_are_at_chance() -> None:
    assert min(at_chance(3, 40).values()) >= 2 / 3


@pytest.mark.heavy
def test_controls_are_at_chance_in_200_draws() -> None:
    found = at_chance(200, 40)
    assert set(found) == {"average", "shaped-noise", "random"}
    assert min(found.values()) >= 0.94, found


NAMES = ("intensity", "duration", "F0", "F1", "F2")


def above(found: dict[str, Row]) -> set[str]:
    return {name for name in NAMES if found[name]["verdict"] == ABOVE}


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (("f0",), {"F0"}),
        (("level",), {"intensity"}),
        (("length",), {"duration"}),
        (("f1",), {"F1"}),
        (("f1", "f2", "length", "level"), {"F1", "F2", "duration", "intensity"}),
    ],
)
def test_what_knows_one_attribute_scores_on_that_one(
    kept: tuple[str, ...], expected: set[str]
) -> None:
    rng = np.random.default_rng(3)
    voices, others = Voices.drawn(rng, 90), Voices.drawn(rng, 90)
    if kept == ("f1",):  # the second resonance is where the first leaves room
        others = replace(others, f2=np.full(90, 1900.0))
    mixed = replace(others, **{name: getattr(voices, name) for name in kept})
    found = rows(voices.sounds(rng), mixed.sounds(rng))
    assert above(found) == expected


def test_the_right_phone_of_another_speaker_is_the_phone_and_not_the_item() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(4), 30)
    f1, f2 = np.array([300, 700, 400, 800])[labels], np.array([900, 1200, 2000, 1800])[labels]

    def spoken() -> np.ndarray:
        drawn = Voices.drawn(rng, 120)
        apart = 1 + 0.02 * rng.normal(size=(2, 120))
        return replace(drawn, f1=f1 * apart[0], f2=f2 * apart[1]).sounds(rng)

    original = spoken()
    found = rows(original, spoken(), labels)
    assert above(found) == {"F1", "F2"}
    assert found[MEL]["verdict"] == ABOVE
    assert found[MEL_WITHIN]["verdict"] == AT
    same = rows(original, original, labels)
    assert same[MEL_WITHIN]["verdict"] == ABOVE and same[MEL_WITHIN]["value"] == 0


def test_an_attribute_together_is_spearmans() -> None:
    import scipy.stats

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 50))
    second += first
    value = together("x", first, second).mean
    assert value == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    near = next(iter(rows_of([together("x", first, first + 0.2 * rng.normal(size=50))])))
    low, high = (float(near[end] or 0) for end in ("low", "high"))
    assert 0.85 < low < float(near["value"] or 0) < high <= 1
    second[::2] = np.nan  # half of them have no such value: of those, nothing is known
    missing = together("x", first, second).mean
    assert missing is not None and value is not None and 0 < missing < 0.75 * value
    assert together("x", np.full(50, np.nan), second).mean is None
    constant = 1e3 + 1e-12 * rng.normal(size=50)
    assert together("x", first, constant).mean == 0


def test_praat_finds_what_was_put_in() -> None:
    rng = np.random.default_rng(2)
    voices = Voices.drawn(rng, 40)
    found = attributes.attributes(voices.sounds(rng), RATE, np.ones(40, dtype=bool), praat=True)
    # Formants with bandwidths near their distances are not found as they were put in.
    for name, put, most in (
        ("F0", voices.f0, 0.01),
        ("F1", voices.f1, 0.2),
        ("F2", voices.f2, 0.2),
    ):
        ratio = found[name] / put
        assert np.nanmedian(np.abs(ratio - 1)) < most, name
        assert np.isfinite(ratio).mean() > 0.9
    assert np.abs(np.diff(found["intensity"] - voices.level)).max() < 5
    np.testing.assert_allclose(found["duration"], voices.length, rtol=0.5)
    assert np.median(found["voicing"]) > 0.9
    noise = attributes.attributes(
        rng.normal(size=(20, SAMPLES)), RATE, np.zeros(20, dtype=bool), praat=True
    )
    assert np.median(noise["voicing"]) < 0.6 and np.isnan(noise["F1"]).all()
    silence = attributes.attributes(
        np.zeros((2, SAMPLES)), RATE, np.ones(2, dtype=bool), praat=True
    )
    assert all(np.isnan(values).all() for values in silence.values())


def test_the_spectrum_is_measured_as_its_formulas_say() -> None:
    time = np.arange(SAMPLES) / RATE
    tone = np.stack([np.sin(2 * np.pi * f * time) for f in (500.0, 2000.0)])
    found = attributes.centre_of_gravity(tone, RATE)
    np.testing.assert_allclose(found, [500, 2000], rtol=0.02)
    low, high = attributes.tilt(tone, RATE)
    assert low < -20 and high > 20
    np.testing.assert_allclose(attributes.loudness(10 * tone, RATE), 20 - 3.01, atol=0.05)
    half = np.concatenate([tone, np.zeros_like(tone)], axis=1)
    np.testing.assert_allclose(attributes.duration(half, RATE), SAMPLES / RATE, rtol=0.1)
