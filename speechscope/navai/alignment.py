"""Where in an input its class was found, and the input moved so that this is its middle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.networks.graph import OF_ANY_LAYER, Untreatable
from speechscope.registry import ALIGNMENTS
from speechscope.relevance.explain import Explained, per_class, predicted
from speechscope.relevance.lrp import lrp

if TYPE_CHECKING:
    from speechscope.stages.navai import Navai


@dataclass(frozen=True)
class Alignment:
    """Which frame of an input becomes its middle: the one with most evidence.

    Parameters
    ----------
    relevance
        The method of relevance it rests on, ``gradient`` or ``lrp``; "": inputs stay as they are.
    evidence
        Of every frame (B, T), from that relevance (B, C, F, T).
    """

    relevance: str = ""
    evidence: Callable[[Tensor], Tensor] | None = None


# In the order of Krug 2018, fig. 3.
ALIGNMENTS.register("none")(Alignment())
ALIGNMENTS.register("min-sensitivity")(Alignment("gradient", lambda slope: -slope.amin((1, 2))))
ALIGNMENTS.register("max-sensitivity")(Alignment("gradient", lambda slope: slope.amax((1, 2))))
ALIGNMENTS.register("max-lrp")(Alignment("lrp", lambda relevance: relevance.amax((1, 2))))


def needed(names: Sequence[str]) -> dict[str, str]:
    """Return the methods of relevance that alignments need, each with one that does."""
    methods = {ALIGNMENTS[name].relevance: name for name in names}
    return {method: name for method, name in methods.items() if method}


def answered(
    of: Explained, settings: "Navai", x: Tensor, target: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the classes of inputs, (B,), and by alignment their shifts, (A, B) [frames].

    One forward pass, one backward pass for the sensitivity and one of LRP, as far as the alignments
    need them.

    Parameters
    ----------
    of
        The network.
    x
        (B, C, F, T), as the network takes them.
    target
        The classes where they are known; None: those predicted.
    """
    methods = needed(settings.alignments)
    relevance: dict[str, Tensor] = {}
    if "gradient" in methods or target is None:
        with torch.set_grad_enabled("gradient" in methods):
            place = x.detach().requires_grad_("gradient" in methods)
            scores = per_class(of.scores(place.clone()))
            if target is None:
                target = predicted(scores.detach())
            if "gradient" in methods:
                # Krug 2018, eq. 1: of the score before softmax (sec. 3.4).
                chosen = scores.gather(1, target[:, None]).sum()
                if not chosen.requires_grad:
                    raise Untreatable(
                        "no slope leads from the scores to the input: the network stops it (a "
                        "detach, a threshold, a rounding, no_grad); --align none needs none"
                    )
                (relevance["gradient"],) = torch.autograd.grad(chosen, place)
    assert target is not None
    if "lrp" in methods:
        try:
            relevance["lrp"] = lrp(of, x, target, settings)
        except Untreatable as error:
            reason = str(error).removesuffix(f"; {OF_ANY_LAYER}")
            free = [name for name in ALIGNMENTS.names() if ALIGNMENTS[name].relevance != "lrp"]
            raise Untreatable(f"{reason}; --align {','.join(free)} takes any layer") from error
    return target, shifts(settings.alignments, relevance, x)


def shifts(names: Sequence[str], relevance: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return how far after the middle frame each input's chosen frame lies, (A, B) [frames].

    The chosen frame is the one that holds the largest value of LRP, the largest of the
    sensitivity or its smallest; the middle frame is T // 2. Krug 2018, sec. 3.6. Of several frames
    with the same value the one nearest the middle counts, and of two of those the earlier
    (chosen: without evidence nothing moves).

    Parameters
    ----------
    names
        Of alignments.
    relevance
        (B, C, F, T) by method.
    x
        The inputs (B, C, F, T).
    """
    frames = x.shape[-1]
    away = torch.arange(frames, device=x.device) - frames // 2
    # 0 in the middle, then −1, +1, −2, +2, …
    rank = 2 * away.abs() - (away < 0).long()
    chosen = torch.zeros(len(names), len(x), dtype=torch.int64, device=x.device)
    for row, name in zip(chosen, names, strict=True):
        alignment: Alignment = ALIGNMENTS[name]
        if alignment.evidence is not None:
            evidence = alignment.evidence(relevance[alignment.relevance])
            highest = evidence == evidence.amax(1, keepdim=True)
            row[:] = torch.where(highest, rank, 2 * frames).argmin(1) - frames // 2
    return chosen


def crop(shift: int, frames: int) -> tuple[slice, slice]:
    """Return which frames of an input are left, and where they stand, the chosen one in the middle.

    Of T frames the first 2s are cut off where the chosen frame lies s after the middle, and the
    last 2s where it lies s before; T − 2s are left, whose middle it is. They stand in the middle of
    T frames. Krug 2018, sec. 3.6: the procedure "crops the spectrogram frames on one side"; and
    sec. 4.3: "the beginning and end of the averaged frame implicitly has lower values", zero for
    what is cut off.

    Parameters
    ----------
    shift
        Of the chosen frame after the middle, from `shifts` [frames].
    frames
        T.
    """
    low, high = abs(shift), frames - abs(shift)
    if high <= low:  # the chosen frame itself is left even where nothing else is
        low, high = frames // 2, frames // 2 + 1
    return slice(low + shift, high + shift), slice(low, high)


def frames_left(shift: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Return where `crop` reads every frame (…, T), and where it leaves none; shifts are (…)."""
    place, apart = torch.arange(frames, device=shift.device), shift.abs()[..., None]
    middle = (2 * apart >= frames) & (place == frames // 2)
    left = ((place >= apart) & (place < frames - apart)) | middle
    return torch.where(left, place + shift[..., None], 0), left


def cropped(x: Tensor, place: Tensor, left: Tensor) -> Tensor:
    """Return inputs (B, C, F, T) as `crop` leaves them, 0 elsewhere; (B, T) from `frames_left`."""
    read = x.gather(3, place[:, None, None].expand_as(x))
    return torch.where(left[:, None, None], read, 0.0)
