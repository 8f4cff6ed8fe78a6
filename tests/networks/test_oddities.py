"""Every construction of `oddities`: what is answered is what autograd says, or is refused."""

import formulas
import oddities
import pytest
import torch
from explaining import rule
from torch import Tensor

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.foreign import fitted
from speechscope.networks.loading import load
from speechscope.relevance.explain import explained, predicted, relevance_by
from speechscope.relevance.lrp import lrp
from speechscope.stages.relevance import Relevance

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch, of what it has better ways for
CHANGING = ("Streaming", "AlwaysDropping")
NO_RULE = {
    "BiasedHeads": "layer multi_head_attention_forward",
    "Packed": "layer _pack_padded_sequence",
    "ComplexFront": "layer stft",
    "PartlyScripted": "TorchScript",
    "Spectral": "layer fft_rfft",
    "Mapped": "cannot be looked into",
    "Sorted": "layer sort",
}


@pytest.mark.parametrize("name", [name for name in oddities.ODDITIES if name != "Lazy"])
def test_answers_are_those_of_formulas_or_refused(name: str) -> None:
    network = getattr(oddities, name)().eval().requires_grad_(False).double()
    x = torch.randn(3, 1, 1, 800, generator=torch.Generator().manual_seed(0)).double()
    asked = "out.scores" if name == "Nested" else None
    if name in CHANGING:
        with pytest.raises(UsageProblem, match="another answer every time"):
            fitted(network, x, "B,(CF),T", asked)
        return
    found, _ = fitted(network, x, "B,(CF),T", asked)
    of = explained(found, x)
    target = predicted(of.scores(x))

    def scores(x: Tensor) -> Tensor:
        parts = x.chunk(3) if found.taking.alone else [x]
        return torch.cat([network.logits(part[:, 0]) for part in parts])

    gradient = relevance_by("gradient", of, x, target, Relevance(), [0] * 3)
    wanted = formulas.gradient(scores, x, target)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-9)
    layers = [layer for layer in found.names if not (name == "Mapped" and layer == "n")]
    assert not any(v.isnan().any() for v in found.activations(x, layers).values())
    if name in NO_RULE:
        with pytest.raises(SpeechscopeError, match=NO_RULE[name]):
            lrp(of, x, target, rule("epsilon"))
        return
    relevance = relevance_by("lrp", of, x, target, rule("epsilon", epsilon=1e-20), [0] * 3)
    wanted = formulas.handed_down(scores, x, target)
    # A slope that is said to be the other way round is none of what is computed.
    wanted = -wanted if name == "Reversal" else wanted
    torch.testing.assert_close(relevance, wanted, rtol=0, atol=4e-6 * float(wanted.abs().max()))


def test_one_output_is_named_and_layers_have_their_sizes() -> None:
    x = torch.randn(3, 1, 1, 800)
    network = oddities.Nested().eval()
    for asked in (None, "out", "loss", "frames"):
        with pytest.raises(UsageProblem, match=r"out.frames \(3, 8, 47\), out.scores \(3, 5\)"):
            fitted(network, x, "B,(CF),T", asked)
    with pytest.raises(UsageProblem, match="has lazy layers"):
        load("oddities:Lazy")
