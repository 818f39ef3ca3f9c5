// The pad: 280 x 280 pixels to draw on with mouse, finger, pen or keyboard.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { stepOf } from "./maps.js";
import { centre, pad, refresh, show, subject } from "./state.js";
import { t } from "./text.js";

const SIDE = 280;
const SENT = 140; // what the server is told: half of it
const PEN = 22;

/** @type {{points: number[][], rubs: boolean}[]} */
let strokes = [];
let ground = /** @type {{index: number, label: number, image: Uint8Array, training?: boolean} | null} */ (null); // a test image that is being changed
/** Counts the changes of the drawing, a stroke each. */
export const drawn = signal(0);
const rubbing = signal(false);
let context = /** @type {CanvasRenderingContext2D | null} */ (null);
const pen = signal(/** @type {{x: number, y: number, down: boolean} | null} */ (null));
export const blank = signal(true);

pad.ink = () => {
  const ink = new Uint8Array(SENT * SENT);
  if (!context) return ink; // nobody can have drawn yet
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  for (let i = 0; i < ink.length; i++) {
    const at = 4 * (2 * Math.floor(i / SENT) * SIDE + 2 * (i % SENT)); // a mean of 2 x 2 pixels
    ink[i] = 255 - (data[at] + data[at + 4] + data[at + 4 * SIDE] + data[at + 4 * SIDE + 4]) / 4;
  }
  return ink;
};

function wipe() {
  if (!context) return;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, SIDE, SIDE);
  Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  if (!ground) return;
  for (const [i, ink] of ground.image.entries()) {
    context.fillStyle = `rgb(${255 - ink} ${255 - ink} ${255 - ink})`;
    context.fillRect((i % 28) * 10, Math.floor(i / 28) * 10, 10, 10);
  }
}

/** Draw a stroke's piece that ends at a point. @param {{points: number[][], rubs: boolean}} stroke @param {number} [end] */
function drawPiece({ points, rubs }, end = points.length - 1) {
  if (!context) return;
  const [from, to] = [points[Math.max(0, end - 1)], points[end]];
  context.strokeStyle = rubs ? "#ffffff" : "#000000";
  context.beginPath();
  context.moveTo(from[0], from[1]);
  context.lineTo(to[0], to[1]);
  context.stroke();
}

function redraw() {
  wipe();
  for (const stroke of strokes) stroke.points.forEach((_, i) => drawPiece(stroke, i));
  blank.value = strokes.length === 0 && !ground;
  drawn.value = drawn.peek() + 1;
}

/** @param {number[]} point */
function begin(point) {
  const shown = subject.value;
  if (shown.kind === "digit") {
    strokes = [];
    ground = rubbing.value ? shown : null; // the rubber works on the image, the pen begins anew
    if (ground) centre.value = false; // it is centred already
    wipe();
  }
  strokes.push({ points: [point], rubs: rubbing.value });
  blank.value = false;
  drawPiece(strokes[strokes.length - 1]);
  if (shown.kind === "digit") show({ kind: "drawing" });
  else refresh(true);
}

/** @param {number[]} point */
function extend(point) {
  const stroke = strokes[strokes.length - 1];
  stroke.points.push(point);
  drawPiece(stroke);
  refresh();
}

/** The strokes, and the test image under them, as they can be drawn again. */
export const drawing = () => ({ strokes, ground: ground && !ground.training ? ground.index : null, trainground: ground?.training ? ground.index : null });

/** Draw other strokes instead. @param {typeof strokes} others @param {{index: number, label: number, image: Uint8Array, training?: boolean} | null} below */
export function redo(others, below) {
  [strokes, ground] = [others.map(({ points, rubs }) => ({ points: [...points], rubs })), below];
  rubbing.value = false;
  redraw();
}

export function clear() {
  redo([], null);
  show({ kind: "drawing" });
}

export function undo() {
  strokes.pop();
  redraw();
  show({ kind: "drawing" });
}

export function Pad() {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const down = useRef(false);
  useEffect(() => {
    context = /** @type {HTMLCanvasElement} */ (canvas.current).getContext("2d", { willReadFrequently: true });
    redraw();
    if (!blank.value) refresh(true); // a drawing from the address
  }, []);
  /** @param {PointerEvent} event */
  const at = (event) => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current).getBoundingClientRect();
    const point = [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
    return point.map((n) => Math.round(Math.min(2 * SIDE, Math.max(-SIDE, n)))); // integers, as in the address
  };
  /** @param {PointerEvent} event */
  const press = (event) => {
    if (event.button !== 0) return;
    /** @type {HTMLCanvasElement} */ (canvas.current).setPointerCapture(event.pointerId);
    down.current = true;
    pen.value = null;
    begin(at(event));
  };
  /** @param {PointerEvent} event */
  const move = (event) => {
    if (!down.current) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const one of between.length ? between : [event]) extend(at(one));
  };
  const up = () => {
    down.current = false;
    drawn.value++;
  };
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    const now = pen.value ?? { x: SIDE / 2, y: SIDE / 2, down: false };
    const step = stepOf(event.key);
    if (step) {
      const next = { ...now, x: inside(now.x + 10 * step[1]), y: inside(now.y + 10 * step[0]) };
      pen.value = next;
      if (now.down) extend([next.x, next.y]);
    } else if (event.key === " " || event.key === "Enter") {
      pen.value = { ...now, down: !now.down };
      if (!now.down) begin([now.x, now.y]);
      else drawn.value++;
    } else if (event.key === "Delete") clear();
    else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const chosen = subject.value;
  return html`<div class="pad">
    <canvas
      ref=${canvas}
      width=${SIDE}
      height=${SIDE}
      tabindex="0"
      role="application"
      aria-label=${t("pad_label")}
      aria-describedby="pad-help"
      onPointerDown=${press}
      onPointerMove=${move}
      onPointerUp=${up}
      onPointerCancel=${up}
      onKeyDown=${key}
    ></canvas>
    ${chosen.kind === "digit" && html`<div class="chosen"><${Thumbnail} image=${chosen.image} /><p>${t(chosen.training ? "chosen_training" : "chosen", { index: chosen.index })}</p></div>`}
    ${blank.value && !pen.value && chosen.kind === "drawing" && html`<p class="pad-hint" aria-hidden="true">${t("pad_hint")}</p>`}
    ${pen.value &&
    html`<span
      class=${`pen ${pen.value.down ? "down" : ""}`}
      style=${{ left: `${(100 * pen.value.x) / SIDE}%`, top: `${(100 * pen.value.y) / SIDE}%` }}
    ></span>`}
    <div class="row">
      <button onClick=${undo} disabled=${strokes.length === 0 || chosen.kind === "digit"}>${t("undo")}</button>
      <button aria-pressed=${rubbing.value} disabled=${blank.value && chosen.kind === "drawing"} onClick=${() => (rubbing.value = !rubbing.value)}>${t("rubber")}</button>
      <button onClick=${clear} disabled=${blank.value && chosen.kind === "drawing"}>${t("clear")}</button>
    </div>
    <p id="pad-help" class="help">${t("pad_help")}</p>
  </div>`;
}

/** An image of the data. @param {{image: Uint8Array}} props */
export function Thumbnail({ image }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useEffect(() => {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.current?.getContext("2d"));
    const pixels = context.createImageData(28, 28);
    image.forEach((ink, i) => pixels.data.set([255 - ink, 255 - ink, 255 - ink, 255], 4 * i));
    context.putImageData(pixels, 0, 0);
  }, [image]);
  return html`<canvas ref=${canvas} width="28" height="28" aria-hidden="true"></canvas>`;
}

/** @param {number} position */
const inside = (position) => Math.min(SIDE - 4, Math.max(4, position));
