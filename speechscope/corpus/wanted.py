"""Which recordings of a corpus are wanted, and in which split each is."""

from collections import Counter
from collections.abc import Sequence

from speechscope.corpus import splits
from speechscope.corpus.layouts import Layout
from speechscope.corpus.reading import Losses
from speechscope.corpus.settings import Settings
from speechscope.corpus.utterances import Utterance
from speechscope.errors import UsageProblem

OF_SPEAKERS = "recordings:0.1"
"""Muckenhirn 2019, sec. 4.1: of a speaker's ten utterances nine are trained on."""


def wanted_of(
    found: Sequence[Utterance], layout: Layout, settings: Settings, losses: Losses
) -> list[Utterance]:
    """Return the recordings that the settings ask for, and count the others in `losses`."""
    wanted = list(found)
    if settings.drop_sa and layout.name == "timit":
        wanted = [u for u in wanted if not u.is_sa]
        losses.dropped["SA sentences"] = len(found) - len(wanted)
    if settings.labels == "speaker" and any(u.split for u in wanted):
        # Muckenhirn 2019, sec. 4.1: "the 462 speakers in the training set". Where that has one
        # recording of each, there is none left to recognize them in: then whoever has several.
        training = [u for u in wanted if u.split == "train"]
        several = _of_several(wanted)
        if _of_several(training) or not several:
            losses.dropped["of speakers outside the training folder"] = len(wanted) - len(training)
            wanted = training
        else:
            losses.dropped["of speakers with one recording"] = len(wanted) - len(several)
            wanted = several
    return wanted


def _of_several(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return the recordings of speakers who have more than one."""
    counts = Counter(u.speaker for u in utterances)
    return [u for u in utterances if counts[u.speaker] > 1]


def splits_of(
    utterances: Sequence[Utterance], settings: Settings
) -> tuple[dict[str, str], list[str]]:
    """Return the split of every utterance identity, and what to tell of the choice.

    Raises
    ------
    UsageProblem
        The rule parts speakers who are to be recognized, or is malformed.
    """
    rule, notes = settings.split, []
    if rule == "auto" and settings.labels == "speaker":
        rule = OF_SPEAKERS
    elif rule == "auto":
        rule = splits.default_rule(utterances)
        if rule != "folder":
            notes = [f"no folder says what to test on: --split {rule}, by speaker"]
    if settings.labels == "speaker" and rule.startswith(("folder", "share")):
        raise UsageProblem(
            f"--split {rule}: speakers to be recognized have to be in every split; "
            f"--split {OF_SPEAKERS} holds out a share of the recordings of each"
        )
    return splits.assign(utterances, rule, dev=settings.dev, seed=settings.seed), notes
