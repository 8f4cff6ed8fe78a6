import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from speechscope.errors import ArtifactError
from speechscope.store import checkpoint, lineage
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact


def corpus(path: Path, value: float) -> Path:
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with create_artifact(path, "t", record, force=True) as writer:
        writer.put("input", np.full(3, value), ("item",))
    return path


def child(path: Path, kind: str, parent: Path, parent_kind: str) -> Path:
    parents = [lineage.entry(parent, parent_kind, path)]
    record = new_record(kind, config={}, seed=0, device="cpu", parents=parents)
    checkpoint.write(path, record, {"weights": torch.zeros(3)})
    return path


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    made = corpus(folder / "corpus.zarr", 1.0)
    model = child(folder / "model.pt", "model", made, "corpus")
    child(folder / "decoder.pt", "decoder", model, "model")
    return folder


def test_an_ancestor_is_found_however_far_up(chain: Path) -> None:
    path = chain / "decoder.pt"
    record = lineage.record_at(path)
    assert lineage.ancestor(path, record, "decoder") == path
    assert lineage.ancestor(path, record, "model").samefile(chain / "model.pt")
    assert lineage.ancestor(path, record, "corpus").samefile(chain / "corpus.zarr")


def test_a_folder_can_be_moved_as_a_whole(chain: Path, tmp_path: Path) -> None:
    moved = chain.rename(tmp_path / "elsewhere")
    path = moved / "decoder.pt"
    found = lineage.ancestor(path, lineage.record_at(path), "corpus")
    assert found.samefile(moved / "corpus.zarr")


def test_a_parent_that_moved_has_to_be_named(chain: Path, tmp_path: Path) -> None:
    moved = (chain / "corpus.zarr").rename(tmp_path / "c.zarr")
    path = chain / "decoder.pt"
    record = lineage.record_at(path)
    with pytest.raises(ArtifactError, match="is not there; name the corpus with --corpus PATH"):
        lineage.ancestor(path, record, "corpus")
    assert lineage.ancestor(path, record, "corpus", {"corpus": moved}) == moved


def test_a_parent_that_changed_since_is_refused(chain: Path) -> None:
    corpus(chain / "corpus.zarr", 2.0)
    path = chain / "model.pt"
    with pytest.raises(ArtifactError, match=r"is not the corpus .*model\.pt was made from"):
        lineage.ancestor(path, lineage.record_at(path), "corpus")


def test_a_named_parent_has_to_be_the_same_one(chain: Path, tmp_path: Path) -> None:
    other = corpus(tmp_path / "other.zarr", 2.0)
    same = tmp_path / "same.zarr"
    shutil.copytree(chain / "corpus.zarr", same)
    path = chain / "model.pt"
    record = lineage.record_at(path)
    assert lineage.ancestor(path, record, "corpus", {"corpus": same}) == same
    with pytest.raises(ArtifactError, match="is not the corpus"):
        lineage.ancestor(path, record, "corpus", {"corpus": other})


def test_a_kind_it_was_not_made_from(chain: Path) -> None:
    path = chain / "model.pt"
    with pytest.raises(ArtifactError, match="was not made from a decoder"):
        lineage.ancestor(path, lineage.record_at(path), "decoder")
