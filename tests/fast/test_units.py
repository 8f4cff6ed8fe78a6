import pytest
import torch
from torch import Tensor

from speechscope.fast import units


@pytest.fixture(params=["loops", "operations"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways; other devices have no loops."""
    if request.param == "operations":
        monkeypatch.setattr(units, "compiles", lambda _: False)


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_units_answer_their_sums() -> None:
    sums, bias = values(4, 6), values(6)
    y = sums.clone()
    units.answer(y, bias, 2.0, relu=False)
    torch.testing.assert_close(y, 2 * (sums + bias), rtol=1e-15, atol=0)
    y = sums.clone()
    units.answer(y, bias, 2.0, relu=True)
    torch.testing.assert_close(y, 2 * torch.relu(sums + bias), rtol=1e-15, atol=0)
    assert (y == 0).any() and (y > 0).any()


def test_what_is_not_a_number_stays_so() -> None:
    y = torch.tensor([[float("nan"), -1.0]])
    units.answer(y, torch.zeros(2), 1.0, relu=True)
    assert y[0, 0].isnan() and y[0, 1] == 0
    logits = torch.tensor([[0.0, float("nan")]])
    loss, _ = units.log_loss(logits, torch.tensor([0]), 0.0)
    assert torch.as_tensor(loss).isnan() and logits.isnan().all()


def test_silent_units_hand_nothing_back() -> None:
    y, by_y = values(4, 6).relu_(), values(4, 6) - 0.5
    place = y.clone().requires_grad_()
    (expected,) = torch.autograd.grad((torch.relu(place) * 3.0 * by_y).sum(), place)
    units.silence(by_y, y, 3.0)
    torch.testing.assert_close(by_y, expected, rtol=1e-15, atol=0)
    assert (by_y == 0).any() and (by_y != 0).any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_pytorchs(smoothing: float) -> None:
    logits, classes = 30 * values(8, 5), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    classes[:3] = logits[:3].argmax(1)
    place = logits.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(
        place, classes, label_smoothing=smoothing, reduction="sum"
    )
    (by_logits,) = torch.autograd.grad(expected, place)
    answers = logits.argmax(1)
    loss, right = units.log_loss(logits, classes, smoothing)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-13)
    torch.testing.assert_close(logits, by_logits, rtol=1e-12, atol=1e-15)
    assert right == int((answers == classes).sum()) >= 3
