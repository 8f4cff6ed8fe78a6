from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from preparing import SETTINGS

from speechscope.corpus.splits import assign, rule_of
from speechscope.corpus.utterances import Utterance
from speechscope.errors import SpeechscopeError, UsageProblem


def corpus(speakers: int, each: int = 3, split: str = "") -> list[Utterance]:
    return [
        Utterance(split, f"p{speaker}", f"a{name}", Path(f"p{speaker}/a{name}.wav"))
        for speaker in range(speakers)
        for name in range(each)
    ]


def by_speaker(utterances: Sequence[Utterance], found: Mapping[str, str]) -> dict[str, str]:
    splits: dict[str, set[str]] = {}
    for u in utterances:
        splits.setdefault(u.speaker, set()).add(found[u.identity])
    assert all(len(s) == 1 for s in splits.values())
    return {speaker: s.pop() for speaker, s in splits.items()}


def test_folders_are_followed_and_dev_speakers_drawn_from_training_ones() -> None:
    utterances = [*corpus(20, split="train"), Utterance("test", "q", "a", Path("q"))]
    assert rule_of(utterances, SETTINGS, []) == "folder"
    assert set(assign(utterances, "folder").values()) == {"train", "test"}
    found = by_speaker(utterances, assign(utterances, "folder", dev=0.25, seed=3))
    assert Counter(found.values()) == {"train": 15, "dev": 5, "test": 1}
    assert found["q"] == "test"
    other = by_speaker(utterances, assign(utterances, "folder", dev=0.25, seed=4))
    assert other != found


def test_a_folder_that_does_not_say_is_named() -> None:
    utterances = [*corpus(1, split="train"), Utterance("", "q", "b", Path("q/b.wav"))]
    assert rule_of(utterances, SETTINGS, []) == "share:test=0.25"
    with pytest.raises(SpeechscopeError, match=r"q/b\.wav: no folder says"):
        assign(utterances, "folder")


def test_a_share_of_the_speakers_is_held_out() -> None:
    utterances = corpus(40)
    found = assign(utterances, "share:0.2", seed=1)
    assert Counter(by_speaker(utterances, found).values()) == {"test": 8, "train": 32}
    assert found == assign(utterances[::-1], "share:test=0.2", seed=1)
    assert found != assign(utterances, "share:0.2", seed=2)
    three = by_speaker(utterances, assign(utterances, "share:test=0.2,dev=0.1", dev=0.5))
    assert Counter(three.values()) == {"test": 8, "dev": 4, "train": 28}
    drawn = by_speaker(utterances, assign(utterances, "share:0.2", dev=0.25))
    assert Counter(drawn.values()) == {"test": 8, "dev": 8, "train": 24}


def test_few_speakers_fill_every_split_but_never_all() -> None:
    utterances = corpus(2)
    assert Counter(assign(utterances, "share:0.01").values()) == {"train": 3, "test": 3}
    assert Counter(assign(utterances, "share:0.99").values()) == {"train": 3, "test": 3}


def test_one_speakers_recordings_are_shared_out() -> None:
    assert Counter(assign(corpus(1, 8), "share:0.25").values()) == {"train": 6, "test": 2}
    assert Counter(assign(corpus(1, 1), "share:0.25").values()) == {"train": 1}


def test_recordings_can_be_shared_out_speaker_by_speaker() -> None:
    utterances = corpus(5, each=10)
    found = assign(utterances, "recordings:test=0.2,dev=0.1")
    for speaker in {u.speaker for u in utterances}:
        own = Counter(found[u.identity] for u in utterances if u.speaker == speaker)
        assert own == {"train": 7, "test": 2, "dev": 1}
    drawn = {
        frozenset(u.name for u in utterances[n : n + 10] if found[u.identity] == "test")
        for n in range(0, 50, 10)
    }
    assert len(drawn) > 1


def test_one_recording_of_each_speaker_can_be_held_out_for_development() -> None:
    utterances = corpus(4, each=10)
    found = assign(utterances, "recordings:dev=0.1", seed=1)
    for speaker in {u.speaker for u in utterances}:
        own = Counter(found[u.identity] for u in utterances if u.speaker == speaker)
        assert own == {"train": 9, "dev": 1}
    assert found == assign(utterances, "recordings:dev=0.1", seed=1)
    assert found != assign(utterances, "recordings:dev=0.1", seed=2)


def test_a_list_of_speakers_decides(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("p0 train\np1 TEST\n\np0/a2 valid\n")
    found = assign(corpus(2), f"speakers:{path}")
    assert [found[f"/p0/a{n}"] for n in range(3)] == ["train", "train", "dev"]
    assert found["/p1/a0"] == "test"
    with pytest.raises(SpeechscopeError, match="has no line for the speaker p2"):
        assign(corpus(3), f"speakers:{path}")
    path.write_text("p0 train\np0 test\n")
    with pytest.raises(SpeechscopeError, match="line 2 gives p0 a second split"):
        assign(corpus(1), f"speakers:{path}")
    path.write_text("p0\n")
    with pytest.raises(SpeechscopeError, match="line 1 is not"):
        assign(corpus(1), f"speakers:{path}")
    with pytest.raises(SpeechscopeError, match="cannot be read"):
        assign(corpus(1), f"speakers:{tmp_path / 'nothing'}")


@pytest.mark.parametrize(
    "rule",
    [
        "", "folders", "share", "share:", "share:1", "share:x", "share:test=0.6,dev=0.4",
        "share:0.1,0.1", "share:train=0.5", "speakers:", "folder:x", "share:nan",
    ],
)  # fmt: skip
def test_wrong_usage_is_named(rule: str) -> None:
    with pytest.raises(UsageProblem):
        assign(corpus(4), rule)
