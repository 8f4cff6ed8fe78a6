"""Equal to Captum and Zennit where they implement the method."""

import peers
import pytest
import torch
from explaining import before, traced, whole
from explaining import rule as settings_of
from peers import error, plain
from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.networks.tracing import table_graph
from speechscope.registry import NETWORKS
from speechscope.relevance.gradient import (
    class_activation,
    gradient_times_input,
    integrated_gradients,
    sensitivity,
)
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.lrp import lrp
from speechscope.relevance.occlusion import occlusion
from speechscope.stages.relevance import Relevance

PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
SHAPES = {"freq-overlap": (1, 201, 16), "logmel": (3, 40, 11), "raw-phone": (1, 1, 4000)}

SMALL: Table = (
    Conv(4, (3, 3), padding="same"),
    BatchNorm(),
    ReLU(),
    MaxPool((3, 2), (2, 2)),
    Conv(5, (3, 1)),
    ReLU(),
    Linear(12),
    ReLU(),
    Linear(None),
)


def network(name: str, dtype: torch.dtype) -> tuple[Network, Tensor, Tensor]:
    torch.manual_seed(0)
    if name == "small":
        made = Network(SMALL, (2, 12, 8), classes=6)
        norm = made.get_submodule("norm1")
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
    else:
        made = Network(NETWORKS[name]().table, SHAPES[name], classes=6)
    for layer in made.names:
        if layer.startswith(("conv", "fc")):
            made.parameters_of(layer)[1].data.normal_(0, 0.1)
    x = torch.randn(3, *made.input_shape, dtype=dtype)
    return made.to(dtype).eval().requires_grad_(False), x, torch.tensor([0, 4, 2])


@pytest.fixture(params=PRECISIONS, ids=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> tuple[torch.dtype, float]:
    found: tuple[torch.dtype, float] = request.param
    return found


NAMES = ["small", *SHAPES]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_captums(name: str, precision: tuple[torch.dtype, float]) -> None:
    from captum.attr import GuidedBackprop, InputXGradient, Saliency

    ours, x, target = network(name, precision[0])
    theirs = plain(ours)
    wanted = Saliency(theirs).attribute(x.clone().requires_grad_(), target, abs=False)
    assert error(sensitivity(whole(ours), x, target), wanted) < precision[1]
    wanted = InputXGradient(theirs).attribute(x.clone().requires_grad_(), target)
    assert error(gradient_times_input(whole(ours), x, target), wanted) < precision[1]
    with pytest.warns(UserWarning, match="hooks"):
        wanted = GuidedBackprop(theirs).attribute(x.clone().requires_grad_(), target)
    found = guided_backpropagation(whole(table_graph(ours)), x, target)
    assert error(found, wanted) < precision[1]
    assert error(found, sensitivity(whole(ours), x, target)) > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha-beta", "zplus", "epsilon-plus"])
def test_relevance_propagation_is_zennits(
    name: str, rule: str, precision: tuple[torch.dtype, float]
) -> None:
    from zennit.composites import LayerMapComposite
    from zennit.rules import AlphaBeta, Epsilon, Gamma, Pass, ZPlus

    ours, x, target = network(name, precision[0])
    # Zennit's own folding leaves ε of the batch normalisation in, an error of 1e-5.
    one, tiny = plain(ours, fold=True), {"stabilizer": 1e-6}
    conv, dense = {
        "epsilon": (Epsilon(1e-6), Epsilon(1e-6)),
        "gamma": (Gamma(0.3, **tiny), Gamma(0.3, **tiny)),
        "alpha-beta": (AlphaBeta(2, 1, **tiny), AlphaBeta(2, 1, **tiny)),
        "zplus": (ZPlus(**tiny), ZPlus(**tiny)),
        "epsilon-plus": (ZPlus(**tiny), Epsilon(1e-6)),
    }[rule]
    layers = [(nn.ReLU, Pass()), (nn.Conv2d, conv), (nn.Linear, dense)]
    theirs = LayerMapComposite(layers)
    found = lrp(whole(table_graph(ours)), x, target, settings_of(rule, epsilon=1e-6))
    assert error(found, peers.zennit(one, x, target, theirs)) < precision[1]


class Unflattened(nn.Module):
    """Captum has no rule for `Flatten`; a reshape outside any layer is passed."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        place = next(n for n, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
        self.maps, self.dense = layers[:place], layers[place + 1 :]

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.dense(self.maps(x).flatten(1))
        return scores


def test_the_epsilon_rule_is_captums(precision: tuple[torch.dtype, float]) -> None:
    from captum.attr import LRP

    ours, x, target = network("logmel", precision[0])
    theirs = LRP(Unflattened(plain(ours))).attribute(x.clone().requires_grad_(), target)
    found = lrp(whole(table_graph(ours)), x, target, settings_of("epsilon", epsilon=1e-9))
    assert error(found, theirs) < max(precision[1], 1e-7)  # Captum stabilises its poolings too


def test_integrated_gradients_occlusion_and_grad_cam_are_captums(
    precision: tuple[torch.dtype, float],
) -> None:
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

    ours, x, target = network("small", precision[0])
    theirs = plain(ours)
    wanted = IntegratedGradients(theirs).attribute(x, 0.0, target, n_steps=7)
    # Captum keeps the weights of its quadrature in single precision.
    found = integrated_gradients(whole(ours), x, target, Relevance(steps=7))
    assert error(found, wanted) < max(precision[1], 1e-7)
    hidden = {"sliding_window_shapes": (2, 4, 3), "strides": (2, 4, 1)}
    wanted = Occlusion(theirs).attribute(x, target=target, **hidden)
    found = occlusion(whole(ours), x, target, Relevance(patch="4x3", stride="4x1"))
    assert error(found, wanted) < max(precision[1], 1e-6)  # Captum: single precision again
    # Of the maps that enter the pooling; ours are stretched to the input after.
    cam = LayerGradCam(theirs, theirs[3]).attribute(x, target, relu_attributions=True)
    wanted = nn.functional.interpolate(cam, (12, 8), mode="bilinear").expand(3, 2, 12, 8)
    graph = table_graph(ours)
    assert error(class_activation(graph, x, target, before(graph, "pool1")), wanted) < precision[1]


def test_attention_is_that_of_lxt() -> None:
    """A block of a transformer in the functions of lxt (Achtibat et al. 2024), and in PyTorch's."""
    theirs = pytest.importorskip("lxt.explicit.functional")
    torch.manual_seed(0)
    w = {name: torch.randn(8, 8).double() / 3 for name in "qkvofg"}
    scale, shift, last = torch.rand(8).double() + 0.5, torch.randn(8).double(), torch.randn(5, 8)

    class Block(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = functional.layer_norm(x, (8,), scale, shift)
            q, k, v = (functional.linear(y, w[name]) for name in "qkv")
            a = torch.softmax(torch.matmul(q, k.transpose(1, 2)) / 8**0.5, -1)
            x = x + functional.linear(torch.matmul(a, v), w["o"])
            y = functional.rms_norm(x, (8,), scale, 1e-6)
            x = x + functional.linear(functional.gelu(functional.linear(y, w["f"])), w["g"])
            return functional.linear(x.mean(1), last.double())

    def by_lxt(x: Tensor) -> Tensor:
        y = theirs.layer_norm_grad_fn.apply(x, scale, shift, 1e-5, 1e-12)
        q, k, v = (theirs.linear_epsilon(y, w[name], None, 1e-12) for name in "qkv")
        products = theirs.matmul(q, k.transpose(1, 2), False, 1e-12)
        a = theirs.softmax(theirs.mul2(products, torch.tensor(8**-0.5)), -1)
        mixed = theirs.linear_epsilon(theirs.matmul(a, v, False, 1e-12), w["o"], None, 1e-12)
        x = theirs.add2(x, mixed, False, 1e-12)
        y = theirs.rms_norm_identity(x, scale, 1e-6)
        y = theirs.linear_epsilon(y, w["f"], None, 1e-12)
        y = theirs.mul2(y, (functional.gelu(y) / y).detach())
        x = theirs.add2(x, theirs.linear_epsilon(y, w["g"], None, 1e-12), False, 1e-12)
        x = theirs.mean(x, 1, False, 1e-12)
        out: Tensor = theirs.linear_epsilon(x, last.double(), None, 1e-12)
        return out

    x, target = torch.randn(2, 6, 8).double(), torch.tensor([3, 1])
    given = x.clone().requires_grad_()
    out = by_lxt(given)
    start = torch.zeros_like(out)
    start[torch.arange(2), target] = out.detach()[torch.arange(2), target]
    (wanted,) = torch.autograd.grad(out, given, start)
    found = lrp(traced(Block(), x), x, target, settings_of("epsilon", epsilon=1e-12))
    assert error(found, wanted) < 1e-6
