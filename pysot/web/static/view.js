// <tracking-view visitor="KEY">: shows the latest frame of the visitor's session and lets a box be
// drawn on it, by mouse, touch or keyboard. Events: "box" with detail [x, y, w, h] in pixels of the
// frame, "draw" when one is begun, "upload" with detail {percent} or {error}. upload() sends a file.
"use strict";

const CLICK = 4; // pixels on the screen: less is no box
const STEP = 0.02; // of the frame, that an arrow key moves by; with Shift a fifth of it

class TrackingView extends HTMLElement {
  connectedCallback() {
    if (this.canvas) return;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute(
      "aria-label",
      "Video. Drag to draw a box around an object, or move the cross with the arrow keys and " +
        "press Enter at two opposite corners; Escape undoes."
    );
    this.append(this.canvas);
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel", "keydown"])
      this.canvas.addEventListener(type, (event) => this[type](event));
    this.canvas.addEventListener("blur", () => this.show(null, null));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
    window.addEventListener("pagehide", () => navigator.sendBeacon(`leave/${this.key}`));
    this.pull();
  }

  get key() {
    return this.getAttribute("visitor");
  }

  // One request at a time, answered as soon as there is a newer frame: a slow line skips frames.
  async pull() {
    this.seen = 0;
    while (this.isConnected) {
      try {
        const answer = await fetch(`frame/${this.key}?after=${this.seen}`, { cache: "no-store" });
        if (answer.status === 200) {
          this.seen = Number(answer.headers.get("X-Frame"));
          this.size = answer.headers.get("X-Size").split("x").map(Number);
          this.image = await createImageBitmap(await answer.blob());
          this.style.setProperty("--ratio", this.image.width / this.image.height);
          this.toggleAttribute("filled", true);
          this.paint();
        } else if (answer.status !== 204) return;
      } catch {
        await new Promise((done) => setTimeout(done, 1000));
      }
    }
  }

  // Forget the pictures up to a number: another video is being opened.
  clear(number) {
    if (this.seen > number) return;
    this.image = null;
    this.toggleAttribute("filled", false);
  }

  // The canvas has the pixels of the screen, so that lines are sharp on small frames, too.
  paint() {
    if (!this.image) return;
    const dense = window.devicePixelRatio;
    const width = Math.round(this.canvas.clientWidth * dense);
    const height = Math.round(this.canvas.clientHeight * dense);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.image, 0, 0, width, height);
    for (const [color, thick] of [["#000", 5 * dense], ["#fff", 2 * dense]]) {
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      if (this.from && this.to) pen.strokeRect(...this.rectangle(width, height));
      if (this.cross) this.drawCross(pen, this.cross[0] * width, this.cross[1] * height, 12 * dense);
    }
  }

  drawCross(pen, x, y, arm) {
    pen.beginPath();
    pen.moveTo(x - arm, y);
    pen.lineTo(x + arm, y);
    pen.moveTo(x, y - arm);
    pen.lineTo(x, y + arm);
    pen.stroke();
  }

  // Corners are shares of the frame, whatever its size on the screen.
  rectangle(width, height) {
    const [[x1, y1], [x2, y2]] = [this.from, this.to];
    const left = Math.min(x1, x2), top = Math.min(y1, y2);
    return [left * width, top * height, Math.abs(x2 - x1) * width, Math.abs(y2 - y1) * height];
  }

  show(from, to, cross = null) {
    [this.from, this.to, this.cross] = [from, to, cross];
    this.paint();
  }

  begin(point, cross) {
    this.show(point, point, cross);
    this.dispatchEvent(new CustomEvent("draw"));
  }

  finish() {
    const [, , width, height] = this.rectangle(this.canvas.clientWidth, this.canvas.clientHeight);
    const detail = this.rectangle(...this.size);
    this.show(null, null);
    if (Math.min(width, height) >= CLICK) this.dispatchEvent(new CustomEvent("box", { detail }));
  }

  place(event) {
    const area = this.canvas.getBoundingClientRect();
    const shares = [(event.clientX - area.x) / area.width, (event.clientY - area.y) / area.height];
    return shares.map((share) => Math.min(Math.max(share, 0), 1));
  }

  pointerdown(event) {
    if (!this.image || event.button !== 0 || !event.isPrimary) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drags = true;
    this.begin(this.place(event));
  }

  pointermove(event) {
    if (this.drags && event.isPrimary) this.show(this.from, this.place(event));
  }

  pointerup(event) {
    if (!this.drags || !event.isPrimary) return;
    this.drags = false;
    this.finish();
  }

  pointercancel() {
    this.drags = false;
    this.show(null, null);
  }

  keydown(event) {
    if (!this.image || this.drags) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const cross = this.cross || [0.5, 0.5];
    if (event.key in moves) {
      const step = event.shiftKey ? STEP / 5 : STEP;
      const moved = moves[event.key].map((way, axis) => cross[axis] + way * step);
      const inside = moved.map((share) => Math.min(Math.max(share, 0), 1));
      this.show(this.from, this.from && inside, inside);
    } else if (event.key === "Enter") {
      if (this.from) this.finish();
      else this.begin(cross, cross);
    } else if (event.key === "Escape") this.show(null, null);
    else if (event.key !== " ") return; // which the page takes, but must not scroll by
    event.preventDefault();
  }

  // Let a file be chosen, and send it.
  upload(mostBytes) {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "video/*,.mkv,.avi,.ts";
    input.onchange = () => this.send(input.files[0], mostBytes);
    input.click();
  }

  send(file, mostBytes) {
    const tell = (detail) => this.dispatchEvent(new CustomEvent("upload", { detail }));
    if (file.size > mostBytes) {
      tell({ error: `${file.name} is too large: at most ${mostBytes / 1e6} MB` });
      return;
    }
    const request = new XMLHttpRequest();
    let told = -1;
    request.upload.onprogress = (event) => {
      const percent = Math.floor((100 * event.loaded) / event.total);
      if (percent >= told + 5) tell({ percent: (told = percent) });
    };
    request.onload = () =>
      tell(request.status === 204 ? { percent: null } : { error: request.responseText });
    request.onerror = () => tell({ error: "the upload was cut off: try again" });
    request.open("POST", `upload/${this.key}?name=${encodeURIComponent(file.name)}`);
    request.send(file);
  }
}

customElements.define("tracking-view", TrackingView);
