"""A page in a browser: nothing in its console, players play, the projection turns and sounds."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
import reports

from speechscope.cli import run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr",
    "--virtual-time-budget=8000", "--window-size=400,900", "--dump-dom",
)  # fmt: skip
PROBE = """
<script>
(async () => {
  const found = {}, wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const pair = [...document.querySelectorAll(".players")].find((p) => p.buttons.length === 2);
  const [button, other] = pair.buttons, audio = button.sound;
  button.click();
  await wait(300);
  found.pressed = button.getAttribute("aria-pressed");
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
  found.original = [other.getAttribute("aria-pressed"), button.getAttribute("aria-pressed"),
    other.sound !== audio];
  found.sound = [audio.error, audio.duration > 0.01];
  const box = document.querySelector(".cloud"), cloud = box.cloud;
  const press = (key, at) => at.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const canvas = box.querySelector("canvas");
  const before = [cloud.turn, cloud.tilt, cloud.zoom];
  for (const key of ["ArrowRight", "ArrowUp", "+"]) press(key, canvas);
  found.moved = [cloud.turn, cloud.tilt, cloud.zoom].map((value, i) => value !== before[i]);
  for (const key of ["p", "n", "n"]) press(key, canvas);
  found.selected = cloud.selected;
  found.said = box.querySelector("output").textContent;
  press("Enter", canvas);
  await wait(300);
  found.heard = cloud.audio && cloud.audio.error === null && cloud.audio.duration > 0.01;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  found.drawn = new Set(pixels).size > 20;
  const matrix = document.querySelector(".matrix");
  press("ArrowDown", matrix.querySelector(".scroll"));
  press("ArrowRight", matrix.querySelector(".scroll"));
  found.entry = matrix.querySelector("output").textContent;
  found.wide = document.documentElement.scrollWidth > innerWidth;
  document.body.setAttribute("data-found", JSON.stringify(found));
})();
</script></body>"""


@pytest.mark.heavy
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_page_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert CHROMIUM is not None
    reports.everything(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["report", "-q"]) == 0
    text = Path("report.html").read_text("utf-8")
    Path("probed.html").write_text(text.replace("</body>", PROBE), "utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, (tmp_path / "probed.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    match = re.search(r'data-found="([^"]*)"', done.stdout)
    assert match, done.stderr
    found = json.loads(unescape(match[1]))
    assert found["sound"] == [None, True] and found["pressed"] in ("true", "false")
    assert found["original"] == ["true", "false", True]
    assert found["moved"] == [True, True, True]
    assert found["selected"] == 1 and found["said"].startswith("[aa], item 1")
    assert found["heard"] and found["drawn"]
    assert re.fullmatch(r"said \S+, answered \S+: \d+ of \d+ \([\d.]+ %\)", found["entry"])
    assert not found["wide"], "the page scrolls sideways on a narrow screen"
