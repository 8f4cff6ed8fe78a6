import pytest
import torch

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU, Table, receptive_field
from speechscope.networks.wav2letter import wav2letter
from speechscope.registry import NETWORKS

TABLE: Table = (
    Conv(2, (3, 6), "same-time", stride=(1, 2)),
    ReLU(),
    MaxPool((1, 3), (1, 2)),
    Conv(3, (1, 4), "same-time"),
)


def test_one_output_of_the_letter_network_sees_206_frames() -> None:
    # Krug 2018, sec. 3.1: 48 + 2 (8 · 6 + 31).
    for padding, before in (("same-time", 23 + 2 * (8 * 3 + 15)), ("valid", 0)):
        table = wav2letter(padding=padding)  # type: ignore[arg-type]
        field = receptive_field(table, len(table))
        assert (field.frames, field.step, field.before) == (206, 2, before)
    assert receptive_field(wav2letter(), 1).frames == 48
    assert field.span(10) == (20, 226)


def test_a_raw_waveform_output_sees_what_table_1_implies() -> None:
    # Muckenhirn 2019, table 1: 30, then a pool of 3 at steps of 10, a kernel of 7 at steps of 30.
    assert receptive_field(NETWORKS["raw-phone"]().table, 1).frames == 30
    assert receptive_field(NETWORKS["raw-phone"]().table, 2).frames == 30 + 2 * 10
    assert receptive_field(NETWORKS["raw-phone"]().table, 4).frames == 30 + 2 * 10 + 6 * 30
    with pytest.raises(SpeechscopeError, match="layer 10 is fully connected"):
        receptive_field(NETWORKS["raw-phone"]().table, 10)


@pytest.mark.parametrize("layer", [1, 3, 4])
def test_the_field_is_where_the_derivative_is_not_zero(layer: int) -> None:
    torch.manual_seed(0)
    network = Network(TABLE, (1, 3, 60)).double()
    for parameter in network.parameters():
        parameter.data.abs_()  # no cancellation, and every ReLU open
    x = torch.rand(1, 1, 3, 60, dtype=torch.float64, requires_grad=True)
    y = network.activation(x, layer)
    # A pool passes one frame's derivative on: many inputs, to see every frame.
    field = receptive_field(TABLE, layer)
    touched = torch.zeros(60, dtype=torch.bool)
    output = 7
    for _ in range(60):
        x = torch.rand(1, 1, 3, 60, dtype=torch.float64, requires_grad=True)
        y = network.activation(x, layer)
        (grad,) = torch.autograd.grad(y[..., output].sum(), x)
        touched |= (grad[0, 0] != 0).any(0)
    first, end = field.span(output)
    assert touched.nonzero().flatten().tolist() == list(range(max(first, 0), min(end, 60)))
