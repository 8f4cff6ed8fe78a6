"""A step of training: plain against the formula, and the fast form against the plain one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import oracles
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.fast.training_step import FastStep
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.train import Train
from speechscope.training.step import Step
from speechscope.work.accelerators import Unsupported, fastest

# The shape of freq-overlap; 25 − 4 + 1 = 22 bins, then an odd number, 9 − 3 + 1 = 7.
TABLE: Table = (
    Conv(3, kernel=(4, 6)),
    ReLU(),
    MaxPool((5, 1), stride=(2, 1)),
    Conv(4, kernel=(3, 1)),
    ReLU(),
    MaxPool((5, 1), stride=(2, 1)),
    Linear(12),
    ReLU(),
    Linear(10),
    ReLU(),
    Linear(None),
)


def network(kind: torch.dtype = torch.float64) -> Network:
    made = Network(TABLE, input_shape=(2, 25, 6), classes=5)
    made.reset_parameters(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1)
    return made.to(kind)


def batch(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, 25, 6, generator=rng, dtype=torch.float64)
    return x, torch.randint(5, (count,), generator=rng)


SETTINGS = Train(lr=0.05, dropout=0.5, batch=8)
either = pytest.mark.parametrize("form", [Step, FastStep])


class ZerosStep(Step):
    """As on a GPU: units are left out by multiplying with zeros."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.zeros = self.settings.l2 == 0


@pytest.mark.parametrize("form", [Step, FastStep, ZerosStep])
@pytest.mark.parametrize(("dropout", "l2"), [(0.0, 0.0), (0.5, 0.0), (0.3, 0.01)])
def test_steps_equal_the_formula(form: type[Step], dropout: float, l2: float) -> None:
    trained = network()
    tensors = {name: value.detach().clone() for name, value in trained.named_parameters()}
    sums = {name: torch.zeros_like(value) for name, value in tensors.items()}
    step = form(trained, replace(SETTINGS, l2=l2, dropout=dropout))
    generator = torch.Generator().manual_seed(1)
    for index, count in enumerate((8, 8, 3, 8)):  # a short batch reuses part of the arrays
        x, wanted = batch(count, index)
        loss, _ = step(x.__getitem__, wanted, generator)
        expected = oracles.thinned_step(tensors, x, wanted, step.kept, 0.05, l2, sums)
        # Double precision throughout: only the order of the sums differs.
        assert float(loss) / count == pytest.approx(expected, rel=1e-10)
        for name, value in trained.named_parameters():
            torch.testing.assert_close(value.detach(), tensors[name], rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(step.sums[name][0], sums[name], rtol=1e-8, atol=1e-12)


@either
def test_right_answers_are_counted(form: type[Step]) -> None:
    trained = network()
    x, _ = batch(8, 0)
    with torch.no_grad():
        answers = trained.eval()(x).argmax(1)
    answers[:3] = (answers[:3] + 1) % 5
    step = form(trained, replace(SETTINGS, dropout=0.0, lr=0.0))
    told = [step(x.__getitem__, answers, torch.Generator().manual_seed(0))[1] for _ in range(2)]
    assert int(step.right(told, [answers, answers])) == 10


@either
def test_units_left_out_are_not_updated_and_the_share_is_exact(form: type[Step]) -> None:
    trained = network()
    step = form(trained, replace(SETTINGS, l2=0.01))
    generator = torch.Generator().manual_seed(2)
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    x, wanted = batch(8, 0)
    step(x.__getitem__, wanted, generator)
    first = list(step.kept)
    assert [len(units) for units in first] == [6, 5]
    out = [sorted(set(range(n)) - set(k.tolist())) for n, k in zip((12, 10), first, strict=True)]
    now = dict(trained.named_parameters())
    assert torch.equal(now["fc1.weight"][out[0]], before["fc1.weight"][out[0]])
    assert torch.equal(now["fc2.weight"][out[1]], before["fc2.weight"][out[1]])
    assert torch.equal(now["fc2.weight"][:, out[0]], before["fc2.weight"][:, out[0]])
    assert torch.equal(now["fc3.weight"][:, out[1]], before["fc3.weight"][:, out[1]])
    kept_square = now["fc2.weight"][first[1]][:, first[0]]
    assert (kept_square != before["fc2.weight"][first[1]][:, first[0]]).any()
    step(x.__getitem__, wanted, generator)
    assert any(not torch.equal(a, b) for a, b in zip(first, step.kept, strict=True))


@either
def test_a_network_has_rates_of_its_own(form: type[Step]) -> None:
    x, wanted = batch(8, 0)
    for given, left in ((frozenset(), [12, 2]), (frozenset({"dropout"}), [6, 5])):
        trained = network()
        trained.dropout["fc3"] = 0.8
        step = form(trained, replace(SETTINGS, given=given))
        step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
        assert [len(units) for units in step.kept] == left


@either
def test_what_is_frozen_stays(form: type[Step]) -> None:
    trained = network()
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    frozen = ("conv1.weight", "conv1.bias")
    step = form(trained, SETTINGS, frozen)
    x, wanted = batch(8, 0)
    step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
    same = {name for name, value in trained.named_parameters() if torch.equal(value, before[name])}
    assert same == set(frozen)


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, dropout=0.0, l2=0.01),
        replace(SETTINGS, optimizer="sgd", dropout=0.3, l2=0.01, label_smoothing=0.1),
        replace(SETTINGS, optimizer="adam", lr=1e-3),
    ],
    ids=["adagrad", "whole", "sgd", "adam"],
)
@pytest.mark.parametrize(("kind", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_the_fast_form_equals_the_plain_one(
    settings: Train, kind: torch.dtype, close: float
) -> None:
    plain, fast = network(kind), network(kind)
    steps = Step(plain, settings), FastStep(fast, settings)
    for index, count in enumerate((8, 8, 1, 5, 8, 8)):
        x, wanted = batch(count, index)
        found = [
            step(x.to(kind).__getitem__, wanted, torch.Generator().manual_seed(index))
            for step in steps
        ]
        assert float(found[0][0]) == pytest.approx(float(found[1][0]), rel=close)
        right = [s.right([one[1]], [wanted]) for s, one in zip(steps, found, strict=True)]
        assert int(right[0]) == int(right[1])
    for (name, value), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        # AdaGrad's first steps are signs of derivatives, and those near 0 are rounding.
        torch.testing.assert_close(value, other, rtol=close, atol=close, msg=name)
    torch.testing.assert_close(steps[0].state(), steps[1].state(), rtol=10 * close, atol=close)


def test_the_fast_form_runs_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(fastest(Step)(network(), SETTINGS), FastStep)
    padded: Table = (Conv(2, kernel=(3, 2), padding="same"), *TABLE[1:3], Linear(None))
    strided: Table = (Conv(2, kernel=(4, 6), stride=(2, 1)), *TABLE[1:3], Linear(None))
    for table in (padded, strided):
        other = Network(table, input_shape=(2, 25, 6))
        with pytest.raises(Unsupported):
            FastStep(other, SETTINGS)
        assert type(fastest(Step)(other, SETTINGS)) is Step
    monkeypatch.setenv("SPEECHSCOPE_PLAIN", "1")
    assert type(fastest(Step)(network(), SETTINGS)) is Step


def test_networks_without_fully_connected_layers_are_refused() -> None:
    pooled: Table = (*TABLE[:6], MaxPool((1, 1), stride=(1, 1)))
    with pytest.raises(SpeechscopeError, match="does not end in fully connected"):
        Step(Network(pooled, input_shape=(2, 25, 6)), SETTINGS)
    trained = network()
    trained.dropout["fc1"] = 0.5
    with pytest.raises(SpeechscopeError, match="cannot be left out"):
        Step(trained, SETTINGS)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_one_thread_and_two_give_the_same_weights(threads: None) -> None:
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        trained = network(torch.float32)
        step = FastStep(trained, SETTINGS)
        generator = torch.Generator().manual_seed(0)
        for index in range(5):
            x, wanted = batch(8, index)
            step(x.float().__getitem__, wanted, generator)
        found.append(trained.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@either
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_rule_goes_on_from_its_state(form: type[Step], optimizer: str) -> None:
    settings = replace(SETTINGS, optimizer=optimizer, l2=0.01, dropout=0.3)

    def steps(step: Step, first: int, last: int) -> None:
        for index in range(first, last):
            x, wanted = batch(8, index)
            step(x.__getitem__, wanted, torch.Generator().manual_seed(index))

    whole = network()
    through = form(whole, settings)
    steps(through, 0, 3)
    weights = {name: value.clone() for name, value in whole.state_dict().items()}
    state: dict[str, Any] = through.state()
    steps(through, 3, 6)
    again = network()
    again.load_state_dict(weights)
    resumed = form(again, settings)
    resumed.load(state)
    steps(resumed, 3, 6)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@either
def test_label_smoothing_equals_torch(form: type[Step]) -> None:
    trained, other = network(), network()
    x, wanted = batch(8, 0)
    step = form(trained, replace(SETTINGS, dropout=0.0, label_smoothing=0.2))
    loss, _ = step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adagrad(other.parameters(), lr=0.05)
    expected = functional.cross_entropy(other.eval()(x), wanted, label_smoothing=0.2)
    expected.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert float(loss) / 8 == pytest.approx(float(expected.detach()), rel=1e-10)
    for name, value in other.named_parameters():
        torch.testing.assert_close(trained.get_parameter(name), value, rtol=1e-8, atol=1e-10)
