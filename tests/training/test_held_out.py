"""What is held out of the training split to choose the epoch by."""

from pathlib import Path

import corpora
import numpy as np
import pytest
from preparing import SETTINGS, run

from speechscope.corpus.store import Corpus
from speechscope.training.source import FEW_SPEAKERS, held_out

TRAIN, DEV, TEST = 0, 1, 2


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("many")
    corpora.timit(folder / "timit", speakers=10, sentences=1)
    return run(folder / "timit", folder / "corpus.zarr", SETTINGS)[0]


def test_speakers_are_held_out_whole_and_test_stays(many: Corpus) -> None:
    splits, speakers = held_out(many, 0.3, 0), many.artifact.read("speaker")
    drawn = {int(s) for s in speakers[splits == DEV]}
    assert len(drawn) == 3
    assert not drawn & {int(s) for s in speakers[splits == TRAIN]}
    np.testing.assert_array_equal(splits == TEST, many.splits == TEST)
    np.testing.assert_array_equal(splits, held_out(many, 0.3, 0))
    assert (splits != held_out(many, 0.3, 1)).any()


def test_a_share_of_0_leaves_no_dev_split(many: Corpus) -> None:
    np.testing.assert_array_equal(held_out(many, 0.0, 0), many.splits)


def test_of_few_speakers_recordings_are_held_out(tmp_path: Path) -> None:
    corpora.timit(tmp_path / "timit", speakers=FEW_SPEAKERS - 2, sentences=3)
    data = run(tmp_path / "timit", tmp_path / "corpus.zarr", SETTINGS)[0]
    splits, utterances = held_out(data, 0.1, 0), data.artifact.read("utterance")
    assert len(set(utterances[splits == DEV].tolist())) == 1
    assert not set(utterances[splits == DEV]) & set(utterances[splits == TRAIN])
