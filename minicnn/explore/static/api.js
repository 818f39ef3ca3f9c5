// Questions to the server, and its answers as typed arrays. `local/api.js` answers the same questions without a
// server; index.html says which of the two the page uses.
import { parseArrays, Refused, SUPERSEDED } from "./answers.js";

export { Refused, SUPERSEDED };
/**
 * @typedef {import("./answers.js").Stage} Stage
 * @typedef {import("./answers.js").Source} Source
 * @typedef {import("./answers.js").About} About
 * @typedef {import("./answers.js").Numbers} Numbers
 * @typedef {import("./answers.js").Answer} Answer
 * @typedef {import("./answers.js").Selection} Selection
 * @typedef {import("./answers.js").Twins} Twins
 */

const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join("");

let off = "";
/** What is switched off in all questions about an image from here on. @param {string[]} names */
export const switchOff = (names) => (off = names.join(","));

/**
 * @param {string} path
 * @param {Record<string, string | number>} query
 * @param {Uint8Array | null} body
 * @param {AbortSignal} [signal]
 */
async function ask(path, query, body, signal) {
  if (body && off) query = { ...query, off };
  const text = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const response = await fetch(`api/${path}?${text}`, {
    method: body ? "POST" : "GET",
    body: /** @type {BodyInit | null} */ (body),
    signal,
  });
  if (response.status === SUPERSEDED) throw new Refused(SUPERSEDED, "superseded");
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim());
  return response;
}

/** @param {Response} response */
const arrays = async (response) => parseArrays(await response.arrayBuffer());

/** @returns {Promise<About>} */
export const about = async () => (await ask("about", {}, null)).json();

/**
 * All maps of a drawing or an image.
 * @param {"drawing" | "image"} what
 * @param {Uint8Array} pixels
 * @param {Record<string, string | number>} query
 * @param {AbortSignal} signal
 */
export const answerTo = async (what, pixels, query, signal) => arrays(await ask(what, query, pixels, signal));

let traces = 0;
/**
 * The terms of one number. Of several questions only the newest is answered.
 * @param {Selection} selection
 * @param {Uint8Array} image
 * @param {number | null} label
 */
export async function trace(selection, image, label) {
  const query = { ...selection, ...(label === null ? {} : { label }), client: CLIENT, number: ++traces };
  return arrays(await ask("trace", query, image));
}

/**
 * @param {Selection} selection
 * @param {Uint8Array} image
 * @param {number} label
 * @param {number} step
 */
export const nudge = async (selection, image, label, step) =>
  (await ask("nudge", { ...selection, label, h: step }, image)).json();

/** What excites these inputs of the last layer most. @param {number[]} units */
export const favourites = async (units) => arrays(await ask("favourites", { units: units.join(",") }, null));

let accuracies = 0;
/** How many of 1,000 test images are classified correctly. @param {string[]} names what is switched off */
export const accuracy = async (names) =>
  (await ask("accuracy", { off: names.join(","), ...(names.length ? { client: `${CLIENT} accuracy`, number: ++accuracies } : {}) }, null)).json();

let occlusions = 0;
/** How the lead of a over b changes where paper covers the image. @param {Uint8Array} image @param {number} a @param {number} b */
export const occlusion = async (image, a, b) =>
  arrays(await ask("occlusion", { a, b, client: `${CLIENT} covered`, number: ++occlusions }, image));

let nearests = 0;
/** The training images nearest to an image. @param {Uint8Array} image @param {number} count */
export const nearest = async (image, count) =>
  arrays(await ask("nearest", { count, client: `${CLIENT} nearest`, number: ++nearests }, image));

/** Begin, move or look at this page's twins. @param {Record<string, string | number>} query @param {Uint8Array} image */
export const twins = async (query, image) => arrays(await ask("twins", { ...query, client: CLIENT }, image));

/** What the gradient check says of a wrong layer. @param {string} gradient */
export const check = async (gradient) => (await ask("check", { gradient }, null)).json();

/** @param {number} start @param {number} count */
export const digits = async (start, count) => arrays(await ask("digits", { start, count }, null));

/** One test image, or one of training, by its number. @param {number} index @param {boolean} training @returns {Promise<Answer>} */
export const digit = async (index, training) => arrays(await ask("digit", { index, training: training ? 1 : 0 }, null));

/** @param {(event: any) => void} heard @param {(connected: boolean) => void} changed */
export function listen(heard, changed) {
  const source = new EventSource(`api/events?client=${CLIENT}`);
  source.onmessage = (message) => heard(JSON.parse(message.data));
  source.onopen = () => changed(true);
  source.onerror = () => changed(false);
}
