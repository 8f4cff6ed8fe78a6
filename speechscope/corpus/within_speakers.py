"""Splits for recognizing speakers: some utterances of every speaker are held out."""

import re
from collections.abc import Sequence

import numpy as np

from speechscope.corpus.utterances import Utterance
from speechscope.errors import UsageProblem

DEFAULT = 0.1
"""Muckenhirn 2019, sec. 4.1: of a speaker's ten utterances nine are trained on."""

_RULE = re.compile(r"within:(0?\.\d+)")


def within_speakers(
    utterances: Sequence[Utterance], rule: str, dev: float, seed: int
) -> dict[str, str]:
    """Return the split of every utterance identity, all speakers being in all splits.

    Parameters
    ----------
    utterances
        All of the corpus.
    rule
        ``auto``, or ``within:0.1``: the share of each speaker's utterances that is tested on; at
        least one, of speakers with two.
    dev
        Share of the others that is set apart.
    seed
        Draws them; each speaker has a stream of random numbers of its own.

    Raises
    ------
    UsageProblem
        The rule is another.
    """
    match = _RULE.fullmatch(rule)
    if match is None and rule != "auto":
        raise UsageProblem(
            f"--split {rule}: speakers to be recognized stand in every split; "
            "give the share of their utterances to test on, such as within:0.1"
        )
    share = float(match[1]) if match else DEFAULT
    by_speaker: dict[str, list[str]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance.identity)
    found: dict[str, str] = {}
    for number, (_, identities) in enumerate(sorted(by_speaker.items())):
        rng = np.random.default_rng([seed, 0x5EED, number])
        order = rng.permutation(sorted(identities)).tolist()
        count = len(order)
        tested = min(count - 1, max(1, round(share * count)))
        held = round(dev * (count - tested))
        for index, identity in enumerate(order):
            found[identity] = (
                "test" if index < tested else "dev" if index < tested + held else "train"
            )
    return found
