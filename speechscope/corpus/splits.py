"""Which recordings of a corpus are wanted, and in which split each is."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.files import numbered_lines
from speechscope.corpus.pairing import SPLIT_FOLDERS
from speechscope.corpus.utterances import Utterance
from speechscope.errors import SpeechscopeError, UsageProblem

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

OF_SPEAKERS = "recordings:0.1"
"""Muckenhirn 2019, sec. 4.1: of a speaker's ten utterances nine are trained on."""


def wanted_of(
    utterances: Sequence[Utterance], layout: str, settings: "Prepare", dropped: Counter[str]
) -> list[Utterance]:
    """Return the recordings that the settings ask for, and count the others in `dropped`."""
    wanted = list(utterances)
    if settings.drop_sa and layout == "timit":
        wanted = [u for u in wanted if not u.is_sa]
        dropped["SA sentences"] = len(utterances) - len(wanted)
    if settings.labels == "speaker" and any(u.split for u in wanted):
        # Muckenhirn 2019, sec. 4.1: "the 462 speakers in the training set". Where that has one
        # recording of each, there is none left to recognize them in: then whoever has several.
        training = [u for u in wanted if u.split == "train"]
        several = _of_several(wanted)
        if _of_several(training) or not several:
            dropped["of speakers outside the training folder"] = len(wanted) - len(training)
            wanted = training
        else:
            dropped["of speakers with one recording"] = len(wanted) - len(several)
            wanted = several
    return wanted


def _of_several(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return the recordings of speakers who have more than one."""
    counts = Counter(u.speaker for u in utterances)
    return [u for u in utterances if counts[u.speaker] > 1]


DEFAULT_SHARE = "share:test=0.25"
"""Chosen, where a corpus does not say itself: about TIMIT's own share of test speakers (168 of
630)."""

_RULES = "folder, test, speakers:FILE, share:0.2, share:test=0.2,dev=0.1, recordings:0.2"


def rule_of(utterances: Sequence[Utterance], settings: "Prepare", notes: list[str]) -> str:
    """Return the rule by which utterances are divided; tell in `notes` what was chosen.

    Raises
    ------
    UsageProblem
        The rule parts speakers who are to be recognized.
    """
    rule, of_speakers = settings.split, settings.labels == "speaker"
    if rule == "auto" and of_speakers:
        rule = OF_SPEAKERS
    elif rule == "auto":
        rule = "folder" if all(u.split for u in utterances) else DEFAULT_SHARE
        if rule != "folder" and len(utterances) > 1:
            several = len({u.speaker for u in utterances}) > 1
            notes.append(
                f"no folder says what to test on: --split {rule}, "
                + (
                    "by speaker"
                    if several
                    else "by recording (of one speaker; or --speaker-pattern)"
                )
            )
    if of_speakers and rule.startswith(("folder", "share")):
        raise UsageProblem(
            f"--split {rule}: speakers to be recognized have to be in every split; "
            f"--split {OF_SPEAKERS} holds out a share of the recordings of each"
        )
    return rule


def assign(
    utterances: Sequence[Utterance], rule: str, *, dev: float = 0.0, seed: int = 0
) -> dict[str, str]:
    """Return the split of every utterance, by its identity.

    Parameters
    ----------
    rule
        ``folder``: as the layout says. ``test``: all are test material. ``speakers:FILE``: lines
        ``speaker split``, or ``speaker/name split`` for one recording. ``share:0.2`` or
        ``share:test=0.2,dev=0.1``: a
        random share of the speakers, each of them in one split only; of the recordings, where all
        are one speaker's. ``recordings:0.2``: a random share of every speaker's recordings, for
        tasks that tell speakers apart.
    dev
        Share of the training speakers set apart as the dev split, unless the rule gives one.
    seed
        Draws them.

    Raises
    ------
    UsageProblem
        There is no such rule, or its shares leave nothing to train on.
    SpeechscopeError
        The rule does not cover an utterance, or its file is malformed.
    """
    kind, _, rest = rule.partition(":")
    if rule == "test":
        split_of = dict.fromkeys((u.identity for u in utterances), "test")
    elif kind == "folder" and not rest:
        split_of = _folder(utterances)
    elif kind == "speakers" and rest:
        split_of = _listed(utterances, Path(rest))
    elif kind in ("share", "recordings"):
        shares = _shares(rule, rest)
        if "dev" in shares:
            dev = 0.0
        split_of = _shared(utterances, shares, seed, by_speaker=kind == "share")
    else:
        raise UsageProblem(f"no split is called {rule}; choose from {_RULES}")
    if dev > 0:
        training = sorted({u.speaker for u in utterances if split_of[u.identity] == "train"})
        rng = np.random.default_rng([seed, 0x5EED])
        held_out = set(rng.permutation(training)[: round(dev * len(training))].tolist())
        for u in utterances:
            if split_of[u.identity] == "train" and u.speaker in held_out:
                split_of[u.identity] = "dev"
    return split_of


def _folder(utterances: Sequence[Utterance]) -> dict[str, str]:
    for utterance in utterances:
        if not utterance.split:
            raise SpeechscopeError(
                f"{utterance.audio}: no folder says which split it is in; "
                f"choose another than `folder`: {_RULES}"
            )
    return {u.identity: u.split for u in utterances}


def _listed(utterances: Sequence[Utterance], path: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for number, line in numbered_lines(path):
        words = line.split()
        if len(words) != 2 or words[1].lower() not in SPLIT_FOLDERS:
            raise SpeechscopeError(f"{path} line {number} is not `speaker train|dev|test`")
        split = SPLIT_FOLDERS[words[1].lower()]
        if listed.setdefault(words[0], split) != split:
            raise SpeechscopeError(f"{path} line {number} gives {words[0]} a second split")
    split_of = {u.identity: listed.get(u.key) or listed.get(u.speaker, "") for u in utterances}
    for utterance in utterances:
        if not split_of[utterance.identity]:
            raise SpeechscopeError(f"{path} has no line for the speaker {utterance.speaker}")
    return split_of


def _shares(rule: str, rest: str) -> dict[str, float]:
    """Read ``0.2`` or ``test=0.2,dev=0.1``."""
    shares: dict[str, float] = {}
    for part in rest.split(","):
        name, equals, number = part.rpartition("=")
        name = name.strip() if equals else "test"
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if name not in ("test", "dev") or name in shares or not 0 < share < 1:
            raise UsageProblem(f"{rule}: give shares such as share:0.2 or share:test=0.2,dev=0.1")
        shares[name] = share
    if sum(shares.values()) >= 1:
        raise UsageProblem(f"{rule} leaves nothing to train on")
    return shares


def _shared(
    utterances: Sequence[Utterance], shares: dict[str, float], seed: int, *, by_speaker: bool
) -> dict[str, str]:
    own: dict[str, list[str]] = {}
    for utterance in utterances:
        own.setdefault(utterance.speaker, []).append(utterance.identity)
    if by_speaker and len(own) > 1:
        split = _draw(sorted(own), shares, np.random.default_rng([seed, 0x5A4E]))
        return {u.identity: split[u.speaker] for u in utterances}
    split_of: dict[str, str] = {}
    for number, (_, names) in enumerate(sorted(own.items())):
        split_of |= _draw(sorted(names), shares, np.random.default_rng([seed, 0x5A4E, number]))
    return split_of


def _draw(names: list[str], shares: dict[str, float], rng: np.random.Generator) -> dict[str, str]:
    """Give each split its share of the names, at least one, and the training split what is left."""
    order: list[str] = rng.permutation(names).tolist()
    split_of: dict[str, str] = {}
    for split, share in shares.items():
        # One name at least stays for training.
        count = min(max(round(share * len(names)), 1), len(order) - 1)
        split_of |= dict.fromkeys(order[:count], split)
        order = order[count:]
    return split_of | dict.fromkeys(order, "train")
