import oracles
import pytest
import torch

from speechscope.training.source import apply, draw

MEAN = torch.linspace(0.5, 1.5, 9 * 6).view(1, 9, 6)


def inputs(count: int = 4) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 9, 6, generator=rng) - MEAN


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vary(amounts: dict[str, float], x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return apply(x, MEAN, draw(amounts, len(x), tuple(x.shape[1:]), generator))


@pytest.mark.parametrize(
    "amounts",
    [
        {"warp": 0.2},
        {"bins": 1.5},
        {"stretch": 0.3},
        {"frames": 1.5},
        {"gain": 0.4},
        {"warp": 0.2, "bins": 1.5, "stretch": 0.3, "frames": 1.5, "gain": 0.4},
    ],
)
def test_each_part_and_all_against_the_formula(amounts: dict[str, float]) -> None:
    x = inputs()
    found = vary(amounts, x, rng())
    expected = oracles.varied((x + MEAN)[:, 0].numpy(), amounts, seed=1) - MEAN.numpy()
    # Single precision, and positions computed in another order.
    torch.testing.assert_close(found[:, 0], torch.from_numpy(expected).float(), rtol=0, atol=1e-5)
    assert (found - x).abs().max() > 0.05


def test_no_amount_changes_nothing() -> None:
    x = inputs()
    torch.testing.assert_close(vary({}, x, rng()), x, rtol=0, atol=1e-6)


def test_every_item_and_call_is_varied_differently() -> None:
    x = inputs(1).expand(3, -1, -1, -1)
    generator = rng()
    first, second = (vary({"warp": 0.2}, x, generator) for _ in range(2))
    assert len({float(item.sum()) for item in [*first, *second]}) == 6
    assert torch.equal(vary({"warp": 0.2}, x, rng()), first)


def test_silence_stays_silent() -> None:
    silent = -MEAN.expand(2, 1, 9, 6)
    everything = {"warp": 0.2, "bins": 2, "stretch": 0.3, "frames": 2, "gain": 0.5}
    torch.testing.assert_close(vary(everything, silent, rng()), silent, rtol=0, atol=1e-6)


def test_noise_has_the_size_asked_for_and_follows_the_item() -> None:
    x = inputs(6)
    draws = draw({"noise": 0.5}, 6, (1, 9, 6), rng())
    whole = apply(x, MEAN, draws, 0.5)
    root = (x + MEAN).square().mean((1, 2, 3)).sqrt()
    size = (whole - x).square().mean((1, 2, 3)).sqrt() / root
    assert size.mean() == pytest.approx(0.5, abs=0.06)  # 54 values an item, six items
    # An item's noise does not depend on which part of the batch it is worked on in.
    part = apply(x[2:4], MEAN, draws.part(slice(2, 4)), 0.5)
    torch.testing.assert_close(part, whole[2:4])
