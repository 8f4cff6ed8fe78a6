"""The order of axes in which a network takes inputs, written as B,C,F,T."""

import re
from collections.abc import Sequence

from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Shape

FORMS = {
    "maps": "B,C,F,T",
    "rows": "B,(CF),T",
    "values": "B,(CFT)",
    "frames": "B,T,(CF)",
    "time-first": "B,C,T,F",
}
"""Orders that are tried where none is given, by name."""
OWN, OTHER = ("maps", "rows", "values"), ("frames", "time-first")
"""Those that keep the order that a corpus has, and those that are tried if none of them fits."""


def parsed(text: str) -> tuple[str, ...]:
    """Return the axes of an order, each the letters that are joined to it; "" has one value.

    Letters are B items, C channels, F frequency, T time; 1 is an axis of one value, and those in
    parentheses are joined: B,C,F,T; B1TF; B,T,(CF). Letters that are left out have one value.

    Raises
    ------
    UsageProblem
        It is no such order.
    """
    plain = re.sub(r"[\s,×x]", "", FORMS.get(text, text)).upper()
    parts = re.findall(r"\([CFT]+\)|[BCFT1]", plain)
    axes = tuple(part.strip("()1") for part in parts)
    letters = "".join(axes)
    if "".join(parts) != plain or len(set(letters)) < len(letters) or axes.count("B") != 1:
        raise UsageProblem(
            f"--axes {text}: give B, C, F and T in the network's order, 1 for an axis of one "
            "value, and in parentheses what is joined, such as B,C,F,T or B,1,T,F or B,T,(CF)"
        )
    return axes


def check(axes: Sequence[str], shape: Shape, text: str) -> None:
    """Refuse to leave out axes of inputs of a shape (C, F, T) that have several values.

    Raises
    ------
    UsageProblem
        One has.
    """
    for letter, size in zip("CFT", shape, strict=True):
        if size > 1 and not any(letter in axis for axis in axes):
            raise UsageProblem(
                f"--axes {text}: {letter} is left out, and inputs (C, F, T) are {tuple(shape)}"
            )


def ordered(x: Tensor, axes: Sequence[str]) -> Tensor:
    """Return inputs (B, C, F, T) in an order of axes, as `parsed` gives it."""
    sizes = dict(zip("BCFT", x.shape, strict=True))
    letters = "".join(axes)
    left_out = [letter for letter in "BCFT" if letter not in letters]
    moved = x.permute(*("BCFT".index(letter) for letter in (*letters, *left_out)))
    shape = []
    for axis in axes:
        size = 1
        for letter in axis:
            size *= sizes[letter]
        shape.append(size)
    return moved.reshape(shape)
