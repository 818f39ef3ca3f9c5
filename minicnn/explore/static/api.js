// Questions to the server, and its answers as typed arrays.

/**
 * @typedef {{name: string, kind: string, shape: number[], stride?: number, padding?: string, size?: number,
 *   weight?: string, bias?: string}} Stage
 * @typedef {{name: string, first: number, lines: [number, string, boolean][]}} Source
 * @typedef {{minicnn: string, name: string, training: boolean, steps: number, stages: Stage[],
 *   parameters: Record<string, number[]>, test_images: number, sources: Record<string, Source>, twins: Twins}} About
 * @typedef {{differences: Record<string, string[]>, stop: number, tested: number, layers: string[], sizes: number[]}} Twins
 * @typedef {Float32Array | Int32Array | Uint8Array} Numbers
 * @typedef {{arrays: Record<string, Numbers>, shapes: Record<string, number[]>, facts: any}} Answer
 * @typedef {{what: "value" | "gradient" | "parameter" | "lead", name: string, place: number}} Selection
 */

const TYPES = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };
const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join("");

export const SUPERSEDED = 204; // the answer to a question after which a newer one was asked

/** A request that the server refused, with its one line. */
export class Refused extends Error {
  /** @param {number} status @param {string} line */
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

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

/**
 * The arrays of a safetensors file.
 * @param {ArrayBuffer} buffer
 * @returns {Answer}
 */
export function parseArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: texts, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  /** @type {Answer} */
  const answer = { arrays: {}, shapes: {}, facts: JSON.parse(texts.facts) };
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    const type = TYPES[/** @type {keyof typeof TYPES} */ (dtype)];
    answer.arrays[name] = new type(buffer.slice(8 + length + start, 8 + length + end));
    answer.shapes[name] = shape;
  }
  return answer;
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

/** @param {(event: any) => void} heard @param {(connected: boolean) => void} changed */
export function listen(heard, changed) {
  const source = new EventSource(`api/events?client=${CLIENT}`);
  source.onmessage = (message) => heard(JSON.parse(message.data));
  source.onopen = () => changed(true);
  source.onerror = () => changed(false);
}
