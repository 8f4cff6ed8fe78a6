"use strict";
// Players: one button over each picture; one sound at a time.
const playing = { audio: null, button: null };
function stop() {
  if (playing.audio) { playing.audio.pause(); playing.audio.currentTime = 0; }
  if (playing.button) {
    playing.button.setAttribute("aria-pressed", "false");
    playing.button.textContent = playing.button.dataset.sign;
  }
  playing.audio = playing.button = null;
}
function play(audio, button) {
  const again = playing.audio === audio;
  stop();
  if (again) return;
  playing.audio = audio;
  playing.button = button;
  if (button) { button.setAttribute("aria-pressed", "true"); button.textContent = "■"; }
  audio.onended = stop;
  audio.play().catch(stop);
}
// A cell sounds what it shows and, beside it, the original it came from; B and A switch between the
// two, of the cell last played, at the same moment.
let current = null;
for (const box of document.querySelectorAll(".players")) {
  const names = box.dataset.sounds.split(" ");
  box.buttons = names.map((name, at) => {
    const button = document.createElement("button"), audio = document.getElementById(name);
    button.type = "button";
    button.className = "play";
    button.dataset.sign = button.textContent = at ? "A" : "▶";
    button.title = at ? "Play the original (A)" : names.length > 1 ? "Play (B)" : "Play";
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", (at ? "Play the original of " : "Play ") + box.dataset.alt);
    button.addEventListener("click", () => { current = box; play(audio, button); });
    button.sound = audio;
    box.append(button);
    return button;
  });
}
for (const audio of document.querySelectorAll(".cell audio")) audio.removeAttribute("controls");
// A row of several sounds plays them one after the other, such as an original and what is left of it.
function inTurn(buttons) {
  if (!buttons.length || playing.audio) return;
  const [button, ...rest] = buttons;
  play(button.sound, button);
  button.sound.onended = () => { stop(); setTimeout(inTurn, 250, rest); };
}
for (const row of document.querySelectorAll(".row")) {
  const buttons = [...row.querySelectorAll(".players")].map((box) => box.buttons[0]);
  if (buttons.length < 2) continue;
  const button = document.createElement("button"), name = row.querySelector("h4");
  button.type = "button";
  button.className = "play";
  button.textContent = "▶▶";
  button.title = "Play the row, one after the other";
  button.setAttribute("aria-label", `Play the row ${name.textContent}`);
  button.addEventListener("click", () => { const was = playing.audio; stop(); if (!was) inTurn(buttons); });
  name.append(" ", button);
}
document.addEventListener("keydown", (event) => {
  const at = { b: 0, a: 1 }[event.key.toLowerCase()];
  if (at === undefined || event.ctrlKey || event.metaKey || event.altKey || !current) return;
  const button = current.buttons[at];
  if (!button || playing.button === button || event.target.matches?.("select, input")) return;
  const from = current.buttons.includes(playing.button) ? playing.audio.currentTime : 0;
  play(button.sound, button);
  if (from < button.sound.duration) button.sound.currentTime = from;
});

// Matrices: name the entry under the pointer, or under the arrow keys.
for (const box of document.querySelectorAll(".matrix")) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const svg = box.querySelector("svg"), output = box.querySelector("output");
  const area = box.querySelector(".scroll");
  const margin = Number(svg.dataset.margin), top = Number(svg.dataset.top), side = data.square;
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("width", side);
  cursor.setAttribute("height", side);
  let at = null;
  const show = (row, column) => {
    at = [row, column];
    if (!cursor.parentNode) svg.append(cursor);
    cursor.setAttribute("x", margin + column * side);
    cursor.setAttribute("y", top + row * side);
    const count = data.counts[row][column];
    const total = data.counts[row].reduce((sum, n) => sum + n, 0);
    const share = total ? (100 * count / total).toFixed(1) : "0.0";
    output.textContent = `${data.row} ${data.rows[row]}, ${data.column} ${data.columns[column]}: ` +
      `${count} of ${total} (${share} %)`;
  };
  svg.addEventListener("pointermove", (event) => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const column = Math.floor((event.offsetX / scale - margin) / side);
    const row = Math.floor((event.offsetY / scale - top) / side);
    if (data.rows[row] !== undefined && data.columns[column] !== undefined) show(row, column);
  });
  area.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const by = step[event.key];
    if (!by) return;
    event.preventDefault();
    const [row, column] = at || [-by[0], -by[1]];
    const clamp = (value, most) => Math.max(0, Math.min(most - 1, value));
    show(clamp(row + by[0], data.rows.length), clamp(column + by[1], data.columns.length));
  });
}

// Recordings: a line moves with the sound, the page scrolls with the line, a click plays from there.
for (const box of document.querySelectorAll(".recording")) {
  const audio = box.querySelector("audio"), area = box.querySelector(".scroll");
  const track = box.querySelector(".track"), now = box.querySelector(".now");
  const seconds = Number(box.dataset.seconds), answers = [...box.querySelectorAll(".answers li")];
  const spans = answers.map((answer) => {
    const left = parseFloat(answer.style.left), width = parseFloat(answer.style.width);
    return [left, left + width];
  });
  const move = () => {
    const share = Math.min(1, audio.currentTime / seconds);
    const at = share * track.clientWidth;
    now.style.left = `${at}px`;
    answers.forEach((answer, n) => {
      answer.classList.toggle("on", spans[n][0] <= 100 * share && 100 * share < spans[n][1]);
    });
    if (at < area.scrollLeft || at > area.scrollLeft + 0.8 * area.clientWidth) {
      area.scrollLeft = at - 0.2 * area.clientWidth;
    }
    if (!audio.paused) requestAnimationFrame(move);
  };
  audio.addEventListener("play", () => { stop(); move(); });
  audio.addEventListener("seeked", move);
  track.addEventListener("click", (event) => {
    const left = track.getBoundingClientRect().left;
    audio.currentTime = seconds * (event.clientX - left) / track.clientWidth;
    audio.play().catch(() => {});
  });
}
