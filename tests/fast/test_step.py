import oracles
import pytest
import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.fast import step as step_module
from speechscope.fast import trunk
from speechscope.fast.step import Step
from speechscope.fast.thinning import ThinnedLayers
from speechscope.fast.trunk import Trunk
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.training.optimizers import AdaGrad, Adam, Nesterov, Rule
from speechscope.work.accelerators import Unsupported

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


@pytest.mark.parametrize("by_layers", [False, True])
@pytest.mark.parametrize(("dropout", "l2"), [(0.0, 0.0), (0.5, 0.0), (0.3, 0.01)])
def test_steps_equal_the_formula(
    dropout: float, l2: float, by_layers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_layers:

        def refuse(*_: object) -> None:
            raise Unsupported

        monkeypatch.setattr(step_module, "Trunk", refuse)
    trained = network()
    tensors = {name: value.detach().clone() for name, value in trained.named_parameters()}
    sums = {name: torch.zeros_like(value) for name, value in tensors.items()}
    step = Step(trained, AdaGrad(0.05), l2=l2, dropout=dropout, batch=8)
    generator = torch.Generator().manual_seed(1)
    for index, count in enumerate((8, 8, 3, 8)):  # a short batch reuses part of the arrays
        x, wanted = batch(count, index)
        loss, _ = step(x.__getitem__, wanted, generator)
        expected = oracles.thinned_step(tensors, x, wanted, step.kept, 0.05, l2, sums)
        # Double precision throughout: only the order of the sums differs.
        assert float(loss) == pytest.approx(expected, rel=1e-10)
        for name, value in trained.named_parameters():
            torch.testing.assert_close(value.detach(), tensors[name], rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(step.sums[name][0], sums[name], rtol=1e-8, atol=1e-12)


def test_right_answers_are_counted() -> None:
    trained = network()
    x, _ = batch(8, 0)
    with torch.no_grad():
        answers = trained.eval()(x).argmax(1)
    answers[:3] = (answers[:3] + 1) % 5
    _, right = Step(trained, AdaGrad(0.05), l2=0.0, dropout=0.0, batch=8)(
        x.__getitem__, answers, torch.Generator().manual_seed(0)
    )
    assert int(right) == 5


def test_units_left_out_are_not_updated_and_the_share_is_exact() -> None:
    trained = network()
    step = Step(trained, AdaGrad(0.05), l2=0.0, dropout=0.5, batch=8)
    generator = torch.Generator().manual_seed(2)
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    x, wanted = batch(8, 0)
    step(x.__getitem__, wanted, generator)
    first = step.kept
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


def test_layers_have_rates_of_their_own() -> None:
    step = Step(network(), AdaGrad(0.05), l2=0.0, dropout={"fc3": 0.8}, batch=8)
    x, wanted = batch(8, 0)
    step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
    assert [len(units) for units in step.kept] == [12, 2]


def test_single_precision_agrees_to_rounding() -> None:
    single, double = network(torch.float32), network()
    losses = []
    for trained in (single, double):
        x, wanted = batch(8, 0)
        x = x.to(next(trained.parameters()).dtype)
        step = Step(trained, AdaGrad(0.05), l2=0.0, dropout=0.5, batch=8)
        loss, _ = step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
        losses.append(float(loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_networks_without_the_form_are_refused() -> None:
    padded: Table = (Conv(2, kernel=(3, 2), padding="same"), *TABLE[1:3], Linear(None))
    with pytest.raises(Unsupported):
        Trunk(Network(padded, input_shape=(1, 25, 6)), 4)
    strided: Table = (Conv(2, kernel=(4, 6), stride=(2, 1)), *TABLE[1:3], Linear(None))
    with pytest.raises(Unsupported):
        Trunk(Network(strided, input_shape=(2, 25, 6)), 4)
    pooled: Table = (*TABLE[:6], MaxPool((1, 1), stride=(1, 1)))
    with pytest.raises(SpeechscopeError, match="does not end in fully connected"):
        ThinnedLayers(Network(pooled, input_shape=(2, 25, 6)), {}, 4, AdaGrad(0.1))
    with pytest.raises(SpeechscopeError, match="cannot be left out"):
        ThinnedLayers(network(), {"fc1": 0.5}, 4, AdaGrad(0.1))


def test_one_thread_and_two_give_the_same_weights() -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            trained = network(torch.float32)
            step = Step(trained, AdaGrad(0.05), l2=0.0, dropout=0.5, batch=8)
            generator = torch.Generator().manual_seed(0)
            for index in range(5):
                x, wanted = batch(8, index)
                step(x.float().__getitem__, wanted, generator)
            found.append(trained.state_dict())
    finally:
        torch.set_num_threads(before)
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_windows_in_parts_give_the_same_units(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, (x, _) = network(), batch(8, 0)
    whole, parts = (torch.empty(8, 8, dtype=torch.float64) for _ in range(2))
    Trunk(trained, 8).forward(x, whole)
    monkeypatch.setattr(trunk, "WINDOWS", 3 * 11 * 5 * 12)  # three items of the first layer
    Trunk(trained, 8).forward(x, parts)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", [Nesterov(0.05, 0.9), Adam(0.01)])
def test_every_rule_goes_on_from_its_state(rule: Rule) -> None:
    def steps(step: Step, first: int, last: int) -> None:
        for index in range(first, last):
            x, wanted = batch(8, index)
            step(x.__getitem__, wanted, torch.Generator().manual_seed(index))

    whole = network()
    through = Step(whole, rule, l2=0.01, dropout=0.3, batch=8)
    steps(through, 0, 3)
    weights = {name: value.clone() for name, value in whole.state_dict().items()}
    state = through.state()
    steps(through, 3, 6)
    again = network()
    again.load_state_dict(weights)
    resumed = Step(again, rule, l2=0.01, dropout=0.3, batch=8)
    resumed.load(state)
    steps(resumed, 3, 6)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_label_smoothing_equals_torch() -> None:
    trained, other = network(), network()
    x, wanted = batch(8, 0)
    step = Step(trained, AdaGrad(0.05), l2=0.0, dropout=0.0, batch=8, smoothing=0.2)
    loss, _ = step(x.__getitem__, wanted, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adagrad(other.parameters(), lr=0.05)
    expected = torch.nn.functional.cross_entropy(other.eval()(x), wanted, label_smoothing=0.2)
    expected.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-10)
    for name, value in other.named_parameters():
        torch.testing.assert_close(trained.get_parameter(name), value, rtol=1e-8, atol=1e-10)
