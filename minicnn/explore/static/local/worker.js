// Computes in a thread of its own, so that the page never stands still. Long questions are answered piece by piece:
// strokes come in between, and a newer question of the same kind ends an older one.
import { parseArrays, Refused, SUPERSEDED } from "../answers.js";
import { Session } from "./session.js";

const PIECE = 12; // milliseconds

/** @param {string} file */
const read = async (file) => {
  const response = await fetch(new URL(`../data/${file}`, import.meta.url));
  if (!response.ok) throw new Refused(response.status, `${file}: ${response.statusText}`);
  return response;
};

const files = Promise.all([
  read("about.json").then((response) => response.json()),
  ...["weights", "images"].map((name) => read(`${name}.safetensors`).then(async (response) => parseArrays(await response.arrayBuffer()))),
]);
const session = files.then(([about, weights]) => new Session(about.stages, weights));
session.catch(() => {}); // each question says so

/** @type {Map<string, number>} */
const newest = new Map();

/** The result of some work, with breaks. @template T @param {string} kind @param {Generator<void, T>} work @returns {Promise<T>} */
async function inPieces(kind, work) {
  const number = (newest.get(kind) ?? 0) + 1;
  newest.set(kind, number);
  for (let began = performance.now(); ; ) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() - began < PIECE) continue;
    await new Promise((goOn) => setTimeout(goOn, 0));
    if (newest.get(kind) !== number) throw new Refused(SUPERSEDED, "superseded");
    began = performance.now();
  }
}

/** @param {import("../answers.js").Answer} images @param {ArrayLike<number>} chosen places in `images` */
function pick({ arrays }, chosen) {
  const picked = new Uint8Array(784 * chosen.length);
  Array.from(chosen, (place, i) => picked.set(arrays.images.subarray(784 * place, 784 * (place + 1)), 784 * i));
  return { images: picked, labels: Uint8Array.from(chosen, (place) => arrays.labels[place]) };
}

/** What can be asked; the names are those of api.js. @type {Record<string, (...asked: any[]) => any>} */
const QUESTIONS = {
  about: async () => (await files)[0],
  answerTo: async (...asked) => /** @type {any} */ (await session).answerTo(...asked),
  trace: async (...asked) => /** @type {any} */ (await session).trace(...asked),
  nudge: async (...asked) => /** @type {any} */ (await session).nudge(...asked),
  occlusion: async (image, a, b, off) => inPieces("occlusion", (await session).occlusion(image, a, b, off)),
  async accuracy(off) {
    const images = (await files)[2];
    const { images: tested, labels } = pick(images, images.arrays.tested);
    const each = Array.from(labels, (_, i) => tested.subarray(784 * i, 784 * (i + 1)));
    return inPieces(`accuracy ${off.length > 0}`, (await session).accuracy(each, Array.from(labels), off));
  },
  async digits(start, count) {
    const images = (await files)[2];
    const { order, predicted, confidence, index } = images.arrays;
    const chosen = order.slice(start, start + count);
    const found = pick(images, chosen);
    const numbers = Int32Array.from(chosen, (place) => index[place]);
    const arrays = { index: numbers, images: found.images, label: found.labels, predicted: predicted.slice(start, start + count), confidence: confidence.slice(start, start + count) };
    return { arrays, shapes: {}, facts: images.facts.digits };
  },
  async digit(number) {
    const images = (await files)[2];
    const place = images.arrays.index.indexOf(number);
    if (place < 0) throw new Refused(404, `image ${number} is not among the ${images.arrays.index.length} test images that were exported`);
    const { images: image, labels } = pick(images, [place]);
    return { arrays: { image }, shapes: {}, facts: { index: number, label: labels[0] } };
  },
  async favourites(units) {
    const images = (await files)[2];
    const { liked, values } = images.arrays;
    const of = liked.length / 9;
    if (units.some((/** @type {number} */ unit) => !(unit >= 0 && unit < of))) throw new Refused(400, `unit: expected 0 to ${of - 1}`);
    const chosen = units.flatMap((/** @type {number} */ unit) => Array.from(liked.subarray(9 * unit, 9 * unit + 9)));
    const kept = Float32Array.from(units.flatMap((/** @type {number} */ unit) => Array.from(values.subarray(9 * unit, 9 * unit + 9))));
    return { arrays: { ...pick(images, chosen), values: kept }, shapes: {}, facts: images.facts.favourites };
  },
};

addEventListener("message", async ({ data: { id, question, asked } }) => {
  try {
    postMessage({ id, answer: await QUESTIONS[question](...asked) });
  } catch (error) {
    const { status = 500, message } = /** @type {any} */ (error);
    postMessage({ id, refused: { status, line: String(message) } });
  }
});
