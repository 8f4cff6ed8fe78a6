"""What others made: each is refused in one line with its exit code, in bounded memory and time."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import soundfile
import torch
from fuzzing import time_limit
from trust import forgery
from trust.forgery import Storage, Tensor, archive, pickled, record
from trust.server import ForkServer, Running
from trust.stages import copy_of, said_well

from speechscope import stages
from speechscope.cli import run
from speechscope.errors import ArtifactError
from speechscope.settings import load
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import verify
from speechscope.store.wav import file_word

MEMORY = 3_000_000_000
"""Bytes a command may take beyond what its libraries hold."""
SECONDS = 20.0
SIXTEEN = np.zeros(4, dtype=np.float32).tobytes()


def refused(server: ForkServer, workdir: Path, line: str, codes: set[int]) -> Running:
    done = server.run(workdir, *line.split(), memory=MEMORY)
    said_well(done, codes)
    return done


def laughs(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value, value]
    return value


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def model(**values: Any) -> bytes:
    return pickled({"speechscope": record(), **values})


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Allocation:
    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (1 << 40,)


FORGED: dict[str, Callable[[], bytes]] = {
    "more values than bytes": lambda: model(w=Tensor(Storage("0", 1 << 40), (1 << 40,), (1,))),
    "a shape out of nothing": lambda: model(w=Tensor(Storage("0", 4), (1 << 20, 1 << 20), (0, 0))),
    "beyond its storage": lambda: model(w=Tensor(Storage("0", 4), (1 << 30,), (1,))),
    "before its storage": lambda: model(w=Tensor(Storage("0", 4), (4,), (1,), offset=-4)),
    "a negative size": lambda: model(w=Tensor(Storage("0", 4), (-1,), (1,))),
    "an unknown storage": lambda: model(w=Tensor(Storage("0", 4, torch.Tensor), (4,), (1,))),
    "bytes that are not there": lambda: model(w=Tensor(Storage("9", 4), (4,), (1,))),
    "lists in lists in lists": lambda: model(w=laughs(40)),
    "a list in itself": lambda: model(w=in_itself()),
    "deep nesting": lambda: model(w=nested(300)),
    "a large allocation": lambda: model(w=Allocation()),
    "a far place in the memo": lambda: b"\x80\x02}r" + struct.pack("<I", 0xFFFFFFF0) + b".",
    "a long text": lambda: b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b".",
    "no record": lambda: pickled({"speechscope": {"kind": "model"}}),
    "a list": lambda: pickled([1, 2]),
    "a foreign version": lambda: pickled({"speechscope": record(format_version="3 ")}),
    "the future": lambda: pickled({"speechscope": record(format_version=99)}),
    "the past": lambda: pickled({"speechscope": record(format_version=1)}),
    "a record of numbers": lambda: pickled({"speechscope": record(config=3)}),
    "parents of numbers": lambda: pickled({"speechscope": record(parents=[3])}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    archive(path, FORGED[name](), {"0": SIXTEEN})
    with time_limit(SECONDS), pytest.raises(ArtifactError) as caught:
        Checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    if name in ("more values than bytes", "bytes that are not there"):
        assert "claims" in str(caught.value)  # before torch gets to see it


def test_a_well_made_one_by_the_same_means_is_read(tmp_path: Path) -> None:
    archive(tmp_path / "a.pt", model(w=Tensor(Storage("0", 4), (2, 2), (2, 1))), {"0": SIXTEEN})
    assert Checkpoint(tmp_path / "a.pt").values["w"].shape == (2, 2)


def test_code_is_not_run(tmp_path: Path, work: Path) -> None:
    for number, content in enumerate(
        (pickled({"speechscope": record(), "w": Code(tmp_path / "ran")}), pickle.dumps(os.getcwd))
    ):
        archive(work / "model.pt", content)
        with pytest.raises(ArtifactError, match="neither a tensor nor a plain type"):
            Checkpoint(work / "model.pt")
        assert not (tmp_path / "ran").exists(), number


def test_compressed_and_overlapping_archives_are_refused(
    tmp_path: Path, server: ForkServer
) -> None:
    path = tmp_path / "model.pt"
    archive(path, bytes(4_000_000_000 >> 4), deflate=True)  # 250 MB in a quarter of one
    assert path.stat().st_size < 1_000_000
    assert "is compressed" in refused(server, tmp_path, "info model.pt", {3}).err
    archive(path, model(), {"0": SIXTEEN})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")  # the last member's entry: its sizes
    struct.pack_into("<II", data, place + 20, 1 << 30, 1 << 30)
    path.write_bytes(data)
    refused(server, tmp_path, "info model.pt", {3})
    with pytest.raises(ArtifactError):
        Checkpoint(path)


def test_a_network_larger_than_its_weights_is_not_built(work: Path, server: ForkServer) -> None:
    whole = torch.load(work / "model.pt", weights_only=True)
    for entry in ({"input_shape": [1, 100_000, 100_000]}, {"input_shape": [1, -5, 3]},
                  {"input_shape": [1 << 70] * 3}, {"name": "wav2letter", "bins": 1 << 40},
                  {"name": ["freq"]}, {"input_shape": "abc"}):  # fmt: skip
        network = {**whole["network"], **entry}
        torch.save({**whole, "network": network}, work / "model.pt")
        assert "does not fit" in refused(server, work, "score model.pt", {3}).err


def zeros(path: Path) -> Path:
    """The only chunk of `label`."""
    return path / "label" / "c.0"


def pipe(path: Path) -> None:
    zeros(path).unlink()
    os.mkfifo(zeros(path))
    forgery.reseal_root(path, "label")


def device(path: Path) -> None:
    zeros(path).unlink()
    zeros(path).symlink_to("/dev/zero")
    forgery.reseal_root(path, "label")


def metadata_pipe(path: Path) -> None:
    (path / "label" / "zarr.json").unlink()
    os.mkfifo(path / "label" / "zarr.json")


def root_pipe(path: Path) -> None:
    (path / "zarr.json").unlink()
    os.mkfifo(path / "zarr.json")


def claims(path: Path) -> None:
    zeros(path).write_bytes(forgery.frame_of(0xF0000000))
    forgery.reseal_root(path, "label")


def outside(path: Path) -> None:
    root = json.loads((path / "zarr.json").read_text())
    contents = root["attributes"]["speechscope"]["contents"]
    forgery.reseal_root(path, "label", contents={**contents, "../secret": contents["label"]})


def deep_root(path: Path) -> None:
    (path / "zarr.json").write_text('{"attributes":' + "[" * 100_000)


def grid(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


HARMED: dict[str, Callable[[Path], None]] = {
    "a pipe for a chunk": pipe,
    "a device for a chunk": device,
    "a pipe for metadata": metadata_pipe,
    "a pipe for the root": root_pipe,
    "a chunk that claims gigabytes": claims,
    "an array outside": outside,
    "deep metadata": deep_root,
    "a shape out of nothing": lambda p: forgery.reseal(p, "label", shape=[1 << 50]),
    "a huge chunk": lambda p: forgery.reseal(p, "label", shape=[1 << 40], chunk_grid=grid(1 << 40)),
    "a negative shape": lambda p: forgery.reseal(p, "label", shape=[-5]),
    "no shape": lambda p: forgery.reseal(p, "label", shape="many"),
    "chunks of nothing": lambda p: forgery.reseal(p, "label", chunk_grid=grid(0)),
    "objects": lambda p: forgery.reseal(p, "label", data_type="object"),
    "an unknown type": lambda p: forgery.reseal(p, "label", data_type="float99"),
    "another codec": lambda p: forgery.reseal(p, "label", codecs=[{"name": "pickle"}]),
    "a foreign version": lambda p: forgery.reseal_root(p, "label", format_version=[]),
    "the future": lambda p: forgery.reseal_root(p, "label", format_version=99),
    "no settings": lambda p: forgery.reseal_root(p, "label", config={}),
    "settings of numbers": lambda p: forgery.reseal_root(p, "label", config=7),
    "contents of numbers": lambda p: forgery.reseal_root(p, "label", contents={"label": 3}),
}


@pytest.mark.parametrize("name", HARMED)
def test_a_forged_artifact_is_refused(tmp_path: Path, laid: Path, name: str) -> None:
    path = copy_of(laid / "corpus.zarr", tmp_path / "corpus.zarr")
    HARMED[name](path)
    from speechscope.corpus.store import Corpus

    with time_limit(SECONDS), pytest.raises(ArtifactError) as caught:
        verify(path, deep=True)
        corpus = Corpus(path)
        assert corpus.unit, corpus.labels
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_header_of_a_chunk_is_believed_only_if_it_is_its_size(work: Path) -> None:
    claims(work / "corpus.zarr")
    with pytest.raises(ArtifactError, match="does not unfold to its size"):
        Artifact(work / "corpus.zarr").read("label")


def test_commands_refuse_forged_artifacts_in_bounded_memory(
    tmp_path: Path, laid: Path, server: ForkServer
) -> None:
    for name in ("a chunk that claims gigabytes", "a huge chunk", "a device for a chunk"):
        path = copy_of(laid / "corpus.zarr", tmp_path / "corpus.zarr")
        HARMED[name](path)
        for line in ("train --epochs 1", "check --deep corpus.zarr"):
            refused(server, tmp_path, line, {3})
        shutil.rmtree(path)


def timit(root: Path, phones: tuple[str, ...] = corpora.PHONES) -> Path:
    """Write two speakers whose labels are `phones`."""
    for split, speaker in (("TRAIN", "FAB00"), ("TEST", "FAB10")):
        folder = root / split / "DR1" / speaker
        path = corpora.utterance(folder, "SX1", seed=len(split))
        samples = corpora.recording(seed=len(split))
        path.with_suffix(".PHN").write_text(corpora.labels(len(samples), phones))
    return root


CRUEL = ("<script>alert(1)</script>", "\x1b[2J\x07", "../../evil", "a/b", "-rf", "'", "%s{}", "🎈")


def test_labels_steer_neither_the_terminal_nor_paths(tmp_path: Path, server: ForkServer) -> None:
    timit(tmp_path / "timit", CRUEL)
    (tmp_path / "in").mkdir()
    line = "prepare ../timit --phone-set as-is -o corpus.zarr"
    assert refused(server, tmp_path / "in", line, {0}).err.strip()
    for line in (
        "train --network freq-padded --epochs 1 --per-class 2",
        "invert --layer 1 --method bp --steps 1 --all --wav wavs",
        "relevance --method gradient --all --wav heard",
        "score inversion.zarr",
        "info corpus.zarr",
    ):
        done = refused(server, tmp_path / "in", line, {0})
        assert "\x1b" not in done.out + done.err, line
    report = refused(server, tmp_path / "in", "report inversion.zarr -o a.html", {0, 4})
    assert "\x1b" not in report.err
    assert "<script>alert" not in (tmp_path / "in" / "a.html").read_text()
    wavs = sorted(path.name for path in (tmp_path / "in" / "wavs").rglob("*.wav"))
    assert len(wavs) == 2 * len(CRUEL) and "0003_a_b_original.wav" in " ".join(wavs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "timit"]
    done = server.run(tmp_path, "prepare", "timit", "--phone-set", "timit-48", "-o", "x.zarr")
    said_well(done, {1, 4})
    assert "\x1b" not in done.err


def test_words_in_file_names_are_harmless() -> None:
    assert file_word("../..") == ".._.."
    assert file_word("a\x00b\nc") == "a_b_c"
    assert file_word("") == "_"
    assert len(file_word("x" * 10_000)) == 100
    assert file_word("ɔ̃") == "ɔ̃"


def test_names_that_begin_with_a_dash(work: Path, server: ForkServer) -> None:
    (work / "corpus.zarr").rename(work / "-corpus.zarr")
    timit(work / "-timit")
    for arguments in (
        ["check", "--deep", "--", "-corpus.zarr"],
        ["check", "./-corpus.zarr"],
        ["prepare", "-o", "./-new.zarr", "--", "-timit"],
        ["train", "--epochs", "1", "--network", "freq-padded", "-o=-m.pt", "--", "-corpus.zarr"],
    ):
        done = server.run(work, *arguments)
        said_well(done, {0})
    assert (work / "-new.zarr").is_dir()
    said_well(server.run(work, "check", "-corpus.zarr"), {2})
    said_well(server.run(work, "prepare", "timit", "-o", "a\nb.zarr"), {2})


def test_corpora_of_links_loops_pipes_and_devices(tmp_path: Path, server: ForkServer) -> None:
    root = timit(tmp_path / "timit")
    folder = root / "TRAIN" / "DR1" / "FAB00"
    (root / "TRAIN" / "loop").symlink_to(root)
    (folder / "self").symlink_to("self")
    os.mkfifo(folder / "SX2.WAV")
    (folder / "SX3.WAV").symlink_to("/dev/zero")
    (folder / "SX4.WAV").symlink_to(folder / "SX1.WAV")
    for number in (2, 3, 4):
        shutil.copy(folder / "SX1.PHN", folder / f"SX{number}.PHN")
    (folder / "\x1b[31m\nx.WAV").write_bytes(b"RIFF")
    done = refused(server, tmp_path, "prepare timit", {4})
    assert "SX2.WAV" in done.err and "SX3.WAV" in done.err and "\x1b" not in done.err
    assert "12 segments of 2 utterances" not in done.err
    read = Artifact(tmp_path / "corpus.zarr")
    assert len(read.flags("utterance")) == 3  # SX4 is a link to a recording


def test_manifests_that_lead_elsewhere(tmp_path: Path, server: ForkServer) -> None:
    (tmp_path / "secret.txt").write_text("the password is swordfish\n")
    soundfile.write(tmp_path / "good.wav", corpora.recording(), 16000)
    rows = ["audio,start,end,label,speaker,split", "../good.wav,0,0.1,aa,s,train"]
    for name in ("/dev/zero", "/dev/stdin", "../secret.txt", "/etc/shadow", "x" * 5000, "a\x00b",
                 "..", "loop/loop"):  # fmt: skip
        rows.append(f"{name},0,0.1,aa,s,train")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "loop").symlink_to(tmp_path / "m" / "loop")
    (tmp_path / "m" / "manifest.csv").write_text("\n".join(rows) + "\n")
    done = refused(server, tmp_path, "prepare m/manifest.csv --split share:0.5 --dev 0", {1, 4})
    assert "swordfish" not in done.err + done.out
    assert done.err.count("\n") < 20


def test_recordings_that_unfold(tmp_path: Path, server: ForkServer) -> None:
    root = timit(tmp_path / "timit")
    folder = root / "TRAIN" / "DR1" / "FAB00"
    with soundfile.SoundFile(folder / "SX2.FLAC", "w", 16000, 1, format="FLAC") as file:
        for _ in range(300):
            file.write(np.full(1 << 18, 0.25, dtype=np.float32))  # 80 minutes of nothing
    assert (folder / "SX2.FLAC").stat().st_size < 500_000
    shutil.copy(folder / "SX1.PHN", folder / "SX2.PHN")
    samples = corpora.recording()
    samples[100] = np.nan
    soundfile.write(folder / "SX3.wav", samples, 16000, subtype="FLOAT")
    shutil.copy(folder / "SX1.PHN", folder / "SX3.PHN")
    done = refused(server, tmp_path, "prepare timit", {4})
    assert "unfolds to more than" in done.err and "not numbers" in done.err


def test_settings_files_of_any_content(tmp_path: Path) -> None:
    from speechscope.errors import UsageProblem

    path = tmp_path / "speechscope.toml"
    for content in (b"a = " + b"[" * 100_000, b"\xff\xfe", b"\x00", b"a.b.c.d = 1\n", b"x = 1e999",
                    b"epochs = " + b"9" * 5000):  # fmt: skip
        path.write_bytes(content)
        with time_limit(SECONDS), pytest.raises(UsageProblem):
            load({"train": {"epochs": "epochs"}}, path)


def test_what_is_piped_in_may_be_anything(work: Path, server: ForkServer) -> None:
    for text in ("\0", "x" * 100_000, "../../../../etc/passwd", "\x1b[2J", "\ud800".encode(
            "utf-8", "surrogatepass").decode("latin-1"), "-", " ", "model.pt\0.zarr"):  # fmt: skip
        done = server.run(work, "check", "-", stdin=f"{text}\n")
        said_well(done, {1, 3})
        assert "\x1b" not in done.err


def test_info_of_many_things_is_bounded(work: Path) -> None:
    described = stages.run("info", {"artifact": work / "corpus.zarr"})
    facts = json.loads(described.shown("json"))
    assert len(json.dumps(facts)) < 100_000
    assert run(["info", str(work / "corpus.zarr"), "-C"]) == 2
