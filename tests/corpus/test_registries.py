"""Layouts, units, phone sets and representations that are added from outside are used."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
from preparing import SETTINGS, run

from speechscope import registry
from speechscope.cli import run as cli
from speechscope.corpus.layouts import Layout, layout_of
from speechscope.corpus.layouts.timit import Timit
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import Recording, Rows
from speechscope.corpus.units.utterance import UtteranceUnit
from speechscope.corpus.utterances import Marks, Segment, Utterance
from speechscope.features.representations import Framewise, Static
from speechscope.features.stft import Axis, Transform
from speechscope.registry import LAYOUTS, PHONE_SETS, REPRESENTATIONS, UNITS
from speechscope.settings import declared
from speechscope.stages.prepare import Prepare

KINDS = (LAYOUTS, UNITS, PHONE_SETS, REPRESENTATIONS)


class Halves(Layout):
    """A recording with a file ``.half`` beside it is two labelled halves."""

    needs = "recording with a .half"

    def knows(self, name: str) -> bool:
        return name.endswith(".half")

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        return [
            Utterance("test" if path.stem == "b" else "train", path.stem, "u", audio, path)
            for path in sorted(root.glob("*.half"))
            if (audio := path.with_suffix(".wav")).is_file()
        ]

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        assert utterance.labels is not None
        one, two = utterance.labels.read_text().split()
        return Marks((Segment(0, 1500, one), Segment(1500, 3000, two)), per_second=False)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test adds is gone after it."""
    yield
    for kind in KINDS:
        for name in set(kind._entries) - set(kind._modules):
            del kind._entries[name]


def halves(folder: Path) -> Path:
    folder.mkdir()
    for number, name in enumerate("ab"):
        soundfile.write(folder / f"{name}.wav", corpora.recording(seed=number), corpora.RATE)
        (folder / f"{name}.half").write_text("aa s")
    return folder


def choices(setting: str) -> tuple[str, ...]:
    return next(entry.choices for entry in declared(Prepare) if entry.name == setting)


def test_a_layout_registered_last_is_recognised_and_named(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LAYOUTS.register("two-halves")(Halves)
    assert LAYOUTS.names()[-1] == "two-halves" and "two-halves" in choices("layout")
    halves(workdir / "halves")
    assert layout_of(workdir / "halves").name == "two-halves"
    assert cli(["prepare", "halves", "-q"]) == 0
    assert cli(["prepare", "halves", "-q", "-f", "--layout", "two-halves"]) == 0
    assert cli(["prepare", "halves", "-q", "-f", "--layout", "thirds"]) == 2
    assert "choose from" in capsys.readouterr().err
    corpus, _ = run(workdir / "halves", workdir / "c.zarr")
    assert corpus.config["layout"] == "two-halves"
    assert [corpus.classes[i] for i in corpus.labels] == ["aa", "s"] * 2


def test_a_layout_of_another_package_is_recognised(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("two-halves", "test_registries:Halves", "speechscope.layouts")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Halves)
    others = {"layouts": {"two-halves": entry}}
    monkeypatch.setattr(registry, "_foreign", lambda: others)
    assert "two-halves" in choices("layout")
    assert layout_of(halves(workdir / "halves")).name == "two-halves"


def test_of_several_layouts_the_one_of_the_lowest_rank_is_taken(tmp_path: Path) -> None:
    root = halves(tmp_path / "both")
    corpora.utterance(root / "TRAIN/DR1/FAB00", "SX1")
    LAYOUTS.register("two-halves")(Halves)
    assert layout_of(root).name == "timit"
    LAYOUTS.register("two-halves")(type("First", (Halves,), {"rank": 0}))
    assert layout_of(root).name == "two-halves"
    LAYOUTS.register("a-timit")(type("Same", (Timit,), {"rank": 0}))
    assert layout_of(root).name == "a-timit"  # of one rank, by name
    (root / "manifest.csv").touch()
    assert layout_of(root).name == "manifest"


def test_a_unit_registered_at_run_time_is_cut_and_read(tmp_path: Path) -> None:
    class Doubled(UtteranceUnit):
        """Utterances of which every frame is there twice."""

        def items(self, recording: Recording) -> Rows:
            rows = super().items(recording)
            for name in ("input", "frame_time"):
                rows[name] = np.repeat(rows[name], 2, axis=0)
            return {**rows, "input_offset": np.array([len(rows["input"])])}

    UNITS.register("doubled")(Doubled)
    assert "doubled" in choices("unit")
    root = corpora.timit(tmp_path / "timit", speakers=2, sentences=1)
    settings = replace(SETTINGS, unit="utterance", labels="speaker", features="mel", bins=4)
    settings = replace(settings, max_length="none", split="recordings:0.5", drop_sa=False)
    corpora.utterance(root / "TRAIN/DR1/FAB00", "SX9")
    once, _ = run(root, tmp_path / "once.zarr", settings)
    twice, _ = run(root, tmp_path / "twice.zarr", replace(settings, unit="doubled"))
    assert twice.unit == "doubled"
    assert twice.artifact.read("input_offset").tolist() == [
        2 * edge for edge in once.artifact.read("input_offset").tolist()
    ]
    np.testing.assert_array_equal(twice.artifact.read("input")[::2], once.artifact.read("input"))
    np.testing.assert_allclose(twice.mean, once.mean, atol=1e-6)


def test_a_phone_set_registered_at_run_time_is_used(tmp_path: Path) -> None:
    labels = {"aa": "v", "iy": "v", "s": "c", "t": "c", "tcl": "c"}
    PHONE_SETS.register("vowels")(PhoneSet.of(("v", "c"), {**labels, "h#": None, "q": None}))
    assert "vowels" in choices("phone_set")
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    corpus, summary = run(root, tmp_path / "c.zarr", replace(SETTINGS, phone_set="vowels"))
    assert corpus.classes == ("v", "c")
    assert [corpus.classes[i] for i in corpus.labels[:5]] == ["v", "c", "c", "c", "v"]
    assert summary.skipped == [] and summary.dropped["label h#"] == 4


def test_a_representation_registered_at_run_time_is_computed_and_inverted(tmp_path: Path) -> None:
    @REPRESENTATIONS.register("negative")
    def negative(transform: Transform) -> Static:
        stft = transform.stft(2 * (transform.bins - 1))
        axis = Axis("frequency", stft.frequencies, "Hz")
        return Framewise(
            ("negative",), axis, stft, lambda s: -s.real[:, None], lambda values: -values[:, 0]
        )

    assert "negative" in choices("features")
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    plain, _ = run(root, tmp_path / "plain.zarr")
    corpus, _ = run(root, tmp_path / "c.zarr", replace(SETTINGS, features="negative"))
    values = corpus.artifact.read("input")
    np.testing.assert_array_equal(values, -plain.artifact.read("input"))
    assert corpus.artifact.flags("channel") == ("negative",) and corpus.invertible
    np.testing.assert_array_equal(corpus.sound_of(values), plain.sound_of(-values))
