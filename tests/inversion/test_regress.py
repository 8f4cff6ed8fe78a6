"""A learned inverse knows what is heard of a sound, and is led by the activity."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch
import xarray
from numpy.typing import NDArray
from prepared import prepared
from torch import Tensor

from speechscope.cli import run
from speechscope.errors import UsageProblem
from speechscope.inversion import chains, regress
from speechscope.inversion.analysis import Analysis
from speechscope.inversion.regress import (
    FLOOR,
    Inverse,
    Principal,
    _powers,
    at_speed,
    filtered,
    log_bands,
    sizes,
    source,
    stft_for,
    train_inverses,
    voice,
)
from speechscope.inversion.sound import transform
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU
from speechscope.stages.invert import Invert

SETTINGS = Invert(method=("regress",), regress_epochs=12, regress_steps=0)
ANALYSIS = Analysis(prepared(features="magnitude"))


class Tones:
    """Two tones each of random pitch and level, as what an inverse learns from."""

    def __init__(self, count: int, seed: int, speakers: int = 5) -> None:
        generator = torch.Generator().manual_seed(seed)

        def drawn(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, 1, generator=generator)

        time, waveforms = torch.arange(420) / 8000, torch.zeros(count, 420)
        for low, high in ((300, 1200), (1500, 3500)):
            phase = 2 * torch.pi * (drawn(low, high) * time + drawn(0, 1))
            waveforms += drawn(0.02, 0.2) * torch.sin(phase)
        self.sounds, self.rate = waveforms, 8000
        self.speakers = np.arange(count) % speakers
        self.labels = np.zeros(count, np.int64)
        self.mean, self.deviation, self.signed = torch.zeros(()), torch.ones(()), False

    def inputs(self, places: NDArray[np.int64]) -> Tensor:
        with torch.no_grad():
            found: Tensor = ANALYSIS(self.waveforms(places))
        return found

    def waveforms(self, places: NDArray[np.int64]) -> Tensor:
        return self.sounds[torch.from_numpy(places)]

    def all(self) -> Tensor:
        return self.inputs(np.arange(len(self.sounds)))


def trained(network: Network, tones: Tones, settings: Invert = SETTINGS) -> Inverse:
    return train_inverses(network, [3], tones, ANALYSIS, settings)[3]  # type: ignore[arg-type]


def test_components_are_those_of_a_decomposition() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(12, 12))
    for count in (300, 9):  # more and fewer points than values
        points = torch.from_numpy(rng.normal(size=(count, 12)) @ mixed + 3)
        made = Principal(points, 4, standardised=True)
        given = points.numpy()
        standard = (given - given.mean(0)) / given.std(0)
        _, _, vectors = np.linalg.svd(standard, full_matrices=False)
        expected = np.abs(standard @ vectors[:4].T)
        found = made(points.float()).abs().numpy() * float(made.size)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert float(made(points.float()).square().mean()) == pytest.approx(1, rel=1e-3)
        plain = Principal(points, 12, standardised=False)
        torch.testing.assert_close(
            plain.points(plain(points.float())), points.float(), rtol=1e-3, atol=1e-3
        )


def voices(pitches: list[float], samples: int = 2554, rate: int = 16000) -> Tensor:
    """Sums of harmonics that fall by 12 dB an octave, without a pulse in common with `source`."""
    time, out = torch.arange(samples) / rate, torch.zeros(len(pitches), samples)
    for row, pitch in zip(out, pitches, strict=True):
        for k in range(1, int(3000 / pitch)):
            row += torch.sin(2 * torch.pi * k * pitch * time + k * k) / k**2
    return 0.1 * out


def test_a_pitch_is_found_and_noise_has_none() -> None:
    pitches = [80.0, 117.0, 210.0, 330.0]
    found, strength = voice(voices(pitches), 16000)
    torch.testing.assert_close(found, torch.tensor(pitches), rtol=0.02, atol=0)
    assert (strength > 0.9).all()
    noise = torch.randn(8, 2554, generator=torch.Generator().manual_seed(0))
    assert (voice(noise, 16000)[1] < 0.45).all() and voice(noise, 16000)[0].isnan().all()
    quiet, none = voice(torch.zeros(2, 2554), 16000)
    assert quiet.isnan().all() and not none.any()
    assert voice(noise[:, :20], 16000)[0].isnan().all()
    # Most of an item is padding: what is loud counts.
    short = torch.zeros(1, 2554)
    short[0, 800:1600] = voices([210.0])[0, 800:1600]
    assert float(voice(short, 16000)[0]) == pytest.approx(210, rel=0.03)


def test_pitch_and_strength_are_praats() -> None:
    pytest.importorskip("parselmouth")
    from speechscope.features.attributes import pitch

    rng = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 2554, generator=rng)
    mixed = voices([90.0, 120, 160, 210, 260, 320]) + torch.linspace(0, 0.06, 6)[:, None] * noise
    strength, hertz = pitch(mixed.numpy(), 16000)
    found, ours = voice(mixed, 16000)
    np.testing.assert_allclose(ours, strength, atol=0.08)
    np.testing.assert_allclose(found[:4], hertz[:4], rtol=0.05)


def test_a_source_has_its_pitch_and_a_power_of_one() -> None:
    noise = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    pitch = torch.tensor([100.0, 250, 100])
    made = source(pitch, torch.tensor([1.0, 1, 0]), noise, 16000)
    torch.testing.assert_close(made.square().mean(1), torch.ones(3), rtol=0.05, atol=0)
    torch.testing.assert_close(made[2], noise[2])
    power = torch.fft.rfft(made[:2]).abs().square()
    for row, hertz in zip(power, (100, 250), strict=True):  # of a second: bins are hertz
        assert float(row[hertz::hertz].sum() / row.sum()) > 0.99
        assert float(row[hertz] / row[4 * hertz]) == pytest.approx(1, abs=0.1)
    half = source(pitch[:1], torch.tensor([0.25]), noise[:1], 16000)
    torch.testing.assert_close(half, 0.5**0.5 * made[:1] + 0.5**0.5 * noise[:1], rtol=0, atol=1e-3)


def test_a_source_is_brought_to_bands() -> None:
    stft = stft_for(2554, 16000)
    target = voices([140.0, 220.0])
    noise = torch.randn(2, 2554, generator=torch.Generator().manual_seed(0))
    made = source(torch.tensor([140.0, 220.0]), torch.ones(2), noise, 16000)
    wanted, spectra = log_bands(stft, target), transform(stft, made)
    found = log_bands(stft, filtered(stft, spectra, wanted))
    before = (log_bands(stft, made) - wanted).abs().mean()
    loud = wanted > wanted.max() - 9  # what is 40 dB below is what leaks
    assert float((found - wanted)[loud].abs().mean()) < 0.1 * float(before)
    found_pitch = voice(filtered(stft, spectra, wanted), 16000)[0]
    torch.testing.assert_close(found_pitch, torch.tensor([140.0, 220.0]), rtol=0.02, atol=0)


def test_bins_are_as_large_as_their_bands() -> None:
    stft = stft_for(2554, 16000)
    log = log_bands(stft, voices([140.0, 220.0]))
    log = log.mean((1, 2), keepdim=True) + 3 * torch.linspace(-1, 1, 64).cos().expand_as(log)
    modulus = sizes(stft, log)
    assert modulus.shape == transform(stft, voices([140.0, 220.0])).shape
    even = torch.log(_powers(stft, modulus.to(torch.complex64)))
    torch.testing.assert_close(even, log, rtol=0, atol=0.2)
    quiet = sizes(stft, torch.full_like(log, -60.0))
    torch.testing.assert_close(quiet, torch.full_like(quiet, FLOOR**0.5))


def test_a_sound_is_played_at_another_speed_about_its_middle() -> None:
    time = (torch.arange(420) - 210) / 8000

    def chirp(speed: float) -> Tensor:
        bell = torch.exp(-((speed * time / 0.006) ** 2))
        return bell * torch.cos(2 * torch.pi * 900 * speed * time)

    for speed in (1.25, 0.8):
        found = at_speed(chirp(1)[None], speed)[0]
        torch.testing.assert_close(found, chirp(speed), rtol=0, atol=0.02)
    assert float(at_speed(torch.ones(1, 420), 1.5)[0, :60].abs().max()) == 0
    assert torch.equal(at_speed(time[None], 1), time[None])


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    table = (Conv(6, (5, 3), "same"), ReLU(), MaxPool((3, 10), (2, 10)))
    return Network(table, tuple(ANALYSIS.mean.shape)).requires_grad_(False)


@pytest.fixture(scope="module")
def inverse(network: Network) -> Inverse:
    return trained(network, Tones(1200, 1))


def test_what_is_learned_is_nearer_than_any_mean(network: Network, inverse: Inverse) -> None:
    test = Tones(100, 2)
    activity = network.activation(test.all(), 3)
    true = log_bands(inverse.stft, test.sounds)

    def apart(log: Tensor) -> float:
        return float((log - true).square().mean().sqrt())

    mean = inverse.spectra.mean.view(true.shape[1:])
    learned = inverse.bands(inverse(inverse.codes(activity.flatten(1))))
    assert apart(learned) < 0.5 * apart(mean)
    sounds = inverse.sounds(activity, range(100))
    assert apart(log_bands(inverse.stft, sounds)) < 0.8 * apart(mean)
    assert apart(log_bands(inverse.stft, sounds.roll(1, 0))) > apart(mean)  # its own
    alone = inverse.sounds(activity[3:5], range(3, 5))
    torch.testing.assert_close(sounds[3:5], alone, rtol=0, atol=1e-3)


def test_items_are_learned_from_at_several_speeds(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(
        regress, "_learn", lambda _inverse, codes, wanted, *_: seen.append((codes, wanted))
    )
    few = Tones(60, 1)
    made = trained(network, few)
    codes, wanted = seen[0]
    assert len(codes) == len(wanted) == len(regress.SPEEDS)
    for speed, code, heard in zip(regress.SPEEDS, codes, wanted, strict=True):
        sounds = at_speed(few.sounds, speed)
        activity = network.activation(ANALYSIS(sounds), 3).flatten(1)
        torch.testing.assert_close(code, made.codes(activity), rtol=0, atol=1e-3)
        torch.testing.assert_close(heard, made.heard(sounds), rtol=0, atol=1e-3, equal_nan=True)
    monkeypatch.setattr(regress, "ENOUGH", 60)
    trained(network, few)
    assert len(seen[1][0]) == 1


def test_errors_are_those_on_a_speaker_that_nothing_was_learned_from(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Inverse, "erring", lambda _, *given: asked.append(given))
    few = Tones(60, 1)
    noise = torch.randn(30, 420, generator=torch.Generator().manual_seed(0))
    few.sounds[::2] = 0.1 * noise  # without a pitch
    made = trained(network, few, replace(SETTINGS, regress_epochs=1))
    train, held = regress._held_out(few.speakers, 0)
    assert len(set(few.speakers[held])) == 1
    assert not set(few.speakers[held]) & set(few.speakers[train])
    ((codes, missed),) = asked
    activity = network.activation(few.inputs(held), 3)
    torch.testing.assert_close(codes, made.codes(activity.flatten(1)), rtol=0, atol=1e-3)
    wanted = made.heard(few.sounds[held]) - made(codes)
    torch.testing.assert_close(missed[:, :-2], wanted[:, :-2], rtol=0, atol=1e-3)
    voiced = wanted[:, -2].isfinite()  # those without a pitch do not make its errors smaller
    assert 0 < int(voiced.sum()) < len(voiced)
    spread = wanted[voiced, -2].square().mean()
    torch.testing.assert_close(missed[:, -2].square().mean(), spread, rtol=1e-3, atol=0)


def test_the_descent_leads_to_the_activity_and_is_held_to_what_is_learned(
    network: Network, inverse: Inverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = Tones(30, 2)
    monkeypatch.setattr(regress, "STEP", 0.02)
    inputs = test.all()

    def found(steps: int, faith: float) -> chains.Inversion:
        monkeypatch.setattr(regress, "FAITH", faith)
        return chains.invert(
            network,
            inputs,
            [3],
            replace(SETTINGS, regress_steps=steps, block=7),
            list(range(30)),
            restorers={"regress": {3: inverse}},
            analysis=ANALYSIS,
        )

    first, free, held = found(0, 0), found(40, 0.003), found(40, 30)
    assert (free.mismatch < first.mismatch).all()
    assert float(free.mismatch.mean()) < 0.7 * float(first.mismatch.mean())
    assert free.objective.shape[-1] == 41
    assert float(free.objective[..., 40].mean()) < 0.5 * float(free.objective[..., 0].mean())
    sounds = free.waveforms[0, 0]
    torch.testing.assert_close(ANALYSIS(sounds), free.reconstruction[0, 0], rtol=0, atol=1e-5)
    logs = [log_bands(inverse.stft, run.waveforms[0, 0]) for run in (first, free, held)]
    moved = [float((logs[0] - log).abs().mean()) for log in logs[1:]]
    assert moved[1] < 0.5 * moved[0]


def test_draws_err_as_the_inverse_does_where_it_was_not_trained(network: Network) -> None:
    inverse = trained(network, Tones(60, 1), replace(SETTINGS, regress_epochs=0))
    rng = np.random.default_rng(0)
    mixed, count = rng.normal(size=(5, 5)), 4000
    codes = torch.from_numpy(rng.normal(size=(count, 3))).float()
    near = (codes[:, 0] > 0).numpy()  # where errors are three times as large
    errors = (rng.normal(size=(count, 5)) @ mixed) * np.where(near, 3.0, 1.0)[:, None]
    inverse.erring(codes, torch.from_numpy(errors).float())
    at = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0]])
    drawn = np.array([inverse.drawn(at, [seed, seed + 9999]).numpy() for seed in range(3000)])
    for place, rows in enumerate((near, ~near)):
        wanted = np.cov(errors[rows].T)
        np.testing.assert_allclose(np.cov(drawn[:, place].T), wanted, atol=0.35 * wanted.max())
    assert drawn[:, 0].std() / drawn[:, 1].std() == pytest.approx(3, rel=0.25)
    one, same = (inverse.drawn(at, [5, 6]) for _ in range(2))
    assert torch.equal(one, same) and torch.equal(one[:1], inverse.drawn(at[:1], [5]))


def test_an_inverse_is_seeded_and_leaves_the_generator_alone(network: Network) -> None:
    before = torch.get_rng_state()
    settings = replace(SETTINGS, regress_epochs=1)
    one, two, other = (
        trained(network, Tones(100, 1), replace(settings, seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.outer.weight, two.outer.weight)
    assert not torch.equal(one.outer.weight, other.outer.weight)


def test_an_inverse_is_measured_beside_the_mean(network: Network, inverse: Inverse) -> None:
    test = Tones(150, 2)  # more than a batch
    (row,) = regress.measure(network, {3: inverse}, test)  # type: ignore[arg-type]
    code = inverse.codes(network.activation(test.all(), 3).flatten(1))
    for item in (0, 140):
        true = log_bands(inverse.stft, test.sounds[item : item + 1]).flatten()
        learned = inverse.bands(inverse(code[item : item + 1])).flatten()
        for name, log in (("error", learned), ("mean", inverse.spectra.mean)):
            assert row[name].shape == (150,)
            wanted = 4.342944819 * float((true - log).square().mean().sqrt())
            assert float(row[name][item]) == pytest.approx(wanted, rel=1e-3)
    assert float(row["error"].mean()) < float(row["mean"].mean())


def test_inverses_are_an_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.timit(tmp_path / "timit", speakers=3, sentences=2)
    assert run(["prepare", "timit", "-q"]) == 0
    assert run(["train", "--epochs", "1", "--per-class", "3", "-q"]) == 0
    little = ["--regress-epochs", "2", "-q"]
    apply = ["invert", "--method", "regress", "--regress-steps", "2", "--items", "0:4", "-fq"]
    assert run([*apply, "--layer", "9,12", "--regress-epochs", "2", "-o", "spot.zarr"]) == 0

    stopped: list[int] = []
    plain = regress._learn

    def stopping(*args: Any) -> None:
        if len(stopped) == 1:
            raise KeyboardInterrupt
        stopped.append(1)
        plain(*args)

    monkeypatch.setattr(regress, "_learn", stopping)
    train = ["decode-train", "--method", "regress", "--layer", "9,12", *little]
    assert run(train) == 130 and not Path("inverse.pt").exists()
    counted: list[int] = []

    def counting(*args: Any) -> None:
        counted.append(1)
        plain(*args)

    monkeypatch.setattr(regress, "_learn", counting)
    assert run([*train, "--resume"]) == 0
    assert len(counted) == 1  # the first layer was kept
    assert not list(tmp_path.glob(".inverse*"))

    # What is read back answers as what is trained on the spot does, and nothing is trained.
    assert run([*apply, "--layer", "12", "-o", "read.zarr"]) == 0
    assert len(counted) == 1
    spot, read = xarray.open_zarr("spot.zarr"), xarray.open_zarr("read.zarr")
    np.testing.assert_array_equal(spot.waveform[:, 1], read.waveform[:, 0])
    assert read.attrs["speechscope"]["parents"][0]["kind"] == "inverse"
    capsys.readouterr()
    assert run(["report", "inverse.pt", "-o", "inverse.html", "-fq"]) == 0
    assert "Learned inverses: sound from what layer 9, 12" in Path("inverse.html").read_text()
    capsys.readouterr()
    assert run(["score", "inverse.pt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == [9, 12]
    assert {row["null"] for row in rows} == {"the mean spectrum"}
    for arguments, code, message in (
        ([*apply, "--layer", "6"], 2, "inverse.pt has inverses for layers 9, 12, not 6"),
        ([*train, "--unpool", "switch", "-f"], 2, "--unpool has no meaning for --method regress"),
        ([*apply[:1], "inverse.pt", "--method", "decode"], 2, "needs a decoder"),
    ):
        assert run(arguments) == code
        assert message in capsys.readouterr().err
    held = Path("inverse.pt").read_bytes()
    Path("inverse.pt").write_bytes(held[: len(held) // 2])
    assert run([*apply, "--layer", "12"]) == 3


def test_what_is_missing_is_said(network: Network) -> None:
    with pytest.raises(UsageProblem, match="layer 3: no inverse"):
        chains.invert(network, Tones(2, 1).all(), [3], SETTINGS, [0, 1])
    assert regress.stft_for(2554, 16000).frames == 27
