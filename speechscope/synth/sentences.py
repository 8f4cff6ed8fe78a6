"""What the speakers of the synthesized corpus read.

TIMIT's plan (Garofolo et al. 1993) with sentences of our own: two dialect sentences that everybody
reads (SA), phonetically compact sentences that several speakers read (SX), and diverse sentences
that one speaker reads (SI). SX and SI are rich in the phones that are rare in English: every
sentence was written around some of oy, zh, uh, th, ch, jh, aw, y, en, el and dx.

``sentences.txt`` lists them; SI sentences are formed from templates and lists of words, the number
of the sentence deciding the words, so that there are as many as TIMIT has.
"""

from pathlib import Path

FIRST_SI = 451
"""Number of the first SI sentence; TIMIT's SX are 1–450, its SI 451–2342."""

SI_SENTENCES = 1890
"""How many SI sentences there are: three for each of TIMIT's 630 speakers."""


def _lists() -> dict[str, tuple[str, ...]]:
    """Read ``sentences.txt``: lines under headings."""
    lists: dict[str, list[str]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            lists[line.strip("[]")] = listed = []
        elif line and not line.startswith("#"):
            listed.append(line)
    return {name: tuple(lines) for name, lines in lists.items()}


_LISTS = _lists()
SA, SX = _LISTS["SA"], _LISTS["SX"]
"""The sentences that everybody reads, and those that several speakers read."""


def si_sentence(number: int) -> str:
    """Return one of the SI sentences.

    Parameters
    ----------
    number
        From ``FIRST_SI`` to ``FIRST_SI + SI_SENTENCES - 1``.
    """
    templates = _LISTS["SI"]
    index, template = divmod(number - FIRST_SI, len(templates))

    def pick(kind: str, step: int, start: int = 0) -> str:
        # Steps that differ, and lists of different lengths, keep words from recurring together.
        words = _LISTS[kind]
        return words[(index * step + template + start) % len(words)]

    verb, past, doing = pick("verb", 1).split()
    verb_2, past_2, _ = pick("verb", 1, 7).split()
    return templates[template].format(
        name=pick("name", 3),
        person=pick("person", 2),
        thing=pick("thing", 5),
        thing_2=pick("thing", 5, 11),
        adjective=pick("adjective", 7),
        adjective_2=pick("adjective", 7, 13),
        verb=verb,
        past=past,
        doing=doing,
        verb_2=verb_2,
        past_2=past_2,
        place=pick("place", 4),
        time=pick("time", 2),
    )
