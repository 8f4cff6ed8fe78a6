"""Names are known without importing; entries are imported when asked for, others' too."""

import subprocess
import sys
from pathlib import Path

import pytest

from speechscope.errors import UsageProblem
from speechscope.registry import Registry

FILE = """
from kinds import KIND

@KIND.register("plain")
def plain() -> str:
    return "plain"

KIND.register("made")(lambda: "made")
# KIND.register("only said")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "deeper").mkdir()
    (tmp_path / "pack" / "deeper" / "file.py").write_text(FILE)
    (tmp_path / "kinds.py").write_text(
        "from speechscope.registry import Registry\nKIND = Registry('things', 'KIND', 'pack')\n"
    )
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[speechscope.things]\nforeign = other_thing:make\n")
    (tmp_path / "other_thing.py").write_text("def make():\n    return 'foreign'\n")
    return tmp_path


def test_names_come_from_the_text_and_entries_from_their_file(package: Path) -> None:
    script = (
        "import sys; from kinds import KIND\n"
        "assert KIND.names() == ('plain', 'made', 'foreign'), KIND.names()\n"
        "assert 'pack.deeper.file' not in sys.modules\n"
        "assert KIND['made']() == 'made' and 'pack.deeper.file' in sys.modules\n"
        "assert KIND['foreign']() == 'foreign'\n"
        "assert 'plain' in KIND and 'only said' not in KIND\n"
        "from speechscope.errors import UsageProblem\n"
        "try: KIND['nothing']\n"
        "except UsageProblem as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=package, capture_output=True, text=True, check=False
    )
    assert done.stdout == "things nothing: choose from plain, made, foreign\n", done.stderr


def test_an_entry_of_this_process_is_found() -> None:
    own: Registry[int] = Registry("numbers", "NUMBERS", "speechscope.recipes")
    own.register("seven")(7)
    assert own.names() == ("seven",) and own["seven"] == 7
    with pytest.raises(UsageProblem, match="numbers eight: choose from seven"):
        own["eight"]
