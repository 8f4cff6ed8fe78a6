"""LibriSpeech's layout: ``speaker/chapter/*.flac``, and the words in a ``.trans.txt`` a chapter."""

from dataclasses import replace
from pathlib import Path

from speechscope.corpus import files, pairing
from speechscope.corpus.layouts import Layout
from speechscope.corpus.utterances import BadRecording, Marks, Utterance
from speechscope.registry import LAYOUTS

SUFFIX = ".trans.txt"


@LAYOUTS.register("librispeech")
class LibriSpeech(Layout):
    """See the module; ``train-…``, ``dev-…`` and ``test-…`` above the speakers are the splits."""

    rank = 3
    tiered = False
    needs = f"recording with words in a {SUFFIX}"
    timed = False

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(SUFFIX)

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`."""
        heard: list[tuple[Path, Path | None, Path | None]] = []
        for held in pairing.by_folder(root, (SUFFIX,), (), problems).values():
            for path in held.labels.values():
                heard += [(sound, None, path) for sound in _heard(path, held.sounds, problems)]
            problems += [f"{path}: has no words in a {SUFFIX}" for path in held.sounds.values()]
        every = self.sorting().utterances(root, heard, problems)
        if self.speaker_pattern is not None:
            return every
        return [replace(u, speaker=_speaker(u.audio) or u.speaker) for u in every]

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Refuse: the layout has no time marks."""
        raise BadRecording(f"has no time marks: a {SUFFIX} holds words only")

    def text(self, utterance: Utterance) -> str:
        """See `Layout`: the words on the line of the utterance."""
        if utterance.text is None:
            raise BadRecording(f"has no {SUFFIX}")
        return words_of(utterance.text, utterance.audio)


def words_of(path: Path, audio: Path) -> str:
    """Return the words that a ``.trans.txt`` gives a recording.

    Raises
    ------
    BadRecording
        The file cannot be read, has no line for it, or none that holds a word.
    """
    words = _lines(path).get(pairing.folded(pairing.stem_of(audio.name)))
    if not words:
        raise BadRecording(f"{path.name} has no words for it")
    return words


def _lines(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for _, line in files.numbered_lines(path):
        name, *words = line.split()
        name = pairing.folded(name)
        if name in texts:
            raise BadRecording(f"{path.name} has two lines for {name}")
        texts[name] = " ".join(words)
    return texts


def _heard(path: Path, sounds: pairing.Files, problems: list[str]) -> list[Path]:
    """Return recordings with words in a file, and take them out of `sounds`."""
    try:
        lines = _lines(path)
    except BadRecording as error:
        problems.append(f"{path}: {error}")
        return []
    heard = []
    for name, words in lines.items():
        if name not in sounds:
            problems.append(f"{path}: has words for {name}, but no recording is beside it")
        elif not words:
            problems.append(f"{path}: has no words for {sounds.pop(name).name}")
        else:
            heard.append(sounds.pop(name))
    return heard


def _speaker(audio: Path) -> str:
    """Return the first part of ``speaker-chapter-number``, or nothing for another name."""
    parts = audio.stem.split("-")
    return files.word(parts[0]) if len(parts) == 3 and parts[0] in audio.parent.parts else ""
