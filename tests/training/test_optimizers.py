import pytest
import torch

from speechscope.training.optimizers import AdaGrad, Adam, Nesterov, Rule

PEERS = [
    (AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1)),
    (
        Nesterov(0.05, 0.9),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    (Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
]


@pytest.mark.parametrize(("rule", "peer"), PEERS, ids=lambda v: type(v).__name__)
def test_rules_equal_those_of_torch(rule: Rule, peer) -> None:  # type: ignore[no-untyped-def]
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=rng, dtype=torch.float64)
    other = torch.nn.Parameter(weight.clone())
    optimizer = peer([other])
    sums = [torch.zeros_like(weight) for _ in rule.sums]
    for step in range(1, 6):
        grad = torch.randn(5, 7, generator=rng, dtype=torch.float64)
        other.grad = grad.clone()
        optimizer.step()
        rule(weight, grad, sums, step)
        torch.testing.assert_close(weight, other.detach(), rtol=1e-10, atol=1e-12)


def test_the_plain_form_of_adagrad_equals_the_fused_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(torch.Tensor):
        """A tensor that says it is not on the CPU."""

        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("meta")

    grad = torch.tensor([0.5, -2.0, 0.0])
    found = []
    for kind in (torch.Tensor, Elsewhere):
        weight, total = torch.ones(3), torch.full((3,), 0.25)
        rule = AdaGrad(0.1)
        rule(weight.as_subclass(kind), grad.clone(), [total], 1)
        found.append((weight, total))
    # By hand: G = 0.25 + 0.25 = 0.5, w = 1 − 0.1 · 0.5 / √0.5.
    assert float(found[1][0][0]) == pytest.approx(1 - 0.05 / 0.5**0.5)
    torch.testing.assert_close(found[0], found[1])
