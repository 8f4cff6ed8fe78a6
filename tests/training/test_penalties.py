import pytest
import torch

from speechscope.networks.layers import Conv, MaxPool, Network, ReLU
from speechscope.training.decoders import contraction, gaussian, sparsity


def test_noise_is_a_share_of_the_input() -> None:
    x = 5 * torch.randn(40, 1, 30, 20, generator=torch.Generator().manual_seed(0))
    noise = gaussian(x, 0.3, torch.Generator().manual_seed(1))
    assert noise.shape == x.shape
    assert float(noise.std()) == pytest.approx(0.3 * 5, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)


def test_sparsity_is_the_l1_norm_of_an_item() -> None:
    code = torch.tensor([[[1.0, -2.0], [0.0, 3.0]], [[0.0, 0.0], [4.0, 0.0]]])
    assert float(sparsity(code)) == (6 + 4) / 2


def test_contraction_is_the_mean_squared_jacobian() -> None:
    torch.manual_seed(0)
    table = (Conv(3, (4, 2), "same"), ReLU(), MaxPool((3, 2), (2, 2)))
    network = Network(table, (1, 9, 4)).double()
    x = torch.randn(3, 1, 9, 4, dtype=torch.float64)
    exact = 0.0
    for item in x:
        item.requires_grad_()
        code = network.activation(item[None], 3).flatten()
        rows = [torch.autograd.grad(unit, item, retain_graph=True)[0] for unit in code]
        jacobian = torch.stack(rows)
        exact += float(jacobian.square().sum()) / len(x)
    many = x.repeat(4000, 1, 1, 1)
    code = network.activation(many, 3)
    generator = torch.Generator().manual_seed(1)
    found = contraction(lambda inputs: network.activation(inputs, 3), many, code, generator)
    # 12,000 draws; steps of a hundredth of the input change few of the maxima.
    assert float(found.detach()) == pytest.approx(exact, rel=0.03)
