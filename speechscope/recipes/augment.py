"""Amounts of augmentation, of which no paper speaks."""

from collections.abc import Mapping

from speechscope.errors import UsageProblem
from speechscope.recipes.values import Value

AUGMENT: Mapping[str, Value] = {
    "warp": Value(0.1, "chosen: vocal tracts differ by about as much"),
    "bins": Value(2.0, "chosen: 80 Hz"),
    "stretch": Value(0.2, "chosen: speaking rates"),
    "frames": Value(1.0, "chosen: the precision of time marks"),
    "gain": Value(0.3, "chosen: 3 dB"),
    "noise": Value(0.0, "chosen: it did not help"),
}
"""Amounts of ``train --augment all``, and of those that are named without an amount."""


def augment_amounts(text: str) -> dict[str, float]:
    """Return the amounts of ``--augment``: none, all, or ``warp,gain=0.2``.

    Raises
    ------
    UsageProblem
        A name or an amount is none, or a name without an amount has no usual one.
    """
    usual = {name: value.value for name, value in AUGMENT.items()}
    if text in ("none", "all"):
        return usual if text == "all" else {}
    amounts = {}
    for part in text.split(","):
        name, given, number = part.partition("=")
        if usual.get(name) == 0 and not given:
            raise UsageProblem(f"--augment {part}: no amount of it helped; give one ({part}=0.1)")
        try:
            amounts[name] = float(number) if given else usual[name]
        except (KeyError, ValueError):
            amounts[name] = -1.0
        if name not in usual or not 0 <= amounts[name] < float("inf"):
            raise UsageProblem(
                f"--augment {part}: choose none, all, or some of {', '.join(usual)}, "
                "with =AMOUNT if wanted"
            )
    return amounts
