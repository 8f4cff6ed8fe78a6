"""Activity is moved along what phones differ by, and what is heard of it is held against chance."""

import json
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from speechscope.cli import run
from speechscope.errors import UsageProblem
from speechscope.features import attributes
from speechscope.inversion import chains
from speechscope.inversion.moves import Directions, Move, directions
from speechscope.networks.layers import Linear, Network
from speechscope.scores.heard import Heard
from speechscope.scores.moved import RANDOM, STILL, Steps
from speechscope.scores.statistics import Score
from speechscope.stages.invert import Invert

CLASSES = ("b", "p", "d", "t", "iy", "sil")


class Pool:
    """Inputs that are the waveforms themselves."""

    rate = 8000

    def __init__(self, count: int = 120) -> None:
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 6, count)
        self.labels[self.labels == 5] = 0  # no silence
        self.speakers = np.arange(count) % 4
        loud = rng.uniform(0.01, 0.3, count)
        self.sounds = (rng.normal(size=(count, 480)) * loud[:, None]).astype(np.float32)

    def waveforms(self, places: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.sounds[places])

    def inputs(self, places: NDArray[np.int64]) -> Tensor:
        return self.waveforms(places)[:, None, None]


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network((Linear(7), Linear(3)), (1, 1, 480)).requires_grad_(False).eval()


def test_directions_are_differences_of_means_and_slopes(network: Network) -> None:
    pool = Pool()
    found = directions(network, [1], pool, CLASSES)[1]  # type: ignore[arg-type]
    activity = network.activation(pool.inputs(np.arange(120)), 1).double().numpy()
    means = {name: activity[pool.labels == n].mean(0) for n, name in enumerate(CLASSES[:5])}
    wanted = ((means["b"] - means["p"]) + (means["d"] - means["t"])) / 2
    np.testing.assert_allclose(found.by_name["voicing"], wanted, rtol=1e-4, atol=1e-6)
    place = ((means["b"] - means["d"]) + (means["p"] - means["t"])) / 2
    np.testing.assert_allclose(found.by_name["place"], place, rtol=1e-4, atol=1e-6)
    assert "nasality" not in found.by_name and "frication" not in found.by_name
    level = attributes.loudness(pool.sounds, 8000)
    z = (level - level.mean()) / level.std()
    slope = np.array([np.polyfit(z, activity[:, unit], 1)[0] for unit in range(7)])
    np.testing.assert_allclose(found.by_name["intensity"], slope, rtol=1e-3, atol=1e-5)
    # A random step is the difference of two phones, another for another item, the same again.
    steps = found.of("random", [1, 2, 1])
    assert torch.equal(steps[0], steps[2]) and not torch.equal(steps[0], steps[1])
    apart = (found.phones[:, None] - found.phones[None]).flatten(0, 1)
    assert float((apart - steps[0]).abs().sum(1).min()) < 1e-6 < float(steps[0].abs().sum())


def test_moves_are_read() -> None:
    for text, name, amount in (
        ("voicing", "voicing", 1), ("-voicing", "voicing", -1), ("2F0", "F0", 2),
        ("-0.5height", "height", -0.5), ("random", "random", 1),
    ):  # fmt: skip
        assert Move.parse(text) == Move(name, amount)
    for text in ("voice", "", "1.2.3F0", "F0:2", "2"):
        with pytest.raises(UsageProblem, match="choose from voicing"):
            Move.parse(text)
    with pytest.raises(UsageProblem, match="do not have what leads there"):
        Directions({}, torch.zeros(2, 3)).of("F0", [0])


def test_the_activity_that_is_moved_is_what_is_inverted(network: Network) -> None:
    pool = Pool(8)
    x = pool.inputs(np.arange(8))
    along = Directions({"voicing": torch.arange(7.0)}, torch.randn(4, 7))
    settings = Invert(method=("bp", "bp@-voicing"), optimizer="lbfgs", steps=30, l2=0.0)
    found = chains.invert(network, x, [1], settings, range(8), directions={1: along})
    plain = network.activation(x, 1)
    for row, wanted in enumerate((plain, plain - torch.arange(7.0))):
        reached = network.activation(found.reconstruction[row, 0], 1)
        torch.testing.assert_close(reached, wanted, rtol=0, atol=0.02)
    # And the mismatch is that of what was asked for.
    assert float(found.mismatch.max()) < 0.02


def heard(level: float, voicing: float, seed: int) -> Heard:
    noise = np.random.default_rng(seed).normal(size=(2, 40))
    values = {"intensity": level + noise[0], "voicing": voicing + 0.1 * noise[1]}
    return Heard(np.zeros((40, 3, 30), np.float32), values)


def test_a_step_is_held_against_a_random_one() -> None:
    steps = Steps(CLASSES, np.arange(40) % 4, None)

    def rows(text: str, *sounds: Heard) -> dict[str, Score]:
        found = steps.scores(text, *sounds)
        return {str(score.names["measure"]): score for score in found}

    still, other, there = heard(0, 0, 1), heard(3, 0.1, 2), heard(5, 0.4, 3)
    found = rows("voicing", there, still, other)
    values = found["change of voicing"]
    np.testing.assert_allclose(values.values, there.values["voicing"] - still.values["voicing"])
    gap = other.values["voicing"] - still.values["voicing"]
    np.testing.assert_allclose(values.chance[RANDOM], gap)
    assert (values.chance[STILL] == 0).all() and values.higher
    # What it is not named for is told and not judged.
    assert found["change of intensity"].chance == {}
    assert not rows("-voicing", there, still, other)["change of voicing"].higher


class Ear:
    """Hears what is written on each item's spectrum."""

    def answers(self, mel: NDArray[Any], wanted: dict[str, Any]) -> dict[str, Any]:
        (name,) = wanted
        values = np.array(["plosive", "nasal", "fricative"])
        if name != "manner of the phone":
            values = np.array(["voiceless", "voiced", "-"])
        return {name: (wanted[name], values[mel[:, 0, 0].astype(int)])}


def test_phones_at_one_end_of_a_step_are_to_be_heard_as_at_the_other() -> None:
    classes = ("b", "p", "m", "iy")
    labels = np.arange(40) % 4
    steps = Steps(classes, labels, Ear())  # type: ignore[arg-type]

    def sounds(first: int) -> Heard:
        mel = np.zeros((40, 3, 30), np.float32)
        mel[:first] = 1
        return Heard(mel, {})

    for text, measure, mine in (
        ("nasality", "plosive heard as nasal", labels < 2),
        ("voicing", "voiceless heard as voiced", labels == 1),
        ("-voicing", "voiced heard as voiceless", labels != 1),
    ):
        (found,) = steps.scores(text, sounds(30), sounds(10), sounds(20))
        assert found.names["measure"] == measure
        np.testing.assert_array_equal(np.isfinite(found.values), mine)
        there = (np.arange(40) < 30) == (text[0] != "-")
        np.testing.assert_array_equal(found.values[mine], there[mine])
        other = (np.arange(40) < 20) == (text[0] != "-")
        np.testing.assert_array_equal(found.chance[RANDOM][mine], other[mine])


def test_steps_are_written_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.timit(tmp_path / "timit", speakers=4, sentences=4)
    assert run(["prepare", "timit", "-q"]) == 0
    assert run(["train", "--epochs", "1", "--per-class", "3", "-q"]) == 0
    few = ["--layer", "pool3,12", "--per-class", "6", "-q"]
    assert run(["invert", "model.pt", "--method", "nearest@-intensity", *few]) == 0
    opened = xarray.open_zarr("inversion.zarr")
    methods = opened.technique.values.tolist()
    assert methods == ["nearest", "nearest@-intensity", "nearest@random"]
    names = opened.direction.values.tolist()
    assert "intensity" in names and opened.direction_fc2.shape == (len(names), 1000)
    capsys.readouterr()
    assert run(["score", "inversion.zarr", "--json"]) == 0
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in json.loads(capsys.readouterr().out):
        found.setdefault((row["method"], row["layer"]), {})[row["measure"]] = row
    assert set(found) == {(m, n) for m in ("nearest", "nearest@-intensity") for n in (9, 12)}
    change = found["nearest@-intensity", 12]["change of intensity"]
    assert change["null"] in (STILL, RANDOM) and change["value"] < 0
    assert found["nearest@-intensity", 12]["change of duration"]["verdict"] is None
    assert run(["invert", "model.pt", "--method", "nearest@loud", *few, "-f"]) == 2
    assert "choose from voicing" in capsys.readouterr().err
