"""LRP of attention, normalisations, gates and recurrent cells against formulas written out."""

from typing import Any

import numpy as np
import torch
from constructions import Net
from explaining import rule, traced
from torch import nn

from speechscope.relevance.lrp import lrp, rules_of

ONE = torch.zeros(1, dtype=torch.long)
Array = np.ndarray[Any, np.dtype[np.float64]]


def shared(z: Array, r: Array) -> Array:
    """Return Σ_j z_ij / Σ_i z_ij R_j of contributions z (in, out)."""
    out: Array = (z / z.sum(0) * r).sum(1)
    return out


def relevance(module: nn.Module, x: torch.Tensor) -> Array:
    found = lrp(traced(module.double(), x), x, ONE, rule("epsilon", epsilon=1e-15))
    return np.asarray(found.detach()[0])


def test_a_layer_norm_is_linear_with_its_deviation_held() -> None:
    torch.manual_seed(0)
    norm, last = nn.LayerNorm(5), nn.Linear(5, 1, bias=False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(1, 5).double()
    found = relevance(nn.Sequential(norm, last), x)
    v, weight, bias = (t.detach().double().numpy() for t in (x[0], norm.weight, norm.bias))
    deviation = np.sqrt(v.var() + norm.eps)
    y = (v - v.mean()) / deviation * weight + bias
    handed = last.weight.detach().numpy()[0] * y
    jacobian = (np.eye(5) - 1 / 5) * weight / deviation  # d y_j / d x_i, the deviation held
    np.testing.assert_allclose(found, (v[:, None] * jacobian * (handed / y)).sum(1), rtol=1e-7)


def test_attention_by_the_rules_of_attnlrp() -> None:
    torch.manual_seed(1)
    size, frames = 3, 4

    def attend(s: Any, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(s.q(x) @ s.k(x).transpose(1, 2), -1)
        return s.o((weights @ s.v(x)).flatten(1))  # type: ignore[no-any-return]

    parts = {name: nn.Linear(size, size, bias=False) for name in "qkv"}
    last = nn.Linear(size * frames, 1, bias=False)
    net = Net(attend, **parts, o=last)
    x = torch.randn(1, frames, size).double()
    found = relevance(net, x)
    v = x[0].numpy()
    wq, wk, wv = (parts[name].weight.detach().numpy() for name in "qkv")
    q, k, values = v @ wq.T, v @ wk.T, v @ wv.T
    a = q @ k.T
    s = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    out = s @ values
    r_out = out * last.weight.detach().numpy().reshape(frames, size)
    r_s = np.einsum("ij,jd,id->ij", s, values, r_out / out) / 2
    r_v = np.einsum("ij,jd,id->jd", s, values, r_out / out) / 2
    r_a = a * (r_s - s * r_s.sum(1, keepdims=True))
    r_q = np.einsum("id,jd,ij->id", q, k, r_a / a) / 2
    r_k = np.einsum("id,jd,ij->jd", q, k, r_a / a) / 2
    wanted = sum(
        np.stack([shared(v[t][:, None] * w.T, r[t]) for t in range(frames)])
        for w, r in ((wq, r_q), (wk, r_k), (wv, r_v))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-12)


def test_an_lstm_step_by_step_its_gates_held() -> None:
    torch.manual_seed(2)
    size, units, frames = 3, 2, 4
    layer, last = nn.LSTM(size, units, batch_first=True, bias=False), nn.Linear(units, 1)
    assert last.bias is not None
    last.bias.data.zero_()
    net = Net(lambda s, x: s.o(s.r(x)[0][:, -1]), r=layer, o=last)
    x = torch.randn(1, frames, size).double()
    found = relevance(net, x)
    w, u = (p.detach().numpy() for p in layer.parameters())
    h, c = np.zeros(units), np.zeros(units)
    kept = []
    for v in x[0].numpy():
        i, f, g, o = np.split(w @ v + u @ h, 4)
        gates = [1 / (1 + np.exp(-z)) for z in (i, f, o)]
        before = c
        c = gates[1] * c + gates[0] * np.tanh(g)
        kept.append((v, h, before, gates, g, c))
        h = gates[2] * np.tanh(c)
    r_h, r_c = last.weight.detach().numpy()[0] * h, np.zeros(units)
    wanted = np.zeros((frames, size))
    inner = slice(2 * units, 3 * units)
    for t in range(frames - 1, -1, -1):
        v, before_h, before_c, gates, g, c = kept[t]
        r_c = r_c + r_h  # the gate and the activation hand on what they get
        r_g = r_c * gates[0] * np.tanh(g) / c
        r_c = r_c * gates[1] * before_c / c
        wanted[t] = (v[:, None] * w[inner].T / g * r_g).sum(1)
        r_h = (before_h[:, None] * u[inner].T / g * r_g).sum(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-12)


def test_a_gate_has_no_relevance_and_a_product_of_two_has_half_each() -> None:
    x = torch.tensor([[2.0, 3.0]]).double()
    gated = Net(lambda s, x: x[:, :1] * torch.sigmoid(x[:, 1:]))
    np.testing.assert_allclose(relevance(gated, x), [2 / (1 + np.exp(-3.0)), 0], rtol=1e-9)
    glu = relevance(Net(lambda s, x: nn.functional.glu(x, 1)), x)
    np.testing.assert_allclose(glu, [2 / (1 + np.exp(-3.0)), 0], rtol=1e-7)
    np.testing.assert_allclose(relevance(Net(lambda s, x: x[:, :1] * x[:, 1:]), x), [3, 3])


def test_the_rule_of_every_layer_is_named() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 4), nn.GLU(1))
    x = torch.randn(1, 4)
    assert rules_of(traced(net, x).steps(), rule("zplus")) == {
        "0": "alphabeta",
        "1": "unchanged",
        "2": "deviation held",
        "3": "alphabeta",
        "4": "gates held",
    }
