// The questions of ../api.js, answered in this browser: index.html puts this module in its place.
import { Refused, SUPERSEDED } from "../answers.js";

export { Refused, SUPERSEDED };

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
/** @type {Map<number, {answer: (found: any) => void, refuse: (error: Error) => void}>} */
const waiting = new Map();
let questions = 0;
let off = /** @type {string[]} */ ([]);

worker.onmessage = (/** @type {MessageEvent} */ event) => {
  const { id, answer, refused } = event.data;
  const asked = waiting.get(id);
  waiting.delete(id);
  if (refused) asked?.refuse(new Refused(refused.status, refused.line));
  else asked?.answer(answer);
};
worker.onerror = (/** @type {ErrorEvent} */ event) => {
  for (const { refuse } of waiting.values()) refuse(new Refused(500, event.message || "the computing thread has stopped"));
  waiting.clear();
};

/** @param {string} question @param {any[]} asked @returns {Promise<any>} */
const ask = (question, ...asked) =>
  new Promise((answer, refuse) => {
    waiting.set(++questions, { answer, refuse });
    worker.postMessage({ id: questions, question, asked });
  });

/** @type {typeof import("../api.js").switchOff} */
export const switchOff = (names) => (off = names).join(",");

/** What takes a training is not asked here: about() has no twins. @returns {Promise<any>} */
const withoutTraining = async () => {
  throw new Refused(404, "only while minicnn explore runs");
};

/** @type {typeof import("../api.js").about} */
export const about = () => ask("about");

/** @type {typeof import("../api.js").answerTo} */
export async function answerTo(what, pixels, { centre = 0, gradients, label = null }, signal) {
  const found = await ask("answerTo", what, pixels, Boolean(centre), Boolean(gradients), { label, off });
  signal.throwIfAborted();
  return found;
}

let traces = 0;
/** @type {typeof import("../api.js").trace} */
export async function trace(selection, image, label) {
  const number = ++traces;
  const found = await ask("trace", selection, image, { label, off });
  if (number !== traces) throw new Refused(SUPERSEDED, "superseded");
  return found;
}

/** @type {typeof import("../api.js").nudge} */
export const nudge = (selection, image, label, step) => ask("nudge", selection, image, step, { label, off });

/** @type {typeof import("../api.js").favourites} */
export const favourites = (units) => ask("favourites", units);

/** @type {typeof import("../api.js").accuracy} */
export const accuracy = (names) => ask("accuracy", names);

/** @type {typeof import("../api.js").occlusion} */
export const occlusion = (image, a, b) => ask("occlusion", image, a, b, off);

/** @type {typeof import("../api.js").digits} */
export const digits = (start, count) => ask("digits", start, count);

/** @type {typeof import("../api.js").digit} */
export const digit = (index, training) => (training ? withoutTraining() : ask("digit", index));

/** @type {typeof import("../api.js").nearest} */
export const nearest = withoutTraining;
/** @type {typeof import("../api.js").twins} */
export const twins = withoutTraining;
/** @type {typeof import("../api.js").check} */
export const check = withoutTraining;

/** Nothing is trained here: all news is old. @type {typeof import("../api.js").listen} */
export function listen(heard, changed) {
  changed(true);
  void about().then(({ news = [] }) => news.forEach(heard));
}
