from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import pytest
from preparing import SETTINGS, run

from speechscope.corpus.arrays import decoded, encoded

WINDOWS = replace(
    SETTINGS,
    unit="window",
    features="waveform",
    max_length="none",
    length=400,
    overlap=0,
)


def test_texts_come_back() -> None:
    texts = ("a", "été/ñ", "", "a longer one", "x" * 300)
    rows = encoded(texts)
    assert rows.shape == (5, 300) and rows.dtype == np.uint8
    assert decoded(rows) == texts
    assert decoded(encoded(())) == ()


def test_many_names_are_an_array_and_metadata_does_not_grow_with_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.corpus.arrays.FLAGS", 3)
    sizes = []
    for count in (2, 8):
        root = corpora.timit(tmp_path / f"timit{count}", speakers=count, sentences=2)
        settings = replace(WINDOWS, labels="speaker", drop_sa=False)
        corpus, _ = run(root, tmp_path / f"{count}.zarr", settings)
        files = corpus.path.glob("**/zarr.json")
        sizes.append(sum(path.stat().st_size for path in files))
        few = count <= 3
        assert ("speaker_name" in corpus.artifact) != few
        speakers = tuple(f"FAB{number}0" for number in range(count))
        assert corpus.names("speaker") == corpus.classes == corpus.classes_folded == speakers
        assert corpus.names("utterance")[2] == "FAB10/SX10"
        np.testing.assert_array_equal(corpus.labels, corpus.artifact.read("speaker"))
    # Two more arrays of names, each some 1.5 kB of metadata twice; then nothing more.
    root = corpora.timit(tmp_path / "timit30", speakers=30, sentences=2)
    corpus, _ = run(root, tmp_path / "30.zarr", replace(WINDOWS, labels="speaker", drop_sa=False))
    assert sum(p.stat().st_size for p in corpus.path.glob("**/zarr.json")) < sizes[1] + 500
