"""Label files and the recordings they belong to: beside each other, or in two trees alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechscope.corpus.files import (
    is_audio,
    ordered,
    recordings,
    speakers,
    split_of,
    stem_of,
    walk,
    word,
)
from speechscope.corpus.utterances import Scan, Utterance


@dataclass(frozen=True)
class _Pair:
    audio: Path
    labels: Path
    text: Path | None


def scan_pairs(root: Path, labels: tuple[str, ...], texts: tuple[str, ...]) -> Scan:
    """Find recordings and their label files, each named by the other.

    A label file and its recording have one name, apart from the suffix and from case. They lie
    in one folder, or else, if that is so for none, in two trees that differ in one folder's name
    (``wav/p225/a.wav``, ``TextGrid/p225/a.TextGrid``). What finds no partner is a problem.

    Parameters
    ----------
    root
        The corpus folder.
    labels
        Suffixes of label files, in lower case.
    texts
        Suffixes of files with the words, looked for beside the recording and the label file.
    """
    problems: list[str] = []
    kinds: dict[str, dict[Path, dict[str, Path]]] = {"audio": {}, "labels": {}, "texts": {}}
    for folder, files in walk(root, lambda n: is_audio(n) or n.endswith(labels + texts), problems):
        kinds["audio"][folder] = {s: folder / n for s, n in recordings(files).items()}
        for kind, suffixes in (("labels", labels), ("texts", texts)):
            ours = {stem_of(n): folder / n for n in files if n.lower().endswith(suffixes)}
            kinds[kind][folder] = ours if suffixes else {}
    pairs = _beside(kinds) or _mirrored(kinds, problems)
    used = {path for pair in pairs for path in (pair.audio, pair.labels)}
    for what, partner in (("audio", labels[0]), ("labels", "recording")):
        for files_of in kinds[what].values():
            for path in files_of.values():
                if path not in used:
                    problems.append(f"{path}: has no {partner} that goes with it")
    speaker = speakers(root, [pair.audio.parent for pair in pairs])
    found = []
    for pair in pairs:
        split = split_of(pair.audio.parent.relative_to(root))
        name = word(pair.labels.stem)
        folder = pair.audio.parent
        found.append(Utterance(split, speaker[folder], name, pair.audio, pair.labels, pair.text))
    return ordered(found, problems, root)


def _beside(kinds: dict[str, dict[Path, dict[str, Path]]]) -> list[_Pair]:
    pairs = []
    for folder, labels in kinds["labels"].items():
        sounds, texts = kinds["audio"][folder], kinds["texts"][folder]
        pairs += [
            _Pair(sounds[stem], path, texts.get(stem))
            for stem, path in labels.items()
            if stem in sounds
        ]
    return pairs


def _mirrored(kinds: dict[str, dict[Path, dict[str, Path]]], problems: list[str]) -> list[_Pair]:
    folders_of: dict[str, list[Path]] = {}
    for folder, sounds in kinds["audio"].items():
        for stem in sounds:
            folders_of.setdefault(stem, []).append(folder)
    pairs: dict[Path, _Pair] = {}
    for stem, path in _each(kinds["labels"]):
        alike = [f for f in folders_of.get(stem, []) if _mirrors(path.parent, f)]
        if len(alike) > 1:
            names = ", ".join(str(kinds["audio"][f][stem]) for f in alike)
            problems.append(f"{path}: could belong to any of {names}")
        elif alike:
            audio = kinds["audio"][alike[0]][stem]
            if audio in pairs:
                problems.append(f"{path}: {audio} has labels in {pairs[audio].labels}, too")
                continue
            text = kinds["texts"][path.parent].get(stem) or kinds["texts"][alike[0]].get(stem)
            pairs[audio] = _Pair(audio, path, text)
    return list(pairs.values())


def _each(files: dict[Path, dict[str, Path]]) -> Iterator[tuple[str, Path]]:
    for of_folder in files.values():
        yield from of_folder.items()


def _mirrors(one: Path, other: Path) -> bool:
    """Whether two folders differ in one part of their paths at most."""
    a, b = list(one.parts), list(other.parts)
    for end in (0, -1):
        while a and b and a[end] == b[end]:
            a.pop(end)
            b.pop(end)
    return len(a) <= 1 and len(b) <= 1
