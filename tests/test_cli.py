"""The rules every command follows: streams, exit codes, precedence, start-up."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import corpora
import pytest

from speechscope.cli import build, run
from speechscope.settings import declared
from speechscope.stages import STAGES, settings_class

HEAVY = ("torch", "scipy", "zarr", "sklearn", "numpy", "numba", "soundfile")


def call(*arguments: str, **more: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "speechscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def timit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.timit(tmp_path_factory.mktemp("cli") / "timit", speakers=2, sentences=2)


def test_help_version_and_usage_errors_import_nothing_heavy() -> None:
    cases = [(["--help"], 0), (["--version"], 0), (["--nonsense"], 2)]
    cases += [([name, "--help"], 0) for name in STAGES]
    cases += [([name, "--nonsense"], 2) for name in STAGES]
    script = (
        "import sys; from speechscope.cli import run\n"
        f"codes = [run(arguments) for arguments, _ in {cases!r}]\n"
        f"loaded = [m for m in {HEAVY} if m in sys.modules]\n"
        f"assert not loaded, loaded\nassert codes == {[code for _, code in cases]}, codes"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_command_is_there_in_pipeline_order() -> None:
    assert [c.name for c in build().registered_commands] == list(STAGES)


def test_standard_output_is_the_path_and_nothing_else(
    workdir: Path, timit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", str(timit)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "corpus.zarr\n"
    assert "42 segments of 6 utterances" in captured.err


def test_quiet_says_nothing_and_json_says_all(
    workdir: Path, timit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", str(timit), "-q", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    facts = json.loads(captured.out)
    assert (facts["path"], facts["kind"], facts["items"]) == ("corpus.zarr", "corpus", 42)


def test_an_existing_output_is_refused_and_kept(
    workdir: Path, timit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "corpus.zarr").mkdir()
    (workdir / "corpus.zarr" / "mine.txt").write_text("precious")
    assert run(["prepare", str(timit)]) == 2
    assert "exists already; --force replaces it" in capsys.readouterr().err
    assert run(["prepare", str(timit), "--force"]) == 2
    assert "not made by speechscope" in capsys.readouterr().err
    assert (workdir / "corpus.zarr" / "mine.txt").read_text() == "precious"


def test_items_left_out_are_exit_code_4_unless_accepted(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = corpora.timit(workdir / "timit", speakers=1, sentences=2)
    (root / "TRAIN/DR1/FAB00/SX0.PHN").write_text("0 1600 xyz\n1600 3200 aa\n")
    assert run(["prepare", "timit"]) == 4
    captured = capsys.readouterr()
    assert captured.out == "corpus.zarr\n"
    assert "SX0.PHN: 0-1600: unknown phone 'xyz'" in captured.err
    assert run(["prepare", "timit", "-f", "--skip-bad"]) == 0
    assert run(["info", "corpus.zarr"]) == 0
    assert "unknown phone 'xyz'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["prepare", "nowhere"], 1, "nowhere is not there"),
        (["prepare", "."], 1, ". holds no labels speechscope knows"),
        (["prepare", "x", "--features", "wavelet"], 2, "--features wavelet: choose from "),
        (["prepare", "x", "--labels", "letter"], 2, "--unit segment has none; use utterance"),
        (["prepare", "x", "--unit", "utterance"], 2, "--labels letter or speaker"),
        (["prepare", "x", "--unit", "window"], 2, "--features real: --unit window needs waveform"),
        (["prepare", "x", "--features", "waveform"], 2, "--unit segment needs a representation"),
        (["prepare", "x", "--recipe", "muckenhirn2019", "--deltas", "1"], 2, "have no bands"),
        (["prepare", "x", "--context", "4"], 2, "--context 4: an odd number has a middle frame"),
        (["prepare", "x", "--phone-set", "klingon"], 2, "--phone-set klingon: choose from "),
        (["prepare", "x", "--phone-set", "ipa"], 1, "x is not there"),
        (
            ["prepare", "x", "--mapping", "y", "--phone-set", "timit-48"],
            2,
            "timit-48 takes no mapping file; ipa does",
        ),
        (["prepare", "x", "--speaker-pattern", "("], 2, "is no regular expression"),
        (["prepare", "x", "--layout", "shelf"], 2, "--layout shelf: choose from"),
        (["prepare", ".", "--layout", "lab"], 1, ""),
        (["prepare", "x", "--max-length", "long"], 2, "samples (2554), a percentile (95%) or none"),
        (["prepare", "x", "--recipe", "nobody1999"], 2, "choose from churchman2015"),
        (["prepare"], 2, "Missing argument 'DIR'"),
        (["prepare", "x", "--workers", "0"], 2, "--workers 0: at least 1"),
        (
            ["invert", "model.pt", "--layer", ""],
            2,
            "--layer is empty: give a text, or leave it out",
        ),
        (["relevance", "--model=", "--corpus", "x"], 2, "--model is empty"),
        (["cluster", "--axes", " "], 2, "--axes is empty"),
        (["check", ""], 2, "is empty"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["-C", "nowhere", "info", "x"], 2, "-C nowhere: No such file or directory"),
        (["info", "nothing.zarr"], 1, "nothing.zarr does not exist"),
        (["check", "nothing.pt"], 1, "nothing.pt does not exist"),
        (["check", "."], 3, "not a speechscope artifact"),
        (["synth", "x", "--speakers", "1"], 2, "--speakers 1: at least 2"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    workdir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err
    assert captured.err.startswith("speechscope: error: ") and captured.err.count("\n") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_no_text_and_no_path_is_one_of_nothing(
    stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = declared(settings_class(stage))
    arguments = [entry for entry in known if entry.said.kind == "argument"]
    needed = ["x" for entry in arguments if entry.default in (..., ())]
    for entry in known:
        if entry.type in (str, Path) and entry.said.kind != "argument" and entry.flags:
            assert run([stage, *needed, f"{entry.flags[0]}="]) == 2, entry.name
            assert f"{entry.shown} is empty" in capsys.readouterr().err
    if any(entry.many and entry.type is Path for entry in arguments):
        assert run([stage, "x", ""]) == 2
        assert " is empty: give a path" in capsys.readouterr().err


def test_a_dash_reads_one_path_and_an_empty_one_is_a_failed_stage(
    workdir: Path,
    timit: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["prepare", str(timit), "-q"]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"corpus.zarr\n")))
    assert run(["check", "-"]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run(["check", "-"]) == 1
    assert "the stage before failed" in capsys.readouterr().err


def test_flags_beat_variables_beat_the_file_beats_the_recipe(
    workdir: Path, timit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bins(*flags: str) -> int:
        assert run(["prepare", str(timit), "-f", "-q", *flags]) == 0
        capsys.readouterr()
        assert run(["info", "corpus.zarr", "--json"]) == 0
        return int(json.loads(capsys.readouterr().out)["settings"]["bins"])

    assert bins() == 201
    (workdir / "speechscope.toml").write_text("bins = 301\n")
    assert bins() == 301
    (workdir / "speechscope.toml").write_text("bins = 301\n[prepare]\nbins = 251\n")
    assert bins() == 251
    monkeypatch.setenv("SPEECHSCOPE_BINS", "221")
    assert bins() == 221
    assert bins("--bins", "211") == 211


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("binz = 3\n", "'binz' is not an option of any command"),
        ("[prepare]\nepochs = 3\n", "'epochs' is not an option of prepare"),
        ("[prepair]\nbins = 3\n", "[prepair] is not a command"),
        ("bins = \n", "speechscope.toml: "),
        ('bins = "many"\n', "--bins"),
    ],
)
def test_a_wrong_settings_file_is_a_usage_error(
    workdir: Path, capsys: pytest.CaptureFixture[str], content: str, text: str
) -> None:
    (workdir / "speechscope.toml").write_text(content)
    assert run(["prepare", "x"]) == 2
    assert text in capsys.readouterr().err


def test_c_changes_the_directory_and_its_settings_hold(workdir: Path, timit: Path) -> None:
    (workdir / "there").mkdir()
    (workdir / "there" / "speechscope.toml").write_text('output = "c.zarr"\n')
    assert run(["-C", "there", "prepare", str(timit)]) == 0
    assert (workdir / "there" / "c.zarr").is_dir()


def test_check_deep_finds_what_check_does_not(
    workdir: Path, timit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", str(timit), "-q"]) == 0
    chunk = workdir / "corpus.zarr/input/c.0.0.0.0"
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 16
    chunk.write_bytes(data)
    assert run(["check", "corpus.zarr"]) == 0
    assert run(["check", "--deep", "corpus.zarr"]) == 3
    assert "corpus.zarr/input/c.0.0.0.0: the bytes are not those" in capsys.readouterr().err


def test_a_traceback_only_with_debug(workdir: Path) -> None:
    plain = call("info", "x")
    assert plain.returncode == 1 and "Traceback" not in plain.stderr
    debugged = call("--debug", "info", "x")
    assert debugged.returncode == 1 and "Traceback" in debugged.stderr


STOPPED_IN_A_CALL = """
import os, signal, sys
from speechscope import cli

async def open_group():
    pass

def app(**_):
    call = open_group()  # as Zarr makes one, and then hands it to its own thread
    os.kill(os.getpid(), signal.SIGTERM)
    signal.sigtimedwait([], 5)

cli.build = lambda _: app
cli.main([])
"""


def test_a_signal_before_an_asynchronous_call_is_said_in_one_line() -> None:
    ran = subprocess.run([sys.executable, "-c", STOPPED_IN_A_CALL], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (143, "speechscope: terminated\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_code_and_leave_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=20, sentences=10)
    process = subprocess.Popen(
        [sys.executable, "-m", "speechscope", "-C", str(tmp_path), "prepare", "timit"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A job started in the background by a shell ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    partial = tmp_path / ".corpus.zarr.partial" / "zarr.json"
    while not partial.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err.count("\n") == 1 and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == [root]


def test_no_bar_and_no_colour_without_a_terminal(tmp_path: Path, timit: Path) -> None:
    done = call("-C", str(tmp_path), "prepare", str(timit), env={**os.environ, "TERM": "xterm"})
    assert done.returncode == 0
    assert "\x1b" not in done.stderr + done.stdout
