"""Relevance propagation on networks small enough to follow by hand, and where others go wrong."""

import copy
from itertools import pairwise

import numpy as np
import oracles
import pytest
import torch
from explaining import rule, traced
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.graph import Untreatable
from speechscope.networks.tracing import module_graph
from speechscope.registry import RULES
from speechscope.relevance.explain import explained
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.lrp import folded, lrp, lrp_with_sums
from speechscope.relevance.rules import composite

# αβ with β > 0 does so only where every unit has contributions of both signs.
CONSERVING = ["epsilon", "gamma", "zplus", "epsilon-plus", "epsilon-gamma"]


def relevance(model: nn.Module, x: Tensor, name: str = "epsilon", target: int = 0) -> Tensor:
    return lrp(traced(model, x), x, torch.full((len(x),), target), rule(name))


def dense(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    layer.bias.data = torch.tensor(bias, dtype=torch.float64)
    return layer


@pytest.mark.parametrize(("alpha", "wanted"), [(1.0, (-1.0, 0.0)), (2.0, (-2.0, 0.5))])
def test_a_negative_bias_takes_its_share_of_the_negative_part(
    alpha: float, wanted: tuple[float, float]
) -> None:
    # z = 1 − 1 − 1 = −1 is handed down: α of it to what raised it, −β to the share of what did not.
    model = nn.Sequential(dense([[1, -1]], [-1]))
    found = lrp(
        traced(model, torch.ones(1, 2).double()),
        torch.ones(1, 2).double(),
        torch.tensor([0]),
        rule("alpha-beta", alpha=alpha, epsilon=1e-15),
    )
    torch.testing.assert_close(found, torch.tensor([wanted]).double())


def test_two_layers_by_hand() -> None:
    # h = relu(1·2 − 1·1, 3·1 + 1) = (1, 4); S = 2 · 1 − 1 · 4 + 1 = −1.
    model = nn.Sequential(dense([[1, -1], [0, 3]], [0, 1]), nn.ReLU(), dense([[2, -1]], [1]))
    x = torch.tensor([[2.0, 1.0]]).double()
    # ε: R_h = (2, −4); unit 1 gives (2, −1) × 2 / 1, unit 2 gives 3 × −4 / 4 to the second input.
    torch.testing.assert_close(relevance(model, x), torch.tensor([[4.0, -2.0 - 3.0]]).double())
    # z⁺: S⁺ = 2 + 1, R_h1 = 2 / 3 × −1; unit 1's only positive contribution is the first input's.
    found = relevance(model, x, "zplus")
    torch.testing.assert_close(found, torch.tensor([[-2 / 3, 0.0]]).double())


@pytest.mark.parametrize("name", CONSERVING)
def test_without_bias_every_layer_holds_the_score(name: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv1d(1, 4, 5, padding=2, bias=False),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(4, 3, 3, bias=False),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(9, 4, bias=False),
    ).double()
    x, target = torch.randn(5, 1, 16).double(), torch.tensor([0, 1, 2, 3, 0])
    found, layers = lrp_with_sums(traced(model, x), x, target, rule(name))
    scores = model(x).gather(1, target[:, None])[:, 0].detach()
    assert list(layers) == ["0", "3", "5", "7"]
    for held in (*layers.values(), found.flatten(1).sum(1)):
        torch.testing.assert_close(held, scores, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("order", ["after", "before", "between"])
def test_conservation_is_reported_by_layer_with_batch_normalisation(order: str) -> None:
    torch.manual_seed(5)
    norm = nn.BatchNorm1d(3)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_var.uniform_(0.3, 3)
    nn.init.uniform_(norm.weight, 0.5, 2)
    convolutions = (nn.Conv1d(2, 3, 3, bias=False), nn.Conv1d(3, 3, 3, bias=False))
    first, second = convolutions
    layers: dict[str, list[nn.Module]] = {
        "after": [first, nn.ReLU(), second, norm],
        "before": [first, nn.ReLU(), norm, second],
        "between": [first, norm, nn.ReLU(), second],
    }
    last = nn.Linear(3 * 6, 4)
    model = nn.Sequential(*layers[order], nn.ReLU(), nn.Flatten(), last).double().eval()
    x, target = torch.randn(4, 2, 10).double(), torch.tensor([0, 1, 2, 3])
    scores = model(x).gather(1, target[:, None])[:, 0].detach()
    sums = lrp_with_sums(traced(model, x), x, target, rule("epsilon"))[1]
    # The only bias is the last layer's; what enters the layers below holds the rest.
    assert len(sums) == 3
    for held in sums.values():
        torch.testing.assert_close(held, scores - last.bias.detach()[target], rtol=1e-6, atol=1e-8)
    # With a shift, what is folded takes its share, and the sums say between which layers.
    norm.running_mean.normal_()
    sums = lrp_with_sums(traced(model, x), x, target, rule("epsilon"))[1]
    deepest = list(sums)[-1]
    scores = model(x).gather(1, target[:, None])[:, 0].detach()
    torch.testing.assert_close(sums[deepest], scores - last.bias.detach()[target])
    assert not torch.allclose(sums["0"], sums[deepest], rtol=1e-3)


def test_krugs_rule_is_the_slow_formula() -> None:
    rng = np.random.default_rng(0)
    sizes = [6, 5, 4, 3]
    layers = [
        (rng.normal(size=(b, a)), rng.normal(size=b), rng.normal(size=b), rng.normal(size=b))
        for a, b in pairwise(sizes)
    ]
    modules: list[nn.Module] = []
    for weight, bias, factor, shift in layers:
        norm = nn.BatchNorm1d(len(bias), eps=0.0).double()
        norm.weight.data, norm.bias.data = torch.tensor(factor), torch.tensor(shift)
        modules += [dense(weight.tolist(), bias.tolist()), norm, nn.ReLU()]
    model = nn.Sequential(*modules[:-1])
    x = rng.normal(size=(4, 6))
    scores = model.eval()(torch.tensor(x))
    # The factor sgn(bn(z)) shows in scores below 0 alone: hidden units below 0 hand nothing down.
    assert (scores > 0).any() and (scores < 0).any()
    for target in range(3):
        found = relevance(model, torch.tensor(x), "krug", target=target).numpy()
        for item, row in enumerate(x):
            wanted = oracles.krug_dense(row, layers, target, 1e-21)
            np.testing.assert_allclose(found[item], wanted, rtol=1e-10)
        np.testing.assert_allclose(np.abs(found).max(1), 1.0)


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("order", ["after", "before", "between"])
@pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha-beta"])
def test_batch_normalisation_is_folded_whatever_the_order(
    order: str, padding: int, name: str
) -> None:
    torch.manual_seed(2)
    norm = nn.BatchNorm1d(3)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    first, second = nn.Conv1d(2, 3, 3), nn.Conv1d(3, 3, 5, padding=padding)
    orders: dict[str, list[nn.Module]] = {
        "after": [first, nn.ReLU(), second, norm, nn.ReLU()],
        "before": [first, nn.ReLU(), norm, second, nn.ReLU()],
        "between": [first, norm, nn.ReLU(), second, nn.ReLU()],
    }
    model = nn.Sequential(*orders[order], nn.Flatten(), nn.LazyLinear(4)).double().eval()
    x = torch.randn(3, 2, 12).double()
    model(x)
    found = relevance(model, x, name)
    # The same network with the normalisation written into weights and biases by hand, the places
    # of a padded convolution having biases of their own.
    weight, bias = _written_out(second if order != "between" else first, norm, order, padding)
    graph = module_graph(model, x)
    assert not [s for s in folded(graph).steps if s.part == "norm"]
    layer = next(s for s in folded(graph).steps if s.name == ("2", "3", "0")[_place(order)])
    assert layer.map is not None and layer.map.weight is not None
    torch.testing.assert_close(layer.map.weight, weight)
    place = torch.zeros(1, *(3 if order != "between" else 2, 10 if order != "between" else 12))
    at = layer.map.bias_at(place.double())
    assert at is not None
    torch.testing.assert_close(at.expand_as(bias), bias)
    torch.testing.assert_close(folded(graph)(x), model(x))
    assert torch.isfinite(found).all()


def _place(order: str) -> int:
    return ["after", "before", "between"].index(order)


def _written_out(
    conv: nn.Conv1d, norm: nn.BatchNorm1d, order: str, padding: int
) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None and conv.bias is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * factor
    if order == "before":
        x = torch.zeros(1, 3, 10).double()
        bias = conv(norm(x))  # what a silent input gives: all that is not proportional to it
        return (conv.weight * factor[:, None]).detach(), bias.detach()
    length = 1
    bias = (conv.bias * factor + shift)[None, :, None].expand(1, -1, length)
    return (conv.weight * factor[:, None, None]).detach(), bias.detach()


def with_statistics(channels: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(channels).double()
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def affine(norm: nn.BatchNorm1d) -> tuple[oracles.Array, oracles.Array]:
    held = {name: value.numpy() for name, value in norm.state_dict().items()}
    factor = held["weight"] / np.sqrt(held["running_var"] + norm.eps)
    return factor, held["bias"] - held["running_mean"] * factor


@pytest.mark.parametrize(("name", "alpha"), [("epsilon", None), ("zplus", 1), ("alpha-beta", 2)])
@pytest.mark.parametrize(
    "order", ["conv norm relu", "conv relu norm", "dense norm relu", "dense relu norm"]
)
def test_batch_normalisation_before_a_dense_layer(
    order: str, name: str, alpha: float | None
) -> None:
    torch.manual_seed(9)
    shape, units, places = ((6,), 5, 1) if order.startswith("dense") else ((2, 7), 5, 5)
    first: nn.Module = nn.Linear(6, 5) if places == 1 else nn.Conv1d(2, 5, 3)
    norm, last = with_statistics(units), nn.Linear(units * places, 3).double()
    between = [norm, nn.ReLU()] if order.endswith("relu") else [nn.ReLU(), norm]
    model = nn.Sequential(first, *between, nn.Flatten(), last).double().eval()
    x = torch.randn(4, *shape).double()
    (below, shift), (above, offset) = (
        [parameter.detach().numpy() for parameter in m.parameters()] for m in (first, last)
    )
    if places > 1:
        below, shift = oracles.convolution_as_dense(below, shift, 7)
    a, c = (np.repeat(part, places) for part in affine(norm))
    if order.endswith("relu"):
        layers = [(a[:, None] * below, a * shift + c), (above, offset)]
    else:
        layers = [(below, shift), (above * a, above @ c + offset)]
    target = torch.tensor([0, 1, 2, 0])
    found, sums = lrp_with_sums(traced(model, x), x, target, rule(name))
    assert list(sums) == ["0", "4"]
    for item, row in enumerate(x.numpy()):
        wanted = oracles.lrp_dense(row.reshape(-1), layers, int(target[item]), alpha)
        np.testing.assert_allclose(found[item].flatten(), wanted[0], rtol=1e-8, atol=1e-10)
        held = [sums[layer][item] for layer in sums]
        np.testing.assert_allclose(held, [part.sum() for part in wanted], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("features", [5, 6])
def test_normalisation_of_other_axes_than_a_dense_layers_stays(features: int) -> None:
    # A dense layer works on the last axis of (B, C, F), the normalisation on C: of equal sizes,
    # they are not to be taken for one another.
    model = nn.Sequential(
        *(nn.Linear(7, features), with_statistics(5), nn.ReLU(), with_statistics(5)),
        *(nn.Linear(features, 4), nn.Flatten(), nn.Linear(20, 3)),
    )
    x = torch.randn(2, 5, 7).double()
    graph = module_graph(model.double().eval(), x)
    torch.testing.assert_close(folded(graph)(x), model(x))
    scaled = module_graph(Scaled().double().eval(), x)
    torch.testing.assert_close(folded(scaled)(x), Scaled.again(x))


class Scaled(nn.Module):
    """A convolution whose frames, not channels, are scaled; there are as many of them."""

    weight = torch.linspace(-1, 1, 5 * 5 * 3).double().view(5, 5, 3)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 5, 3)
        self.conv.weight.data = self.weight
        assert self.conv.bias is not None
        self.conv.bias.data = self.weight[0, :, 0]
        self.window = nn.Parameter(torch.arange(1.0, 6.0).double())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.conv(x) * self.window * 0.5).flatten(1)
        return out

    @classmethod
    def again(cls, x: Tensor) -> Tensor:
        z: Tensor = functional.conv1d(x, cls.weight, cls.weight[0, :, 0])
        return (z * torch.arange(1.0, 6.0).double() / 2).flatten(1)


class Reused(nn.Module):
    """One ReLU and one pooling, each used twice, the ReLU in place."""

    def __init__(self, *, functional_relu: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 4, 3), nn.Conv1d(4, 4, 3)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool1d(2)
        self.last = nn.Linear(4 * 3, 3)
        self.functional_relu = functional_relu

    def forward(self, x: Tensor) -> Tensor:
        relu = functional.relu if self.functional_relu else self.relu
        x = self.pool(relu(self.first(x)))
        x = self.pool(relu(self.second(x)))
        scores: Tensor = self.last(x.flatten(1))
        return scores


def separate(model: Reused) -> nn.Sequential:
    return nn.Sequential(
        *(model.first, nn.ReLU(), nn.MaxPool1d(2), model.second, nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Flatten(), model.last),
    )


@pytest.mark.parametrize("functional_relu", [False, True])
def test_layers_used_twice_in_place_and_functional_are_treated(functional_relu: bool) -> None:
    torch.manual_seed(3)
    model = Reused(functional_relu=functional_relu).double().eval()
    x, target = torch.randn(2, 1, 18).double(), torch.tensor([0, 0])
    other = separate(model)
    for name in RULES.names():
        torch.testing.assert_close(relevance(model, x, name), relevance(other, x, name))
    found = guided_backpropagation(traced(model, x), x, target)
    torch.testing.assert_close(found, guided_backpropagation(traced(other, x), x, target))
    # And it is the rule of every ReLU, not of the first alone.
    z1 = model.first(x)
    h1, at1 = functional.max_pool1d(functional.relu(z1), 2, return_indices=True)
    z2 = model.second(h1)
    h2, at2 = functional.max_pool1d(functional.relu(z2), 2, return_indices=True)
    g = (model.last.weight[0].view(1, 4, 3)).expand_as(h2)
    g = functional.max_unpool1d(g.contiguous(), at2, [2], output_size=z2.shape[2:])
    g = functional.conv_transpose1d(g.clamp(min=0) * (z2 > 0), model.second.weight)
    g = functional.max_unpool1d(g, at1, [2], output_size=z1.shape[2:])
    g = functional.conv_transpose1d(g.clamp(min=0) * (z1 > 0), model.first.weight)
    torch.testing.assert_close(found, g.detach())


def test_the_model_is_left_unchanged() -> None:
    model = Reused().double().eval()
    x = torch.randn(2, 1, 18).double()
    before, state = list(model.__dict__), copy.deepcopy(model.state_dict())
    given = x.clone()
    relevance(model, x, "alpha-beta")
    assert list(model.__dict__) == before
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(not m._forward_hooks and not m._backward_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, given)


@pytest.mark.parametrize("name", ["gamma", "alpha-beta", "zplus"])
def test_a_grouped_convolution_is_two_side_by_side(name: str) -> None:
    torch.manual_seed(4)
    both = nn.Conv1d(4, 6, 3, groups=2).double()
    assert both.bias is not None
    whole = nn.Conv1d(4, 6, 3).double()
    whole.weight.data.zero_()
    whole.weight.data[:3, :2], whole.weight.data[3:, 2:] = both.weight[:3], both.weight[3:]
    assert whole.bias is not None
    whole.bias.data = both.bias.data
    last = nn.Linear(6 * 5, 2).double()
    x = torch.randn(3, 4, 7).double()
    found, wanted = (
        relevance(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), last), x, name)
        for conv in (both, whole)
    )
    torch.testing.assert_close(found, wanted)


def test_a_sum_is_shared_in_proportion() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = dense([[0, 1], [2, 0]], [0, 0]), dense([[1, 1]], [0])

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.last(x + self.inner(x))
            return scores

    found = relevance(Residual(), torch.tensor([[1.0, 2.0]]).double())
    torch.testing.assert_close(found, torch.tensor([[3.0, 4.0]]).double())


def test_what_cannot_be_treated_is_named() -> None:
    x = torch.randn(2, 4)
    gelu = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2))
    with pytest.raises(Untreatable, match=r"layer 1 \(GELU\)"):
        _guided(gelu, x)
    softplus = nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 2))
    with pytest.raises(Untreatable, match=r"layer 1 \(Softplus\): no rule"):
        relevance(softplus, x)
    with pytest.raises(Untreatable, match=r"layer 1 \(Tanh\): guided backpropagation is defined"):
        _guided(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), x)

    class Gelu(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.gelu(x)

    with pytest.raises(Untreatable, match=r"layer gelu \(the function gelu"):
        _guided(Gelu(), x)

    class Overwrites(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = 2 * x
            functional.relu_(z[:, :2])  # a part of z, which is no longer what it was
            return z

    with pytest.raises(SpeechscopeError, match="a part of what works in place used again"):
        module_graph(Overwrites(), x)
    with pytest.raises(UsageProblem, match="rules best: choose from epsilon"):
        composite(rule("best"))
    with pytest.raises(UsageProblem, match=r"alpha 0\.5"):
        composite(rule("alpha-beta", alpha=0.5))


def _guided(model: nn.Module, x: Tensor) -> Tensor:
    return guided_backpropagation(traced(model, x), x, torch.zeros(len(x), dtype=torch.long))


def test_softmax_at_the_end_is_left_out() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).eval()
    x = torch.randn(2, 4)
    torch.testing.assert_close(module_graph(model, x)(x), model[0](x))


class Arithmetic(nn.Module):
    """Constants added, taken away, multiplied and divided by, then a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = dense([[0, 1], [2, 0]], [0, 0]), dense([[1, 1]], [0])

    def forward(self, x: Tensor) -> Tensor:
        x = ((x - 3) * 4 + 2) / 5
        scores: Tensor = self.last(x + self.inner(x))
        return scores


def test_constants_are_shifts_and_factors() -> None:
    model, x = Arithmetic().eval(), torch.tensor([[4.0, 6.0]]).double()
    graph = module_graph(model, x)
    assert all(step.kind in ("linear", "sum") for step in graph.steps)
    torch.testing.assert_close(graph(x), model(x))
    # z = 4 / 5 x − 2: 1.2 and 2.8, the score 3 z₁ + 2 z₂; x has 16 / 6 and 24 / 14 of its z.
    wanted = torch.tensor([[3 * 3.2, 2 * 4.8]]).double()
    torch.testing.assert_close(relevance(model, x), wanted)


def test_what_goes_around_a_layer_is_told() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            total: Tensor = x + self.second(self.first(x))
            return total

    x = torch.randn(3, 2)
    graph = module_graph(Residual().eval(), x)
    with pytest.raises(UsageProblem, match="layer second: other connections go around it"):
        graph.split("second")
    before, after = graph.split("first")
    torch.testing.assert_close(after(before(x)), graph(x))


@pytest.mark.parametrize(("value", "mode"), [(1.0, "constant"), (None, "reflect")])
def test_padding_with_other_than_zeros_is_refused(value: float | None, mode: str) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.last(functional.pad(x, (1, 1), mode=mode, value=value)[:, 0])
            return scores

    x = torch.randn(2, 1, 4)
    if mode == "constant":
        with pytest.raises(Untreatable, match=r"the function pad"):
            relevance(Padded(), x)
    else:  # copies of values have their relevance
        assert torch.isfinite(relevance(Padded(), x)).all()


class Judged(nn.Module):
    """A network whose values decide, or are held: its steps hold for the inputs they are of."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.way, self.first, self.last = way, nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, 3)."""
        z = self.first(x.flatten(1)).relu()
        if self.way == "decided":
            z = 2 * z if bool(z.sum() > 8) else z
        if self.way == "held":
            z = z * (1 + (z.detach() > 3))
        if self.way == "out of sight":
            z = z * float(z.detach().numpy().max())
        scores: Tensor = self.last(z)
        return scores


@pytest.mark.parametrize("way", ["", "decided", "held", "out of sight"])
def test_steps_are_read_once_unless_values_decide(way: str) -> None:
    network, settings = Judged(way).eval(), rule("epsilon")
    x = torch.rand(3, 4, 1, 1, 12, generator=torch.Generator().manual_seed(0))
    x *= torch.tensor([1.0, 9.0, 0.1]).view(3, 1, 1, 1, 1)
    target = torch.arange(4) % 3
    of, count = explained(network, x[0]), list[int]()
    lrp(of, x[0], target, settings)
    network.register_forward_hook(lambda *_: count.append(1))
    for batch in x[1:]:
        count.clear()
        found = lrp(of, batch, target, settings)
        assert bool(count) == bool(way)
        torch.testing.assert_close(found, lrp(traced(network, batch), batch, target, settings))
    count.clear()
    lrp(of, x[0, :2], target[:2], settings)
    assert count  # other steps may be taken for other shapes
