// Clouds: points in space on a canvas, turned by dragging or by the arrow keys.
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999933", "#882255",
  "#888888"];
function floats(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
class Cloud {
  constructor(box) {
    this.data = JSON.parse(box.querySelector("script").textContent);
    this.canvas = box.querySelector("canvas");
    this.output = box.querySelector("output");
    this.views = this.data.views.map((view) => this.centred(floats(view)));
    this.group = box.querySelector(".group");
    this.view = box.querySelector(".view");
    this.selected = -1;
    this.reset();
    this.legend = box.querySelector(".key");
    // More classes than colours: what they have in common is told apart, names stand beside.
    const first = this.data.groups[this.group.options[1]?.value];
    if (this.data.names.length > LINES.length && first?.names.length) this.group.selectedIndex = 1;
    this.view.selectedIndex = this.data.best;
    this.showNames();
    for (const select of [this.group, this.view]) {
      select.addEventListener("change", () => { this.showNames(); this.draw(); });
    }
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.up(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // a page scrolls past it
      event.preventDefault();
      this.zoom *= event.deltaY < 0 ? 1.1 : 1 / 1.1;
      this.draw();
    }, { passive: false });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
  centred(values) {
    const count = values.length / 3, middle = [0, 0, 0];
    for (let i = 0; i < values.length; i++) middle[i % 3] += values[i] / count;
    const away = [];
    for (let i = 0; i < count; i++) {
      away.push(Math.hypot(...[0, 1, 2].map((k) => values[3 * i + k] - middle[k])));
    }
    away.sort((a, b) => a - b);
    // A few points far out must not press all others into one.
    const far = Math.min(away[count - 1], 2.5 * away[count >> 1]) || 1e-9;
    return values.map((value, i) => (value - middle[i % 3]) / far);
  }
  reset() { this.turn = 0.6; this.tilt = 0.35; this.zoom = 1; }
  showNames() {
    const group = this.data.groups[this.group.value];
    const names = this.group.selectedIndex ? group.names : [];
    this.legend.replaceChildren(...names.map((name, i) => {
      const item = document.createElement("li"), dot = document.createElement("span");
      dot.textContent = "● ";
      dot.style.color = LINES[i % LINES.length];
      item.append(dot, name === "-" ? "none" : name);
      return item;
    }));
  }
  colour(index) {
    const group = this.data.groups[this.group.value];
    const of = this.group.selectedIndex ? group.of : this.data.label;
    return LINES[Math.abs(of[index]) % LINES.length];
  }
  project(x, y, z) {
    const a = Math.cos(this.turn), b = Math.sin(this.turn);
    const c = Math.cos(this.tilt), d = Math.sin(this.tilt);
    const across = a * x + b * z, depth = a * z - b * x;
    const up = c * y - d * depth, away = c * depth + d * y;
    const near = 1 / (1 + 0.25 * Math.max(-2, away));
    return [this.mid[0] + across * this.size * near, this.mid[1] - up * this.size * near, away, near];
  }
  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    this.mid = [width / 2, height / 2];
    this.size = 0.44 * Math.min(width, height) * this.zoom;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const ink = getComputedStyle(document.body).color;
    const paper = getComputedStyle(this.canvas).backgroundColor;
    const points = this.views[this.view.selectedIndex];
    this.axes(pen, ink);
    this.places = this.data.label.map((_, i) => this.project(...points.slice(3 * i, 3 * i + 3)));
    const order = this.places.map((_, i) => i).sort((i, j) => this.places[j][2] - this.places[i][2]);
    const chosen = this.selected < 0 ? null : this.data.label[this.selected];
    for (const i of order) {
      const [x, y, , near] = this.places[i];
      pen.globalAlpha = chosen === null || this.data.label[i] === chosen ? 0.9 : 0.25;
      pen.fillStyle = this.colour(i);
      pen.beginPath();
      pen.arc(x, y, 4 * near, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (this.selected >= 0) {
      const [x, y] = this.places[this.selected];
      pen.strokeStyle = ink;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, 8, 0, 7);
      pen.stroke();
    }
    this.names(pen, points, ink, paper, chosen);
  }
  axes(pen, ink) {
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.25;
    for (const end of [[1, 0, 0], [0, 1, 0], [0, 0, 1]]) {
      const from = this.project(...end.map((v) => -v)), to = this.project(...end);
      pen.beginPath();
      pen.moveTo(from[0], from[1]);
      pen.lineTo(to[0], to[1]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }
  names(pen, points, ink, paper, chosen) {
    const sums = new Map();
    this.data.label.forEach((label, i) => {
      const sum = sums.get(label) || [0, 0, 0, 0];
      for (let k = 0; k < 3; k++) sum[k] += points[3 * i + k];
      sum[3] += 1;
      sums.set(label, sum);
    });
    const taken = [];
    pen.font = "bold 14px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    for (const [label, [x, y, z, n]] of sums) {
      const place = this.project(x / n, y / n, z / n);
      if (n === 1) place[1] -= 11; // beside its only point, not on it
      const half = pen.measureText(this.data.names[label]).width / 2;
      const hides = taken.some(([x, y, w]) => Math.abs(x - place[0]) < w + half && Math.abs(y - place[1]) < 13);
      if (hides && label !== chosen) continue; // zoomed in, or pointed at, it is there
      taken.push([place[0], place[1], half]);
      pen.globalAlpha = chosen === null || label === chosen ? 1 : 0.35;
      pen.strokeStyle = paper;
      pen.fillStyle = ink;
      pen.strokeText(this.data.names[label], place[0], place[1]);
      pen.fillText(this.data.names[label], place[0], place[1]);
    }
    pen.globalAlpha = 1;
  }
  select(index) {
    this.selected = index;
    this.output.textContent = this.data.said[index] +
      (this.data.sounds[index] ? "" : " (no sound)");
    this.draw();
  }
  sound(index) {
    if (!this.data.sounds[index]) return;
    this.audio = this.audio || new Audio();
    stop();
    this.audio.src = this.data.sounds[index];
    play(this.audio, null);
  }
  key(event) {
    const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    const count = this.data.label.length;
    if (turns[event.key]) {
      this.turn += turns[event.key][0];
      this.tilt = Math.max(-1.5, Math.min(1.5, this.tilt + turns[event.key][1]));
    } else if (event.key === "+" || event.key === "=") this.zoom *= 1.15;
    else if (event.key === "-") this.zoom /= 1.15;
    else if (event.key === "Home") this.reset();
    else if (event.key === "n") this.select((this.selected + 1) % count);
    else if (event.key === "p") this.select((Math.max(this.selected, 0) + count - 1) % count);
    else if ((event.key === "Enter" || event.key === " ") && this.selected >= 0) {
      this.sound(this.selected);
    } else return;
    event.preventDefault();
    this.draw();
  }
  nearest(event) {
    let best = -1, least = 12;
    (this.places || []).forEach(([x, y], i) => {
      const away = Math.hypot(x - event.offsetX, y - event.offsetY);
      if (away < least) { least = away; best = i; }
    });
    return best;
  }
  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.from = [event.clientX, event.clientY];
    this.moved = false;
  }
  move(event) {
    if (!this.from) {
      const found = this.nearest(event);
      if (found >= 0 && found !== this.selected) this.select(found);
      return;
    }
    const [dx, dy] = [event.clientX - this.from[0], event.clientY - this.from[1]];
    if (!this.moved && Math.hypot(dx, dy) < 4) return;
    this.moved = true;
    this.turn += dx * 0.01;
    this.tilt = Math.max(-1.5, Math.min(1.5, this.tilt + dy * 0.01));
    this.from = [event.clientX, event.clientY];
    this.draw();
  }
  up(event) {
    this.from = null;
    if (this.moved) return;
    const found = this.nearest(event);
    if (found >= 0) { this.select(found); this.sound(found); }
  }
}
for (const box of document.querySelectorAll(".cloud")) box.cloud = new Cloud(box);
