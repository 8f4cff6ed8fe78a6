"""Every construction of `constructions`: what is answered is what autograd says, or is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from constructions import MAPS, WAVES, Net, examples, made, relu, two
from explaining import rule
from formulas import class_maps, handed_down
from torch import Tensor, nn

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks import foreign
from speechscope.networks.foreign import fitted
from speechscope.networks.loading import load
from speechscope.relevance.explain import explained, predicted, relevance_by
from speechscope.relevance.lrp import lrp, lrp_with_sums
from speechscope.stages.relevance import Relevance

NO_SLOPE = "a detach"
NO_RULE = {
    "Softplus": r"layer a \(Softplus\)",
    "Sigmoid": r"layer a \(Sigmoid\)",
    "Snake": r"layer sin \(the function sin\)",
    "statistics": r"layer std \(the function std\)",
    "a root of power": r"layer stft \(the function stft\)",
    "a detach": "no slope leads from its scores",
    "half": "half precision",
}


def before_ends(name: str, network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The scores (B, classes, …) of a network as anyone would write them down."""

    def scores(x: Tensor) -> Tensor:
        x = (x.flatten(1, 2) if name in WAVES else x).to(next(network.parameters()).dtype)
        if name == "batch statistics":  # items are given alone
            return torch.cat([network(item) for item in x.chunk(len(x))])
        if name == "sigmoid, squeezed":
            return network.l(relu(network.c1(x)).mean(-1))  # type: ignore
        if name == "softmax of frames":
            return network.l(network.c1(x).transpose(1, 2)).transpose(1, 2)  # type: ignore
        out: Tensor = network(x)
        return out.transpose(1, 2) if name == "frames" else out[:, None] if out.dim() == 1 else out

    return scores


@pytest.mark.parametrize("name", [*WAVES, *MAPS])
def test_gradients_are_those_of_autograd(name: str) -> None:
    network, x = made(name), examples(name)
    found, _ = fitted(network, x)
    of = explained(found, x)
    target = predicted(of.scores(x))
    if name == NO_SLOPE:
        with pytest.raises(SpeechscopeError, match="no slope leads"):
            relevance_by("gradient", of, x, target, Relevance(), [0] * 3)
        return
    given = x.clone().requires_grad_()
    out = before_ends(name, network)(given).float()
    added = out.flatten(2).sum(2) if out.dim() > 2 else out
    assert target.tolist() == added.argmax(1).tolist()
    (wanted,) = torch.autograd.grad(added.gather(1, target[:, None]).sum(), given)
    gradient = relevance_by("gradient", of, x, target, Relevance(), [0] * 3)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", [*WAVES, *MAPS])
def test_layers_have_one_name_and_give_what_they_give(name: str) -> None:
    network, x = made(name), examples(name)
    found, _ = fitted(network, x)
    assert len(set(found.names)) == len(found.names)
    both = found.activations(x, found.names)
    for number, layer in enumerate(found.names, 1):
        assert found.resolve(layer) == found.resolve(number) == number
        alone = torch.cat([found.activation(x[n : n + 1], layer) for n in range(3)])
        torch.testing.assert_close(both[number], alone, rtol=1e-3, atol=1e-4)
        assert both[number].shape[1:] == found.shapes[number - 1]
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("name", [*WAVES, *MAPS])
def test_relevance_is_that_of_a_formula_or_refused_by_name(name: str) -> None:
    network, x = made(name), examples(name)
    if name not in ("half", NO_SLOPE):
        network, x = network.double(), x.double()
    found, _ = fitted(network, x)
    of = explained(found, x)
    target = predicted(of.scores(x))
    if name in NO_RULE:
        with pytest.raises(SpeechscopeError, match=NO_RULE[name]):
            lrp(of, x, target, rule("epsilon"))
        return
    relevance = relevance_by("lrp", of, x, target, rule("epsilon"), [0] * 3)
    if name == "batch statistics":
        wanted = torch.cat(
            [
                handed_down(found, item, one[None])
                for item, one in zip(x.chunk(3), target, strict=True)
            ]
        )
    else:
        wanted = handed_down(found, x, target)
    largest = wanted.abs().max()
    assert largest > 0
    # What is left is single precision of the scores.
    torch.testing.assert_close(relevance, wanted, rtol=0, atol=4e-6 * float(largest))


UNBIASED = (
    *("plain", "residual", "depthwise", "functional", "GELU", "SiLU", "GLU", "Clip"),
    *("GroupNorm", "InstanceNorm", "LayerNorm", "scaled", "LSTM", "GRU, its last state"),
)


@pytest.mark.parametrize("name", UNBIASED)
def test_without_biases_relevance_adds_up_to_the_score(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "normal", lambda out, taking: out)  # scores stay in float64
    network, x = made(name).double(), examples(name).double()
    for key, value in network.named_parameters():
        if "bias" in key:
            value.data.zero_()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None:
            module.running_mean.zero_()
    taken, _ = fitted(network, x)
    scores, of = before_ends(name, network)(x), explained(taken, x)
    target = predicted(scores)
    relevance, sums = lrp_with_sums(of, x, target, rule("epsilon", epsilon=1e-12))
    score = scores.gather(1, target[:, None])[:, 0]
    total = relevance.flatten(1).sum(1)
    torch.testing.assert_close(total, score, rtol=1e-5, atol=1e-7)
    last = list(sums)[-1]
    torch.testing.assert_close(sums[last], score, rtol=1e-5, atol=1e-7)


def test_relevance_is_the_same_of_branches_however_small() -> None:
    def found(size: float) -> Tensor:
        torch.manual_seed(0)
        parts = {"c": nn.Conv1d(1, 5, 16, 4, bias=False), "d": nn.Conv1d(5, 5, 1, bias=False)}
        network = Net(lambda s, x: ((h := size * s.c(x)) + s.d(relu(h))).mean(-1) / size, **parts)
        taken, _ = fitted(network.eval().requires_grad_(False).double(), x)
        return lrp(explained(taken, x), x, torch.tensor([0, 3, 1]), rule("epsilon", epsilon=1e-20))

    x = examples("plain").double()
    torch.testing.assert_close(found(1e-8), found(1.0), rtol=1e-5, atol=1e-8)


CAM = {
    "added to maps": lambda s, x: s.l(
        s.n((h := relu(s.c1(x)) + relu(s.e(relu(s.c1(x))))).transpose(1, 2)).mean(1) + 0 * h.sum()
    ),
    "added behind a transposition": lambda s, x: s.l(
        s.n(relu(s.c1(x)).transpose(1, 2) + relu(s.e(relu(s.c1(x)))).transpose(1, 2)).mean(1)
    ),
}


@pytest.mark.parametrize(("name", "maps"), [("added to maps", "add"), (list(CAM)[1], "relu")])
def test_grad_cam_is_of_maps_beside_a_residual_connection(name: str, maps: str) -> None:
    parts = {"e": nn.Conv1d(8, 8, 3, padding=1), "n": nn.LayerNorm(8)}
    network = two(CAM[name], **parts)().eval().requires_grad_(False).double()
    x, target = examples("plain").double(), torch.tensor([0, 3, 1])
    found = relevance_by(
        "grad-cam", explained(fitted(network, x)[0], x), x, target, Relevance(), []
    )
    wanted = dict(class_maps(lambda given: network(given[:, 0]), x, target))[maps]
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)


def test_what_enters_any_module_is_explained() -> None:
    network, x = made("transformer"), examples("transformer")
    found, _ = fitted(network, x)
    of = explained(found, x, "e")
    z = of.enter(x)
    torch.testing.assert_close(z, network.c1(x.flatten(1, 2)).transpose(1, 2))  # type: ignore
    torch.testing.assert_close(of.scores(z), found(x))
    (wanted,) = torch.autograd.grad(
        network.l(network.e(given := z.clone().requires_grad_()).mean(1))[:, 2].sum(),  # type: ignore
        given,
    )
    target = torch.tensor([2, 2, 2])
    gradient = relevance_by("gradient", of, z, target, Relevance(), [0] * 3)
    torch.testing.assert_close(gradient, wanted)
    assert torch.isfinite(lrp(of, z, target, rule("epsilon"))).all()
    with pytest.raises(UsageProblem, match="other connections go around it"):
        explained(found, x, "e.linear2")
    assert found.activation(x, "e").shape == (3, 97, 8) and "e" not in found.names


def test_names_that_are_numbers_are_names() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(280, 6)).eval()
    found, _ = fitted(network.requires_grad_(False), examples("sums"))
    assert found.names == ("0", "2", "3")
    assert [found.named(found.resolve(name)) for name in ("0", "2", "3")] == ["0", "2", "3"]
    x = examples("sums")
    torch.testing.assert_close(found.activation(x, "3"), network(x))
    torch.testing.assert_close(found.activation(x, 2), network[2](network[1](network[0](x))))


def test_orders_of_axes_are_said() -> None:
    network = Net(
        lambda s, x: s.l(relu(s.c(x)).mean((2, 3))), c=nn.Conv2d(1, 4, (5, 3)), l=nn.Linear(4, 6)
    )
    x, network = examples("sums"), network.eval().requires_grad_(False)
    torch.testing.assert_close(fitted(network, x, "B,1,T,F")[0](x), network(x.transpose(2, 3)))
    own, _ = fitted(network, x)
    torch.testing.assert_close(own(x), network(x))
    assert own.taking.also == ("B,C,T,F",)
    recurrent = Net(lambda s, x: s.r(x)[0][:, -1], r=nn.LSTM(12, 6, batch_first=True)).eval()
    found, count = fitted(recurrent.requires_grad_(False), x)
    assert found.form == "frames" and count == 6
    torch.testing.assert_close(found(x), recurrent(x[:, 0].transpose(1, 2)))
    for order in ("B,F", "BCFQ", "C,F,T", "BFFT"):
        with pytest.raises(UsageProblem, match=f"--axes {order}"):
            fitted(network, x, order)


def test_outputs_are_chosen_and_never_guessed() -> None:
    x = examples("plain")

    def network(run: Callable[[Tensor, Tensor], object]) -> nn.Module:
        both = two(lambda s, x: run(s.l(relu(h := s.c1(x)).mean(-1)), h))
        torch.manual_seed(0)
        return both().eval().requires_grad_(False)

    scores = network(lambda y, h: y)(x[:, 0])
    pair = network(lambda y, h: (h, y))
    with pytest.raises(UsageProblem, match=r"several outputs \(0 \(3, 8, 97\), 1 \(3, 5\)\)"):
        fitted(pair, x)
    for net, name in ((pair, "1"), (network(lambda y, h: {"a": h, "b": y}), "b"), (pair, "l")):
        torch.testing.assert_close(fitted(net, x, scores=name)[0](x), scores)
    torch.testing.assert_close(fitted(network(lambda y, h: {"only": y}), x)[0](x), scores)
    frames, count = fitted(network(lambda y, h: h.transpose(1, 2)), x)
    assert count == 8 and frames.taking.order == "btv" and frames(x).shape == (3, 8, 97)
    assert frames.at(3, 4)(x).shape == (3, 8, 1)
    fixed = Net(lambda s, x: s.l(x.flatten(1)).view(-1, 4, 3), l=nn.Linear(400, 12)).eval()
    with pytest.raises(UsageProblem, match=r"which axis of scores .* is time cannot be told"):
        fitted(fixed, x)
    assert fitted(fixed, x, scores=":btv")[1] == 3 and fitted(fixed, x, scores=":bvt")[1] == 4


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda y: y.softmax(1).unsqueeze(1)[:, 0], ("softmax",)),
        (lambda y: torch.log(torch.softmax(y, 1)), ("softmax", "log")),
        (lambda y: torch.sigmoid(y).view(-1, 5, 1).squeeze(2), ("sigmoid",)),
    ],
)
def test_a_softmax_that_is_moved_is_left_out(
    end: Callable[[Tensor], Tensor], said: tuple[str, ...]
) -> None:
    x = examples("plain")
    torch.manual_seed(0)
    made = two(lambda s, x: end(s.l(s.c1(x).mean(-1))))().eval().requires_grad_(False)
    found, _ = fitted(made, x)
    assert found.taking.ending.names == said
    torch.testing.assert_close(found(x), made.l(made.c1(x[:, 0]).mean(-1)))  # type: ignore


def test_a_sigmoid_with_something_after_it_is_said() -> None:
    x = examples("plain")
    made = two(lambda s, x: 1 + 4 * torch.sigmoid(s.l(s.c1(x).mean(-1))))().eval()
    found, _ = fitted(made.requires_grad_(False), x)
    assert found.taking.ending.kept == "sigmoid and add, mul"
    torch.testing.assert_close(found(x), made(x[:, 0]))


def test_what_draws_at_random_is_refused() -> None:
    made = two(lambda s, x: s.l(nn.functional.dropout(s.c1(x).mean(-1), 0.5, True)))
    with pytest.raises(UsageProblem, match="another answer every time"):
        fitted(made().eval(), examples("plain"))


def test_files_of_torchscript_and_export(tmp_path: Path) -> None:
    network, x = made("plain"), examples("plain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, its files are not gone
        torch.jit.save(torch.jit.trace(network, x[:, 0]), tmp_path / "n.ts")  # type: ignore
    exported = torch.export.export(network, (x[:1, 0],))
    torch.export.save(exported, tmp_path / "n.pt2")
    for name in ("n.ts", "n.pt2"):
        found, _ = fitted(load(str(tmp_path / name)).network, x)
        torch.testing.assert_close(found(x), network(x[:, 0]))
        gradient = relevance_by(
            "gradient", explained(found, x), x, torch.zeros(3).long(), Relevance(), [0] * 3
        )
        given = x.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(network(given[:, 0])[:, 0].sum(), given)
        torch.testing.assert_close(gradient, wanted)
    assert found.names[:2] == ("conv1d", "relu")
    torch.save(network.state_dict(), tmp_path / "n.pt")
    with pytest.raises(UsageProblem, match="holds weights alone"):
        load(str(tmp_path / "n.pt"))


def test_a_function_has_no_name_that_a_layer_has() -> None:
    network, x = made("a name of two"), examples("a name of two")
    found, _ = fitted(network, x)
    assert found.names == ("c1", "relu", "c2", "relu_1", "mean", "l")
    first = relu(network.c1(x.flatten(1, 2)))  # type: ignore[operator]
    torch.testing.assert_close(found.activation(x, "relu"), first)
    torch.testing.assert_close(found.activation(x, "relu_1"), relu(network.c2(first)))  # type: ignore[operator]


def test_time_may_come_first_in_scores() -> None:
    x = examples("plain")
    torch.manual_seed(0)
    network = two(lambda s, x: s.l(s.c1(x).permute(2, 0, 1)))().eval().requires_grad_(False)
    with pytest.raises(UsageProblem, match="if time comes first, --scores :tbv"):
        fitted(network, x)
    found, count = fitted(network, x, scores=":tbv")
    assert count == 5
    torch.testing.assert_close(found(x), network(x[:, 0]).permute(1, 2, 0))
    torch.testing.assert_close(found(x[:1]), network(x[:1, 0]).permute(1, 2, 0))


def test_scores_of_one_item_may_be_squeezed() -> None:
    x = examples("plain")
    torch.manual_seed(0)
    for taken, count in ((slice(0, 5), 5), (slice(0, 1), 1)):
        network = two(lambda s, x, t=taken: s.l(s.c1(x).mean(-1))[:, t].squeeze())()  # type: ignore[misc]
        found, scores = fitted(network.eval().requires_grad_(False), x)
        assert scores == count and found(x).shape == (3, count)
        torch.testing.assert_close(found(x[:1]), found(x)[:1])


def test_what_gives_no_scores_is_refused() -> None:
    x = examples("plain")
    decided = two(lambda s, x: s.l(s.c1(x).mean(-1)).argmax(-1))().eval()
    with pytest.raises(UsageProblem, match="whole numbers, which are no scores"):
        fitted(decided, x)
    assert fitted(decided, x, scores="l")[1] == 5


def test_packed_sequences_are_followed_and_refused_by_rules() -> None:
    def run(s: Any, x: Tensor) -> Tensor:
        y = relu(s.c1(x)).transpose(1, 2)
        lengths = torch.full((len(y),), y.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True)
        out: Tensor = s.l(s.r(packed)[1][0][-1])
        return out

    network = made_of(two(run, r=nn.LSTM(8, 8, batch_first=True)))
    x = examples("plain")
    of = explained(fitted(network, x)[0], x)
    target = torch.zeros(3).long()
    given = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(network(given[:, 0])[:, 0].sum(), given)
    gradient = relevance_by("gradient", of, x, target, Relevance(), [0] * 3)
    torch.testing.assert_close(gradient, wanted)
    with pytest.raises(SpeechscopeError, match="layer _pack_padded_sequence"):
        lrp(of, x, target, rule("epsilon"))


def test_layers_that_have_time_first_get_a_sum_an_item() -> None:
    run = lambda s, x: s.l(s.r(s.c1(x).permute(2, 0, 1))[0].mean(0))  # noqa: E731
    network, x = made_of(two(run, r=nn.GRU(8, 8))), examples("plain")
    of = explained(fitted(network, x)[0], x)
    target = torch.tensor([0, 1, 2])
    together, sums = lrp_with_sums(of, x, target, rule("epsilon"))
    for n in range(3):
        alone, own = lrp_with_sums(of, x[n : n + 1], target[n : n + 1], rule("epsilon"))
        torch.testing.assert_close(together[n : n + 1], alone)
        assert {name: float(s[n]) for name, s in sums.items()} == pytest.approx(
            {name: float(s[0]) for name, s in own.items()}, rel=1e-4
        )


def test_a_layer_of_one_number_is_one_unit() -> None:
    x = examples("plain")
    network = made_of(two(lambda s, x: s.l(relu(s.c1(x - x.mean())).mean(-1))))
    found, _ = fitted(network, x)
    assert found.taking.alone and found.names[0] == "mean" and found.shapes[0] == (1,)
    torch.testing.assert_close(found.activation(x, "mean"), x.mean((1, 2, 3))[:, None])


def made_of(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with weights drawn from one seed."""
    torch.manual_seed(0)
    return make().eval().requires_grad_(False)
