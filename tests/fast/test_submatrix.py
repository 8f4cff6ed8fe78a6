import pytest
import torch

from speechscope.fast import submatrix
from speechscope.training.optimizers import AdaGrad, Adam, Nesterov, Rule

ROWS, COLUMNS = torch.tensor([1, 4]), torch.tensor([0, 2, 5])


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
    submatrix.update(rule, weight, sums, ROWS, COLUMNS, grad, 3)
    for found, wanted in zip((weight, *sums), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def test_what_is_put_is_what_is_taken() -> None:
    whole = torch.arange(42.0).view(6, 7)
    part = torch.empty(2, 3)
    submatrix.take(whole, ROWS, COLUMNS, part)
    assert part.tolist() == [[7, 9, 12], [28, 30, 33]]
    zeros = torch.zeros(6, 7)
    submatrix.put(zeros, ROWS, COLUMNS, part)
    assert torch.equal(zeros, torch.where(zeros != 0, whole, 0)) and zeros.count_nonzero() == 6
