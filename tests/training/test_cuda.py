import pytest
import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.networks.wav2letter import Wav2Letter, masked_batch_norm
from speechscope.stages.train import Train
from speechscope.training import group
from speechscope.training.step import Step

TABLE: Table = (
    Conv(3, (4, 3), "same"),
    ReLU(),
    MaxPool((3, 1), (2, 1)),
    Linear(12),
    ReLU(),
    Linear(None),
)


@pytest.mark.parametrize(
    ("asked", "flag"),
    [(Train(precision="bf16"), "--precision bf16"), (Train(compile=True), "--compile")],
)
def test_what_only_cuda_has_a_use_for_is_refused_elsewhere(asked: Train, flag: str) -> None:
    with pytest.raises(UsageProblem, match=f"{flag} is for CUDA devices; train on cpu without it"):
        group.check(asked, torch.device("cpu"))
    group.check(asked, torch.device("cuda"))
    group.check(Train(), torch.device("cpu"))


def test_shorter_products_are_allowed_for_a_time_only() -> None:
    cpu, cudnn = torch.device("cpu"), torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    x, weight = torch.randn(2, 1, 5, 5), torch.randn(3, 1, 2, 2)
    for precision, kind in (("tf32", torch.float32), ("bf16", torch.bfloat16)):
        with group.products(Train(precision=precision), cpu):
            assert torch.get_float32_matmul_precision() == "high"
            assert cudnn.allow_tf32 and cudnn.benchmark and not cudnn.deterministic
            assert torch.nn.functional.conv2d(x, weight).dtype == kind
    for _ in range(2):
        assert torch.get_float32_matmul_precision() == "highest"
        assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == before
        with group.products(Train(), cpu):
            assert torch.nn.functional.conv2d(x, weight).dtype == torch.float32


def test_statistics_of_short_numbers_are_taken_in_single_precision() -> None:
    # 300 frames are more than bfloat16 can count, and their mean is finer than it can hold.
    frames = torch.tensor([300, 200])
    mask = (torch.arange(300) < frames[:, None]).float()[:, None, None]
    x = (torch.randn(2, 4, 1, 300) + 3).bfloat16()
    norms = [torch.nn.BatchNorm2d(4) for _ in range(2)]
    short = masked_batch_norm(norms[0], x, mask.bfloat16())
    single = masked_batch_norm(norms[1], x.float(), mask)
    assert torch.equal(short, single)
    found, wanted = (norm.state_dict()["running_var"] for norm in norms)
    assert torch.equal(found, wanted)


def test_compiled_passes_train_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "BACKEND", "aot_eager")  # all but the making of machine code
    found: list[dict[str, Tensor]] = []
    compiled = []
    original = torch.compile

    def counted(*args: object, **keywords: object) -> object:
        compiled.append(args[0])
        return original(*args, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "compile", counted)
    for compiles in (False, True):
        network = Network(TABLE, input_shape=(1, 10, 6), classes=5)
        network.reset_parameters(torch.Generator().manual_seed(0))
        step = Step(network, Train(lr=0.05, dropout=0.5, batch=8, compile=compiles))
        generator = torch.Generator().manual_seed(1)
        for count in (8, 6, 8):
            x = torch.randn(count, 1, 10, 6, generator=generator)
            wanted = torch.randint(5, (count,), generator=generator)
            step(x.__getitem__, wanted, generator)
        found.append(network.state_dict())
    assert len(compiled) >= 1
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5)


def test_the_letter_network_is_one_graph() -> None:
    network = Wav2Letter(bins=8, width=0.01).train()
    whole = torch.compile(network, dynamic=True, backend="eager", fullgraph=True)
    x = torch.randn(2, 1, 8, 60)
    for frames in (torch.tensor([60, 41]), None):
        assert whole(x, frames).shape == (2, 31, 30)
