"""Where in an input its class was found, and the input moved so that this is its middle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.registry import ALIGNMENTS


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
ALIGNMENTS.register("min-sensitivity")(Alignment("gradient", lambda found: -found.amin((1, 2))))
ALIGNMENTS.register("max-sensitivity")(Alignment("gradient", lambda found: found.amax((1, 2))))
ALIGNMENTS.register("max-lrp")(Alignment("lrp", lambda found: found.amax((1, 2))))


def needed(names: tuple[str, ...]) -> dict[str, str]:
    """Return the methods of relevance that alignments need, each with the last that does."""
    entries = {name: ALIGNMENTS[name].relevance for name in names}
    return {method: name for name, method in entries.items() if method}


def shifts(name: str, relevance: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return how far after the middle frame each item's chosen frame lies, (B,) [frames].

    The chosen frame is the one that holds the largest value of LRP, the largest of the
    sensitivity or its smallest; the middle frame is T // 2. Krug 2018, sec. 3.6. Of several frames
    with the same value the one nearest the middle counts, and of two of those the earlier
    (chosen: without evidence nothing moves).

    Parameters
    ----------
    name
        Of an `Alignment`.
    relevance
        (B, C, F, T) by method.
    like
        The inputs (B, C, F, T).
    """
    frames = like.shape[-1]
    alignment: Alignment = ALIGNMENTS[name]
    if alignment.evidence is None:
        return torch.zeros(len(like), dtype=torch.int64, device=like.device)
    best = alignment.evidence(relevance[alignment.relevance])
    highest = best == best.amax(1, keepdim=True)
    away = torch.arange(frames, device=like.device) - frames // 2
    # 0 in the middle, then −1, +1, −2, +2, …
    rank = 2 * away.abs() - (away < 0).long()
    chosen = torch.where(highest, rank, 2 * frames).argmin(1)
    return chosen - frames // 2


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
