"""Networks that are not ours: their layers by name and number, and the form of their inputs."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import UsageProblem
from speechscope.networks.foreign import ForeignNetwork, fitted
from speechscope.networks.maps import Convolution


class Small(nn.Module):
    """Takes rows (B, 4, T); one pooling, used twice, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 3, 3), nn.Conv1d(3, 2, 3)
        self.norm, self.pool = nn.BatchNorm1d(3), nn.MaxPool1d(2)
        self.last = nn.Linear(2 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.norm(self.first(functional.pad(x, (1, 1))))))
        x = self.pool(torch.relu(self.second(x)))
        return torch.softmax(self.last(x.reshape(x.size(0), -1)), 1)


class Decides(Small):
    """The same, with a decision on values: it cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.sum()) < 1e9 else x


def network(kind: type[Small] = Small) -> ForeignNetwork:
    torch.manual_seed(0)
    made, classes = fitted(kind().eval().requires_grad_(False), (2, 2, 16))
    assert classes == 5 and made.form == "rows"
    return made


def test_layers_are_counted_without_reshapes_and_padding() -> None:
    made = network()
    assert made.names == ("first", "norm", "relu", "second", "relu_1", "pool", "last")
    assert made.shapes == ((3, 16), (3, 16), (3, 16), (2, 6), (2, 6), (2, 3), (5,))
    assert [made.resolve(layer) for layer in (1, "2", "relu_1", "last")] == [1, 2, 5, 7]
    for layer in (0, 8, "pad", "nothing"):
        with pytest.raises(UsageProblem, match="expected 1 to 7 or one of first, norm, relu"):
            made.resolve(layer)


def test_activations_are_those_of_the_network() -> None:
    made, x = network(), torch.randn(3, 2, 2, 16)
    theirs = made.network
    assert isinstance(theirs, Small)
    first = theirs.first(functional.pad(x.flatten(1, 2), (1, 1)))
    pooled = theirs.pool(torch.relu(theirs.norm(first)))
    after = torch.relu(theirs.second(pooled))
    found = made.activations(x, ["first", "pool", 5, "last"])
    torch.testing.assert_close(found[1], first)
    torch.testing.assert_close(found[5], after)
    torch.testing.assert_close(found[6], theirs.pool(after))
    torch.testing.assert_close(found[7].softmax(1), theirs(x.flatten(1, 2)))
    torch.testing.assert_close(found[7], made(x))  # before the softmax
    torch.testing.assert_close(made.activation(x, 5), after)


def test_what_decides_on_values_has_the_same_layers() -> None:
    made, x = network(Decides), torch.randn(3, 2, 2, 16)
    traced = network()
    assert set(traced.names) < set(made.names)  # and the sum it decides on
    for name in traced.names:
        torch.testing.assert_close(made.activation(x, name), traced.activation(x, name))
    assert all(not module._forward_hooks for module in made.modules())


def test_a_shift_is_added_first() -> None:
    made, x, mean = network(), torch.randn(3, 2, 2, 16), torch.randn(2, 2, 16)
    shifted = made.shifted(mean)
    torch.testing.assert_close(shifted(x - mean), made(x))
    torch.testing.assert_close(shifted.activation(x - mean, 4), made.activation(x, 4))
    assert shifted.names == made.names


@pytest.mark.parametrize(
    ("weight", "x", "stride", "padding"),
    [
        ((5, 1, 7), (3, 1, 40), (3,), (2,)),
        ((5, 1, 7), (3, 1, 39), (1,), (0,)),
        ((5, 1, 7, 1), (3, 1, 41, 1), (3, 1), (2, 0)),
        ((5, 1, 1, 6), (3, 1, 1, 40), (1, 4), (0, 0)),
    ],
)
def test_a_filter_bank_flows_back_as_pytorchs(
    weight: tuple[int, ...], x: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    w, values, ones = torch.randn(weight).double(), torch.randn(x).double(), (1,) * len(stride)
    layer = Convolution(w, None, stride, padding, ones)
    values.requires_grad_()
    y = torch.convolution(values, w, None, stride, padding, ones, False, (0,) * len(stride), 1)
    s = torch.randn_like(y)
    (wanted,) = torch.autograd.grad(y, values, s)
    (found,) = torch.autograd.grad(layer.apply(values, w), values, s)
    torch.testing.assert_close(found, wanted)
