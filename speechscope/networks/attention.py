"""Attention, written out in the steps that methods have rules for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(Q Kᵀ / √d + mask) V, as `scaled_dot_product_attention` without dropout.

    Source: Vaswani et al. (2017), eq. 1.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    factor = query.size(-1) ** -0.5 if scale is None else scale
    if is_causal:
        shown = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device)
        attn_mask = shown.tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = _added(~attn_mask, query)
    return torch.matmul(weights_of(query * factor, key, attn_mask), value)


def weights_of(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(Q Kᵀ + mask)."""
    scores = torch.matmul(query, key.transpose(-2, -1))
    return torch.softmax(scores if mask is None else scores + mask, -1)


REST = (
    *("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "dropout_p"),
    *("out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights"),
    *("attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    *("static_k", "static_v", "average_attn_weights", "is_causal"),
)
"""Arguments of `multi_head_attention_forward` after the number of heads."""


def multi_head(
    query: Tensor, key: Tensor, value: Tensor, size: int, heads: int, *rest: Any, **more: Any
) -> tuple[Tensor, Tensor | None]:
    """Return what `multi_head_attention_forward` does in evaluation.

    Arguments as that function has them; queries (T, B, D) or (T, D). Source: Vaswani et al.
    (2017), sec. 3.2.2.

    Raises
    ------
    NotImplementedError
        Biases of keys and values, a zero attention or static keys are asked for.
    """
    more = {**dict(zip(REST, rest, strict=False)), **more}
    if any(more.get(name) is not None for name in ("bias_k", "static_k", "static_v")) or more.get(
        "add_zero_attn"
    ):
        raise NotImplementedError("attention with biases of keys or static keys")
    alone = query.dim() == 2
    if alone:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    if more.get("use_separate_proj_weight"):
        projections = [more[f"{name}_proj_weight"] for name in "qkv"]
    else:
        projections = list(more["in_proj_weight"].chunk(3))
    bias = more.get("in_proj_bias")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    parts = zip((query, key, value), projections, biases, strict=True)
    q, k, v = (
        functional.linear(x, weight, bias).view(*x.shape[:2], heads, -1).permute(1, 2, 0, 3)
        for x, weight, bias in parts
    )
    mask = _mask(more.get("attn_mask"), more.get("key_padding_mask"), q)
    weights = weights_of(q * q.size(-1) ** -0.5, k, mask)
    joined = torch.matmul(weights, v).permute(2, 0, 1, 3).flatten(2)
    out = functional.linear(joined, more["out_proj_weight"], more.get("out_proj_bias"))
    shown = weights.mean(1) if more.get("average_attn_weights", True) else weights
    if not more.get("need_weights", True):
        return (out.squeeze(1) if alone else out), None
    return (out.squeeze(1), shown.squeeze(0)) if alone else (out, shown)


def _mask(attending: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """Return masks of pairs and of keys as one that is added, (B or 1, heads or 1, T, T)."""
    total: Tensor | None = None
    if attending is not None:
        total = _added(attending, q)
        if total.dim() == 3:
            total = total.view(-1, q.shape[1], *total.shape[1:])
    if padding is not None:
        keys = _added(padding, q).view(-1, 1, 1, padding.shape[-1])
        total = keys if total is None else total + keys
    return total


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(
        mask, -torch.inf
    )


DECOMPOSED: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head,
}
"""Functions of PyTorch that are written out wherever layers are named."""
