// What the page shows, as signals, and the few ways in which it changes.
import { batch, computed, signal } from "@preact/signals";
import * as api from "./api.js";

/** @typedef {import("./api.js").Selection} Selection */
/** @typedef {{kind: "drawing"} | {kind: "digit", index: number, label: number, image: Uint8Array, training?: boolean}} Subject */

export const about = signal(/** @type {import("./api.js").About | null} */ (null));
export const mode = signal(/** @type {"forward" | "backward"} */ ("forward"));
/** What the network looks at: the drawing, or a test image. */
export const subject = signal(/** @type {Subject} */ ({ kind: "drawing" }));
export const centre = signal(true);
/** The label that was chosen; null is the test image's own, or the network's answer. */
export const chosenLabel = signal(/** @type {number | null} */ (null));
/** Filters and units that are switched off: "conv1.3". */
export const off = signal(/** @type {string[]} */ ([]));
export const answer = signal(/** @type {import("./api.js").Answer | null} */ (null));
export const waiting = signal(false);
export const connected = signal(true);
export const problem = signal("");
export const training = signal(/** @type {{step: number, loss: number} | null} */ (null));
/** Whether kernels are being compiled, which happens once. */
export const compiling = signal(false);
/** Whether the server knows which images each unit likes. */
export const liked = signal(false);
/** The question card: "", "list", or a number. */
export const card = signal("");
/** How far this page's twins are, when they moved. */
export const moved = signal(/** @type {{step: number, running: boolean} | null} */ (null));
/** How many training images have been looked at, for the nearest ones. */
export const remembered = signal(/** @type {{seen: number, total: number} | null} */ (null));
export const tested = signal(/** @type {{correct: number, total: number} | null} */ (null));

/** The trail from the first number that was clicked to the one that is shown. */
export const trail = signal(/** @type {Selection[]} */ ([]));
export const selected = computed(() => trail.value.at(-1) ?? null);
export const trace = signal(/** @type {import("./api.js").Answer | null} */ (null));
/** The number under the pointer or the keyboard's cursor. */
export const pointed = signal(/** @type {Selection | null} */ (null));
/** What a screen reader hears next. */
export const spoken = signal("");

export const label = computed(() => chosenLabel.value ?? (subject.value.kind === "digit" ? subject.value.label : null));
export const top = computed(() => {
  const p = answer.value?.arrays.softmax;
  return p ? p.indexOf(Math.max(...p)) : -1;
});

/** @param {string} name */
export const stageNamed = (name) => about.value?.stages.find((stage) => stage.name === name);

// --- the answer: one question at a time, the newest first -----------------------------------------

/** The ink of the pad; the pad sets it. @type {{ink: () => Uint8Array}} */
export const pad = { ink: () => new Uint8Array(140 * 140) };

let wanted = false;
let inFlight = /** @type {AbortController | null} */ (null);

/**
 * Ask for the maps of what is shown now. While an answer is on its way, questions wait, and only the newest is
 * asked; `afresh` also drops the one on its way, because it is about something else.
 */
export function refresh(afresh = false) {
  wanted = true;
  if (afresh) inFlight?.abort();
  if (!inFlight) void pump();
}

async function pump() {
  while (wanted) {
    wanted = false;
    const abort = (inFlight = new AbortController());
    const late = setTimeout(() => (waiting.value = true), 80);
    try {
      const shown = subject.value;
      const pixels = shown.kind === "digit" ? shown.image : pad.ink();
      /** @type {Record<string, number>} */
      const query = { gradients: mode.value === "backward" ? 1 : 0 };
      if (label.value !== null) query.label = label.value;
      if (shown.kind === "drawing") query.centre = centre.value ? 1 : 0;
      const found = await api.answerTo(shown.kind === "digit" ? "image" : "drawing", pixels, query, abort.signal);
      if (!abort.signal.aborted) {
        batch(() => {
          answer.value = found;
          problem.value = "";
          compiling.value = false;
        });
        void retrace();
      }
    } catch (error) {
      if (!abort.signal.aborted) problem.value = String(/** @type {Error} */ (error).message);
    } finally {
      clearTimeout(late);
      inFlight = null;
      waiting.value = false;
    }
  }
}

/** Fetch the terms of the selected number again: for another image, another label, or other weights. */
export async function retrace() {
  const number = selected.value;
  const asked = answer.value;
  if (!number || !asked || (number.name === "image" && number.what === "value")) {
    trace.value = null; // nothing made a pixel
    return;
  }
  try {
    const found = await api.trace(number, /** @type {Uint8Array} */ (asked.arrays.image8), asked.facts.label);
    if (selected.value !== number || answer.value !== asked) return; // no stale terms
    if (found.facts.version !== asked.facts.version) refresh();
    trace.value = found;
  } catch (error) {
    if (selected.value === number && !(error instanceof api.Refused && error.status === api.SUPERSEDED))
      problem.value = String(/** @type {Error} */ (error).message);
  }
}

// --- ways to change it ----------------------------------------------------------------------------

/** @param {Subject} next */
export function show(next) {
  subject.value = next;
  chosenLabel.value = null;
  refresh(true);
}

/** @param {"forward" | "backward"} next */
export function turn(next) {
  if (mode.value === next) return;
  const number = selected.value;
  batch(() => {
    mode.value = next;
    trace.value = null;
    if (number) {
      const turned = counterpart(number, next);
      trail.value = turned ? [turned] : [];
    }
  });
  refresh(true);
}

/** @param {Selection} number @param {"forward" | "backward"} next @returns {Selection | null} */
function counterpart(number, next) {
  if (next === "forward") return number.what === "gradient" && number.name !== "image" ? { ...number, what: "value" } : null;
  if (number.what !== "lead" && stageNamed(number.name)) return { ...number, what: "gradient" };
  const scores = about.value?.stages.at(-1)?.name;
  return scores ? { what: "gradient", name: scores, place: number.what === "lead" ? Math.floor(number.place / 10) : number.name === "softmax" ? number.place : 0 } : null;
}

/**
 * Show how a number was computed. `along` continues the trail; otherwise a new one begins.
 * @param {Selection} number
 */
export function open(number, along = false) {
  const there = trail.value.findIndex((n) => n.what === number.what && n.name === number.name && n.place === number.place);
  const needed = isForward(number) ? "forward" : "backward";
  batch(() => {
    trace.value = null;
    trail.value = along && there >= 0 ? trail.value.slice(0, there + 1) : [...(along ? trail.value : []), number];
    if (mode.value !== needed) mode.value = needed;
  });
  if (answer.value && needed === "backward" && !("d/image" in answer.value.arrays)) refresh(true);
  else void retrace();
}

/** Whether a number is on the way forward. @param {Selection} number */
export const isForward = (number) => number.what === "value" || number.what === "lead";

/** One number back on the trail; from the first, close. */
export function back() {
  trail.value = trail.value.slice(0, -1);
  const number = selected.value;
  if (number && isForward(number) !== (mode.value === "forward")) {
    mode.value = isForward(number) ? "forward" : "backward";
    refresh(true);
  } else {
    trace.value = null;
    void retrace();
  }
}

export function close() {
  trail.value = [];
  trace.value = null;
}

// --- news from the server -------------------------------------------------------------------------

/** @param {any} event */
export function hear(event) {
  compiling.value = event.kind === "compiling";
  if (event.kind === "training") {
    training.value = event;
    refresh();
  } else if (event.kind === "tested") {
    tested.value = event;
    training.value = null;
  } else if (event.kind === "favourites") liked.value = true;
  else if (event.kind === "twins") moved.value = event;
  else if (event.kind === "nearest") remembered.value = event;
  else if (event.kind === "diverged") problem.value = event.message;
}
