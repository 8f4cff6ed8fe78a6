"""LibriSpeech's layout: ``speaker/chapter/*.flac``, and the words in a ``.trans.txt`` a chapter."""

from pathlib import Path

from speechscope.corpus.files import (
    check_folder,
    is_audio,
    ordered,
    read_text,
    recordings,
    speakers,
    split_of,
    stem_of,
    walk,
    word,
)
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Utterance
from speechscope.errors import SpeechscopeError

SUFFIX = ".trans.txt"


class LibriSpeech:
    """See the module."""

    name = "librispeech"
    tiers = False

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        return name.endswith(SUFFIX)

    def scan(self, root: Path) -> Scan:
        """Find the utterances; ``train-…``, ``dev-…`` and ``test-…`` above them are the splits.

        Raises
        ------
        SpeechscopeError
            There is no such folder, or no recording with words in it.
        """
        check_folder(root)
        problems: list[str] = []
        heard: list[tuple[Path, Path]] = []
        for folder, files in walk(root, lambda n: is_audio(n) or n.endswith(SUFFIX), problems):
            sounds = recordings(files)
            for name in (n for n in files if n.lower().endswith(SUFFIX)):
                heard += _utterances(folder / name, sounds, problems)
            missing = [f"{folder / name}: has no words in a {SUFFIX}" for name in sounds.values()]
            problems += missing
        if not heard:
            raise SpeechscopeError(f"{root} holds no recording with words in a {SUFFIX}")
        speaker = speakers(root, [audio.parent for audio, _ in heard])
        found = [
            Utterance(
                split_of(audio.parent.relative_to(root)),
                _speaker(audio) or speaker[audio.parent],
                word(audio.stem),
                audio,
                text=text,
            )
            for audio, text in heard
        ]
        return ordered(found, problems, root)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Refuse: the layout has no time marks.

        Raises
        ------
        BadRecording
            Always.
        """
        raise BadRecording(f"has no time marks: a {SUFFIX} holds words only")

    def text(self, utterance: Utterance) -> str:
        """Return the words on the line of the utterance.

        Raises
        ------
        BadRecording
            It has none.
        """
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
    words = _lines(path).get(stem_of(audio.name))
    if not words:
        raise BadRecording(f"{path.name} has no words for it")
    return words


def _lines(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in read_text(path).split("\n"):
        words = line.split()
        if not words:
            continue
        name = words.pop(0).lower()
        if name in found:
            raise BadRecording(f"{path.name} has two lines for {name}")
        found[name] = " ".join(words)
    return found


def _utterances(path: Path, sounds: dict[str, str], problems: list[str]) -> list[tuple[Path, Path]]:
    """Return recordings with words in a file, and take them out of `sounds`."""
    try:
        lines = _lines(path)
    except BadRecording as error:
        problems.append(f"{path}: {error}")
        return []
    found = []
    for name, words in lines.items():
        if name not in sounds:
            problems.append(f"{path}: has words for {name}, but no recording is beside it")
        elif not words:
            problems.append(f"{path}: has no words for {sounds.pop(name)}")
        else:
            found.append((path.parent / sounds.pop(name), path))
    return found


def _speaker(audio: Path) -> str:
    """Return the first part of ``speaker-chapter-number``, or nothing for another name."""
    parts = audio.stem.split("-")
    return word(parts[0]) if len(parts) == 3 and parts[0] in audio.parent.parts else ""
