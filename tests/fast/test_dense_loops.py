import numpy as np
import pytest
import torch
from torch import Tensor

from speechscope.fast import dense_loops
from speechscope.training.optimizers import AdaGrad, Adam, Nesterov, Rule

ROWS, COLUMNS = torch.tensor([1, 4]), torch.tensor([0, 2, 5])


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_units_answer_their_sums() -> None:
    sums, bias = values(4, 6), values(6)
    y = sums.clone()
    dense_loops.answer(y.numpy(), bias.numpy(), 2.0, False)
    torch.testing.assert_close(y, 2 * (sums + bias), rtol=1e-15, atol=0)
    y = sums.clone()
    dense_loops.answer(y.numpy(), bias.numpy(), 2.0, True)
    torch.testing.assert_close(y, 2 * torch.relu(sums + bias), rtol=1e-15, atol=0)
    assert (y == 0).any() and (y > 0).any()


def test_what_is_not_a_number_stays_so() -> None:
    y = torch.tensor([[float("nan"), -1.0]])
    dense_loops.answer(y.numpy(), np.zeros(2, np.float32), 1.0, True)
    assert y[0, 0].isnan() and y[0, 1] == 0
    logits = torch.tensor([[0.0, float("nan")]])
    loss, _ = dense_loops.log_loss(logits.numpy(), np.array([0]), 0.0)
    assert np.isnan(loss) and logits.isnan().all()


def test_silent_units_hand_nothing_back() -> None:
    y, by_y = values(4, 6).relu_(), values(4, 6) - 0.5
    place = y.clone().requires_grad_()
    (expected,) = torch.autograd.grad((torch.relu(place) * 3.0 * by_y).sum(), place)
    dense_loops.silence(by_y.numpy(), y.numpy(), 3.0)
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
    loss, right = dense_loops.log_loss(logits.numpy(), classes.numpy(), smoothing)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-13)
    torch.testing.assert_close(logits, by_logits, rtol=1e-12, atol=1e-15)
    assert right == int((answers == classes).sum()) >= 3


@pytest.mark.parametrize("rule", [AdaGrad(0.1), Nesterov(0.05, 0.9), Adam(0.01)])
def test_an_update_of_a_part_is_that_of_the_part_alone(rule: Rule) -> None:
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 7, generator=rng, dtype=torch.float64)
    sums = [torch.rand(6, 7, generator=rng, dtype=torch.float64) for _ in rule.sums]
    grad = torch.randn(2, 3, generator=rng, dtype=torch.float64)
    expected = [whole.clone() for whole in (weight, *sums)]
    place = ROWS[:, None], COLUMNS
    parts = [whole[place].clone() for whole in expected]
    rule(parts[0], grad.clone(), parts[1:], 3)
    for whole, part in zip(expected, parts, strict=True):
        whole[place] = part
    dense_loops.update(rule, weight, sums, ROWS, COLUMNS, grad, 3)
    for found, wanted in zip((weight, *sums), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def test_what_is_put_is_what_is_taken() -> None:
    whole = torch.arange(42.0).view(6, 7)
    part = torch.empty(2, 3)
    dense_loops.take(whole.numpy(), ROWS.numpy(), COLUMNS.numpy(), part.numpy())
    assert part.tolist() == [[7, 9, 12], [28, 30, 33]]
    zeros = torch.zeros(6, 7)
    dense_loops.put(zeros.numpy(), ROWS.numpy(), COLUMNS.numpy(), part.numpy())
    assert torch.equal(zeros, torch.where(zeros != 0, whole, 0)) and zeros.count_nonzero() == 6
