"""What `invert` does not do: one line, exit 2, and nothing written."""

import shutil
from pathlib import Path

import corpora
import pytest

from speechscope.cli import run

SMALL = ["train", "--epochs", "1", "--per-class", "4", "-q"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    return corpora.timit(folder / "timit", speakers=2, sentences=2)


@pytest.mark.parametrize(
    ("prepared", "asked", "said"),
    [
        (["--features", "mfcc"], ["--method", "bp", "--wav", "sounds"], "mfcc spectrograms have"),
        (["--features", "magnitude"], ["--method", "align"], "--method align needs segments as re"),
        (["--normalize", "band"], ["--method", "align"], "without z-normalisation"),
        (
            ["--normalize", "band"],
            ["--method", "regress"],
            "a search for sounds needs segments wit",
        ),
        (["--features", "gammatone"], ["--on", "waveform"], "a search for sounds needs segments"),
        (["--padding", "speech", "--duration"], ["--input", "chirps"], "--audio and stimuli need"),
        ([], ["--input", "nowhere.zarr"], "--input nowhere.zarr: choose from chirps, noise"),
        ([], ["--method", "bp+"], "chain them with +"),
        ([], ["--method", "decode+bp"], "needs a decoder (speechscope decode-train)"),
        ([], ["--layer", "17"], "layer 17: expected 1 to 16"),
    ],
)
def test_refusals(
    recordings: Path,
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    prepared: list[str],
    asked: list[str],
    said: str,
) -> None:
    assert run(["prepare", str(recordings), *prepared, "-q"]) == 0
    assert run(SMALL) == 0
    capsys.readouterr()
    method = [] if "--method" in asked else ["--method", "bp"]
    more = ["--layer", "1"] if "--layer" not in asked else []
    assert run(["invert", "model.pt", *method, *more, *asked, "-q"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("inversion.zarr").exists() and not Path("sounds").exists()


def test_a_decoder_of_other_layers_is_refused(recordings: Path, workdir: Path) -> None:
    shutil.rmtree("inversion.zarr", ignore_errors=True)
    assert run(["prepare", str(recordings), "-q"]) == 0
    assert run(SMALL) == 0
    train = ["decode-train", "--layer", "1", "--epochs", "1", "--together", "0", "--per-class", "2"]
    assert run([*train, "-q"]) == 0
    assert run(["invert", "--layer", "3", "-q"]) == 2
    assert run(["invert", "--layer", "1", "--steps", "1", "--items", "0", "-q"]) == 0
