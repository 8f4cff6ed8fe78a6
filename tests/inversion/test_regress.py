"""A learned inverse knows more of a sound than its example does, and is led by the activity."""

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
from speechscope.inversion.problem import Known
from speechscope.inversion.regress import (
    Inverse,
    Principal,
    log_magnitude,
    train_inverses,
    with_envelope,
)
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


def test_an_envelope_is_changed_and_fine_structure_stays() -> None:
    bins, quefrency = torch.arange(65) * torch.pi / 64, 8
    slow, other = torch.cos(3 * bins), torch.cos(5 * bins)
    fast, lost = torch.cos(20 * bins), torch.cos(30 * bins)
    found = with_envelope((slow + fast)[None, :, None], (other + lost)[None, :, None], quefrency)
    torch.testing.assert_close(found[0, :, 0], other + fast, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    table = (Conv(6, (5, 3), "same"), ReLU(), MaxPool((3, 10), (2, 10)))
    return Network(table, tuple(ANALYSIS.mean.shape)).requires_grad_(False)


@pytest.fixture(scope="module")
def inverse(network: Network) -> Inverse:
    return train_inverses(network, [3], Tones(1200, 1), SETTINGS)[3]  # type: ignore[arg-type]


def test_what_is_learned_is_nearer_than_the_example(network: Network, inverse: Inverse) -> None:
    test = Tones(100, 2)
    speakers = torch.from_numpy(test.speakers)
    activity = network.activation(test.all(), 3)
    code = inverse.codes(activity.flatten(1))
    example = inverse.example_waveforms[inverse.nearest(code, speakers)[:, 0]]

    def envelope(sounds: Tensor) -> Tensor:
        log = log_magnitude(inverse.stft, sounds)
        return with_envelope(torch.zeros_like(log), log, regress.QUEFRENCY * 8000)

    def apart(sounds: Tensor) -> float:
        return float((envelope(sounds) - envelope(test.sounds)).square().mean().sqrt())

    other = test.sounds.roll(1, 0)
    assert apart(example) < 0.8 * apart(other)
    assert apart(inverse.sounds(activity, speakers)) < 0.8 * apart(example)


def test_examples_are_by_others(network: Network, inverse: Inverse) -> None:
    trained = Tones(1200, 1)
    inputs, speakers = trained.all()[:50], torch.from_numpy(trained.speakers[:50])
    code = inverse.codes(network.activation(inputs, 3).flatten(1))
    near = inverse.nearest(code, speakers, 4)
    assert (inverse.example_speakers[near] != speakers[:, None]).all()
    # Nobody's own items are left out where the speaker is not known: an item then finds itself.
    own = inverse.nearest(code, torch.full_like(speakers, -1))[:, 0]
    torch.testing.assert_close(inverse.example_codes[own], code, rtol=0, atol=1e-4)


def test_training_pairs_items_with_examples_by_others(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []
    plain = Inverse.nearest

    def noted(self: Inverse, codes: Tensor, speakers: Tensor, count: int = 1) -> Tensor:
        asked.append(speakers)
        return plain(self, codes, speakers, count)

    monkeypatch.setattr(Inverse, "nearest", noted)
    few = Tones(60, 1)
    train_inverses(network, [3], few, replace(SETTINGS, regress_epochs=1))  # type: ignore[arg-type]
    train, held = regress._held_out(few.speakers, 0)
    assert torch.cat(asked).tolist() == few.speakers[np.concatenate([held, train])].tolist()
    # Errors are those on a speaker that nothing was learned from.
    assert len(set(few.speakers[held])) == 1
    assert not set(few.speakers[held]) & set(few.speakers[train])


def test_the_descent_leads_to_the_activity_and_is_held_to_what_is_learned(
    network: Network, inverse: Inverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = Tones(30, 2)
    inputs = test.all()
    told = Known(inputs, test.labels[:30], test.speakers, test)
    monkeypatch.setattr(regress, "STEP", 2e-3)

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
            known=told,
        )

    first, free, held = found(0, 0), found(40, 0.03), found(40, 30)
    assert (free.mismatch < first.mismatch).all()
    assert float(free.mismatch.mean()) < 0.9 * float(first.mismatch.mean())
    assert free.objective.shape[-1] == 41
    assert (free.objective[..., 40] < free.objective[..., 0]).all()
    sounds = free.waveforms[0, 0]
    torch.testing.assert_close(ANALYSIS(sounds), free.reconstruction[0, 0], rtol=0, atol=1e-5)
    logs = [log_magnitude(inverse.stft, run.waveforms[0, 0]) for run in (first, free, held)]
    moved = [float((logs[0] - log).abs().mean()) for log in logs[1:]]
    assert moved[1] < 0.95 * moved[0]


def test_draws_err_as_the_inverse_does_where_it_was_not_trained(network: Network) -> None:
    inverse = train_inverses(network, [3], Tones(60, 1), replace(SETTINGS, regress_epochs=0))[3]  # type: ignore[arg-type]
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
        train_inverses(network, [3], Tones(100, 1), replace(settings, seed=seed))[3]  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.outer.weight, two.outer.weight)
    assert not torch.equal(one.outer.weight, other.outer.weight)


def test_an_inverse_is_measured_beside_its_example_and_the_mean(
    network: Network, inverse: Inverse
) -> None:
    test = Tones(150, 2)  # more than a batch
    (row,) = regress.measure(network, {3: inverse}, test)  # type: ignore[arg-type]
    speakers = torch.from_numpy(test.speakers)
    code = inverse.codes(network.activation(test.all(), 3).flatten(1))
    for name in ("error", "example", "mean"):
        assert row[name].shape == (150,)
    for item in (0, 140):
        apart = torch.cdist(code[item : item + 1], inverse.example_codes)[0]
        apart[inverse.example_speakers == speakers[item]] = torch.inf
        near = inverse.example_waveforms[apart.argmin()][None]
        true, example = (
            log_magnitude(inverse.stft, part).flatten()
            for part in (test.sounds[item : item + 1], near)
        )
        found = inverse(code[item : item + 1], inverse.spectra(example[None]))
        for name, log in (
            ("error", inverse.spectra.points(found)[0]),
            ("example", example),
            ("mean", inverse.spectra.mean),
        ):
            wanted = 8.685889638 * float((true - log).square().mean().sqrt())
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
    assert {row["null"] for row in rows} <= {"its example", "the mean spectrum"}
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
    with pytest.raises(UsageProblem, match="there is one"):
        train_inverses(network, [3], Tones(20, 1, speakers=1), SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(UsageProblem, match="layer 3: no inverse"):
        chains.invert(network, Tones(2, 1).all(), [3], SETTINGS, [0, 1])
    assert regress.stft_for(2554, 16000).frames == 27
