import numpy as np
import oracles
import pytest
import torch
from torch import nn

from speechscope.corpus.letters import OUTPUTS
from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import BatchNorm, Conv, ReLU, output_shapes
from speechscope.networks.wav2letter import FRAMES, Wav2Letter, masked_batch_norm, wav2letter

BINS = 10


def small(padding: str = "same-time") -> Wav2Letter:
    torch.manual_seed(0)
    network = Wav2Letter(BINS, width=1 / 64, padding=padding).double()  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 2.0)
    return network


def test_the_sizes_are_those_of_the_paper() -> None:
    # Krug 2018, sec. 3.1 and 3.4: 128 × 206 in, 256 × 80 after the first layer, one output.
    table = wav2letter(padding="valid")
    shapes = output_shapes(table, (1, 128, 206), OUTPUTS)
    convolutions = [
        (row.kernel, shape)
        for row, shape in zip(table, shapes, strict=True)
        if isinstance(row, Conv)
    ]
    assert convolutions[0] == ((128, 48), (256, 1, 80))
    widths = [74, 68, 62, 56, 50, 44, 38, 32]
    assert convolutions[1:9] == [((1, 7), (256, 1, width)) for width in widths]
    assert convolutions[9:] == [
        ((1, 32), (2048, 1, 1)), ((1, 1), (2048, 1, 1)), ((1, 1), (31, 1, 1)),
    ]  # fmt: skip
    # Batch normalisation before each ReLU, none on the scores.
    assert [type(row) for row in table] == [Conv, BatchNorm, ReLU] * 11 + [Conv]
    network = small()
    assert network.input_shape == (1, BINS, 206)
    assert network.names[:4] == ("conv1", "norm1", "relu1", "conv2")
    assert network.resolve("conv12") == 34


def test_with_padding_every_second_frame_has_an_output() -> None:
    network = small().eval()
    for frames in (206, 207, 31, 1):
        logits = network(torch.randn(1, 1, BINS, frames, dtype=torch.float64))
        assert logits.shape == (1, OUTPUTS, -(-frames // 2))
        assert int(network.output_frames(torch.tensor([frames]))) == -(-frames // 2)
    valid = small("valid").eval()
    assert valid(torch.randn(1, 1, BINS, FRAMES, dtype=torch.float64)).shape == (1, OUTPUTS, 1)
    assert valid.output_frames(torch.tensor([206, 207, 208])).tolist() == [1, 1, 2]
    with pytest.raises(SpeechscopeError, match="takes items of shape"):
        network(torch.randn(1, 1, BINS + 1, FRAMES, dtype=torch.float64))


def test_an_output_away_from_the_ends_is_that_of_its_window_alone() -> None:
    padded, valid = small().eval(), small("valid").eval()
    x = torch.randn(1, 1, BINS, 400, dtype=torch.float64)
    logits = padded(x)
    for output in (60, 75, 99):
        # Output t sees 206 frames from 2 t − 101 on.
        first = 2 * output - 101
        window = x[..., first : first + FRAMES]
        torch.testing.assert_close(valid(window)[..., 0], logits[..., output])


def test_every_layer_equals_the_slow_formulas() -> None:
    network = small("valid").eval()
    x = torch.randn(1, 1, BINS, FRAMES + 2, dtype=torch.float64)
    found = network.activations(x, network.names)
    before = x[0].numpy()
    for number, row in enumerate(network.table, start=1):
        got = found[number][0].detach().numpy()
        module = network.get_submodule(network.names[number - 1]) if row != ReLU() else None
        if isinstance(row, Conv):
            weight, bias = (p.detach().numpy() for p in network.parameters_of(
                network.names[number - 1]))  # fmt: skip
            expected = oracles.strided_layer(before, weight, bias, row.stride, row.pads)
        elif isinstance(module, nn.BatchNorm2d):
            state = {k: v.numpy()[:, None, None] for k, v in module.state_dict().items() if v.dim()}
            expected = (before - state["running_mean"]) / np.sqrt(state["running_var"] + 1e-5)
            expected = expected * state["weight"] + state["bias"]
        else:
            expected = np.maximum(before, 0)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
        before = got


def batch_of_three() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    frames = torch.tensor([61, 40, 83])
    x = torch.zeros(3, 1, BINS, 83, dtype=torch.float64)
    for item, count in zip(x, frames.tolist(), strict=True):
        item[..., :count] = torch.randn(1, BINS, count)
    return x, frames


def test_no_answer_depends_on_the_batch_it_is_in() -> None:
    network = small().eval()
    x, frames = batch_of_three()
    noisy = x + torch.where(torch.arange(83) < frames[:, None], 0.0, 9.0)[:, None, None]
    logits = network(noisy, frames)
    for item, count in enumerate(frames.tolist()):
        alone = network(x[item : item + 1, ..., :count])[0]
        torch.testing.assert_close(logits[item, :, : alone.shape[1]], alone)


def test_training_does_not_depend_on_the_padding() -> None:
    # The same three utterances with more frames after their ends: same statistics, same gradient.
    x, frames = batch_of_three()
    results = []
    for more in (0, 17):
        network = small().train()
        logits = network(nn.functional.pad(x, (0, more), value=3.0), frames)
        kept = sum(logits[i, :, : (n + 1) // 2].square().sum() for i, n in enumerate(frames))
        assert isinstance(kept, torch.Tensor)
        kept.backward()  # type: ignore[no-untyped-call]
        state = {f"grad {name}": p.grad for name, p in network.named_parameters()}
        results.append({**state, **network.state_dict(), "loss": kept.detach()})
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value)


def test_statistics_are_those_of_the_frames_that_count() -> None:
    x = torch.randn(3, 4, 1, 9, dtype=torch.float64)
    frames = [9, 2, 5]
    mask = (torch.arange(9) < torch.tensor(frames)[:, None]).double()[:, None, None]
    norm = nn.BatchNorm2d(4).double()
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    found = masked_batch_norm(norm, x, mask)
    gain, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    expected = oracles.batch_normalised(x[:, :, 0].numpy(), frames, gain, bias, 1e-5)
    for item, count in enumerate(frames):
        np.testing.assert_allclose(
            found[item, :, 0, :count].detach().numpy(), expected[item, :, :count], rtol=1e-10
        )
    # Where everything counts it is PyTorch's own, running means included.
    ours, theirs = nn.BatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
    torch.testing.assert_close(masked_batch_norm(ours, x, torch.ones_like(mask)), theirs(x))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
