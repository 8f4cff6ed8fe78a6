"""Values of what no paper speaks of: the demonstration corpus, and amounts of augmentation."""

from speechscope.errors import UsageProblem
from speechscope.recipes.values import Table, Value

AUGMENT: Table = {
    "warp": Value(0.1, "chosen: vocal tracts differ by about as much"),
    "bins": Value(2.0, "chosen: 80 Hz"),
    "stretch": Value(0.2, "chosen: speaking rates"),
    "frames": Value(1.0, "chosen: the precision of time marks"),
    "gain": Value(0.3, "chosen: 3 dB"),
    "noise": Value(0.0, "chosen: it did not help"),
}
"""Amounts of ``train --augment all``, and of those that are named without an amount."""

# What no paper speaks of: sizes of the demonstration corpus.
SYNTH: Table = {
    "speakers": Value(40, "chosen: enough voices to hold a quarter of them out"),
    "sentences": Value(10, "TIMIT: 2 SA, 5 SX and 3 SI per speaker"),
    "language": Value("en-us", "TIMIT's language"),
    "sphere": Value(False, "chosen: RIFF is read everywhere; TIMIT itself is SPHERE"),
}


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
