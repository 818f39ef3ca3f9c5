// One output as the terms that made it: what minicnn/explore/forward.py is in Python.
import { Refused } from "../answers.js";
import { eachPixel, sizeOf, winners } from "./layers.js";
import { counted, factor, OUTSIDE } from "./trace.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./maps.js").Maps} Maps */
/** @typedef {import("./trace.js").Trace} Trace */

/** @param {Maps} maps @param {string} name 0 is the image */
export function numberOf(maps, name) {
  const number = ["image", ...maps.layers.map((layer) => layer.name)].indexOf(name);
  if (number < 0) throw new Refused(400, `stage: expected one of this network, got ${name}`);
  return number;
}

/** @param {Maps} maps @param {number} number of a stage */
export const nameOfStage = (maps, number) => (number === 0 ? "image" : maps.layers[number - 1].name);

/** @param {number} place @param {number} size @param {string} name */
export function expectPlace(place, size, name) {
  if (!Number.isInteger(place) || place < 0 || place >= size) throw new Refused(400, `place: expected 0 to ${size - 1} in ${name}, got ${place}`);
}

/** The terms of one number of a stage, of "softmax" or of the "loss". @param {Maps} maps @param {string} name @param {number} place @returns {Trace} */
export function traceOutput(maps, name, place) {
  if (name === "softmax" || name === "loss") return head(maps, name, place);
  const number = numberOf(maps, name);
  expectPlace(place, maps.outputs[number].length, name);
  if (number === 0) throw new Refused(400, "stage: the image is where the terms end");
  const layer = maps.layers[number - 1];
  const [x, before] = [maps.outputs[number - 1], nameOfStage(maps, number - 1)];
  const value = maps.outputs[number][place];
  if (layer.kind === "conv") return conv(layer, before, x, place, value);
  if (layer.kind === "dense") return dense(layer, before, x, place, value);
  if (layer.kind === "pool") return pool(layer, before, x, place, value);
  const left = factor("value", before, x, [1, 1, 1], Int32Array.of(place));
  return { rule: "relu", code: "relu_forward", value, left };
}

/** The places of a window in the maps [H, W, C], as [C, rows, columns]. @param {Layer} layer @param {number} i @param {number} j @param {number[]} channels */
function windowPlaces(layer, i, j, channels) {
  const size = sizeOf(layer.window);
  const places = new Int32Array(channels.length * size).fill(OUTSIDE);
  eachPixel(layer, i, j, (pixel, inWindow) => {
    channels.forEach((c, n) => (places[n * size + inWindow] = pixel * layer.from[2] + c));
  });
  return places;
}

/** y[i, j, f] = b[f] + sum of xpad[s i + u, s j + v, c] * w[u, v, c, f]
 * @param {Layer} layer @param {string} before @param {any} x @param {number} place @param {number} value @returns {Trace} */
function conv(layer, before, x, place, value) {
  const [C, F, Wo] = [layer.from[2], layer.bias.length, layer.shape[1]];
  const f = place % F;
  const [i, j] = [Math.floor(place / F / Wo), Math.floor(place / F) % Wo];
  const size = sizeOf(layer.window);
  const shape = [C, ...layer.window];
  const weights = counted(C * size).map((n) => ((n % size) * C + Math.floor(n / size)) * F + f);
  const left = factor("value", before, x, shape, windowPlaces(layer, i, j, Array.from({ length: C }, (_, c) => c)));
  const right = factor("parameter", layer.weightName, layer.weight, shape, weights);
  return { rule: "sum", code: "conv2d_forward", value, left, right, constant: layer.bias[f], facts: { bias: layer.biasName, bias_place: f } };
}

/** y[f] = b[f] + sum of x[d] * w[d, f] @param {Layer} layer @param {string} before @param {any} x @param {number} place @param {number} value @returns {Trace} */
function dense(layer, before, x, place, value) {
  const F = layer.bias.length;
  const { shape, places } = asGroups(layer.from);
  const left = factor("value", before, x, shape, places);
  const right = factor("parameter", layer.weightName, layer.weight, shape, places.map((d) => d * F + place));
  return { rule: "sum", code: "dense_forward", value, left, right, constant: layer.bias[place], facts: { bias: layer.biasName, bias_place: place } };
}

/** All places of a stage as [groups, rows, columns]: maps one by one, or one row. @param {number[]} from */
export function asGroups(from) {
  if (from.length === 1) return { shape: [1, 1, from[0]], places: counted(from[0]) };
  const [H, W, C] = from;
  return { shape: [C, H, W], places: counted(H * W * C).map((n) => (n % (H * W)) * C + Math.floor(n / (H * W))) };
}

/** @param {Layer} layer @param {string} before @param {any} x @param {number} place @param {number} value @returns {Trace} */
function pool(layer, before, x, place, value) {
  const [C, Wo] = [layer.from[2], layer.shape[1]];
  const pixel = Math.floor(place / C);
  const places = windowPlaces(layer, Math.floor(pixel / Wo), pixel % Wo, [place % C]);
  const left = factor("value", before, x, [1, ...layer.window], places, -Infinity);
  const ties = left.values.filter((one) => one === value).length;
  return { rule: "max", code: "max_pool2d_forward", value, left, facts: { winner: places.indexOf(winners(layer, x)[place]), ties } };
}

/** @param {Maps} maps @param {string} name @param {number} place @returns {Trace} */
function head(maps, name, place) {
  const scores = maps.outputs[maps.outputs.length - 1];
  const left = factor("value", nameOfStage(maps, maps.layers.length), scores, [1, 1, scores.length], counted(scores.length));
  if (name === "loss") return { rule: "loss", code: "softmax_cross_entropy_forward", value: maps.loss, left, facts: { label: maps.label } };
  expectPlace(place, scores.length, name);
  return { rule: "softmax", code: "softmax", value: maps.probabilities[place], left, facts: { index: place } };
}
