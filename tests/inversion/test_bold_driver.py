import oracles
import torch
from torch import Tensor

from speechscope.inversion.bold_driver import BoldDriver
from speechscope.stages.invert import Invert


def driver(count: int, **changes: float) -> BoldDriver:
    return BoldDriver(torch.zeros(count, 1, 1, 1), Invert(**changes))  # type: ignore[arg-type]


def rates(made: BoldDriver, energy: Tensor) -> Tensor:
    """How far each item moves along a derivative of -1."""
    x = torch.zeros(len(energy), 1, 1, 1, dtype=torch.float64)
    return made.step(x, energy, -torch.ones_like(x))[:, 0, 0, 0]


def test_each_item_follows_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    # Rounded, so that equal neighbours, which leave the factor alone, occur.
    errors = (torch.rand(60, 5, dtype=torch.float64, generator=generator) * 4).round()
    made = driver(5, rate=0.3, up=1.05, down=0.8, stop=0.0)
    moved = torch.stack([rates(made, row) for row in errors])
    for item in range(5):
        expected, _ = oracles.bold_driver(errors[:, item].tolist(), 0.3, 1.05, 0.8, 0.0)
        torch.testing.assert_close(moved[:, item].tolist(), expected, rtol=1e-12, atol=0)


def test_the_factor_grows_on_decrease_and_shrinks_on_increase() -> None:
    made = driver(3)
    assert rates(made, torch.tensor([2.0, 2.0, 2.0])).tolist() == [1e-6] * 3
    moved = rates(made, torch.tensor([1.0, 3.0, 2.0]))
    torch.testing.assert_close(moved, torch.tensor([1.01e-6, 0.9e-6, 1e-6], dtype=torch.float64))


def test_below_the_stop_an_item_has_converged() -> None:
    made = driver(2, down=0.9, stop=0.005)
    for step in range(200):
        rates(made, torch.tensor([float(step), -float(step)]))
        # 0.9^50 = 0.00515, 0.9^51 = 0.0046; the first error has none before it.
        assert made.running.tolist() == [step < 51, True]


def test_items_that_leave_do_not_disturb_the_others() -> None:
    errors = torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
    whole, part = driver(4), driver(4)
    kept = torch.tensor([1, 3])
    for step, row in enumerate(errors):
        if step == 9:
            part.keep(kept)
        expected = rates(whole, row)
        moved = rates(part, row if step < 9 else row[kept])
        torch.testing.assert_close(moved, expected if step < 9 else expected[kept])
