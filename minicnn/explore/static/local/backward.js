// One gradient, of a number or of a parameter, as the terms that made it: what minicnn/explore/backward.py is in Python.
import { Refused } from "../answers.js";
import { asGroups, expectPlace, nameOfStage, numberOf } from "./forward.js";
import { cornerOf, eachPixel, parameterGradients, winners } from "./layers.js";
import { counted, factor, ones, OUTSIDE } from "./trace.js";

/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./layers.js").Floats} Floats */
/** @typedef {import("./maps.js").Maps} Maps */
/** @typedef {import("./trace.js").Trace} Trace */

/** The terms of dL/d(one output of a stage). @param {Maps} maps @param {string} name @param {number} place @returns {Trace} */
export function traceGradient(maps, name, place) {
  const number = numberOf(maps, name);
  expectPlace(place, maps.outputs[number].length, name);
  const value = maps.gradients[number][place];
  const layer = maps.layers[number]; // the one above
  if (!layer) return scores(maps, place, value);
  const dy = maps.gradients[number + 1];
  if (layer.kind === "conv") return conv(layer, dy, place, value);
  if (layer.kind === "dense") return dense(layer, dy, place, value);
  if (layer.kind === "pool") return pool(layer, maps.outputs[number], dy, place, value);
  const output = maps.outputs[number + 1][place];
  return { rule: "gate", code: "relu_backward", value, left: single("gradient", layer.name, dy, place), facts: { open: output > 0, output } };
}

/** The layer that owns a parameter, as its number. @param {Layer[]} layers @param {string} name */
export function ownerOf(layers, name) {
  const number = layers.findIndex((layer) => name !== "" && (layer.weightName === name || layer.biasName === name));
  if (number < 0) throw new Refused(400, `parameter: expected one of this network, got ${name}`);
  return number;
}

/** The terms of dL/d(one entry of a parameter). @param {Maps} maps @param {string} name @param {number} place @returns {Trace} */
export function traceParameter(maps, name, place) {
  const number = ownerOf(maps.layers, name);
  const layer = maps.layers[number];
  const ofBias = name === layer.biasName;
  expectPlace(place, (ofBias ? layer.bias : layer.weight).length, name);
  const [x, dy, before] = [maps.outputs[number], maps.gradients[number + 1], nameOfStage(maps, number)];
  const found = parameterGradients(layer, x, dy);
  const value = (ofBias ? found.bias : found.weight)[place];
  if (layer.kind === "conv") return ofBias ? convBias(layer, dy, place, value) : convWeight(layer, before, x, dy, place, value);
  if (ofBias) return { rule: "sum", code: "dense_backward.db", value, left: single("gradient", layer.name, dy, place), right: ones([1, 1, 1]) };
  const F = layer.bias.length; // dw[d, f] = x[d] * dy[f]: one image, one term
  const [left, right] = [single("value", before, x, Math.floor(place / F)), single("gradient", layer.name, dy, place % F)];
  return { rule: "sum", code: "dense_backward.dw", value, left, right };
}

/** @param {string} what @param {string} name @param {Floats} values @param {number} place */
const single = (what, name, values, place) => factor(what, name, values, [1, 1, 1], Int32Array.of(place));

/** @param {Maps} maps @param {number} place @param {number} value @returns {Trace} */
function scores(maps, place, value) {
  const p = maps.probabilities;
  const left = factor("value", "softmax", p, [1, 1, p.length], counted(p.length));
  return { rule: "residual", code: "softmax_cross_entropy_backward", value, left, facts: { index: place, label: maps.label } };
}

/** dx[y, x, c] = sum of dy[i, j, f] * w[u, v, c, f], where s i + u - top = y, and j likewise
 * @param {Layer} layer @param {Floats} dy @param {number} place @param {number} value @returns {Trace} */
function conv(layer, dy, place, value) {
  const [[, W, C], [Ho, Wo, F], [kh, kw]] = [layer.from, layer.shape, layer.window];
  const [top, left] = cornerOf(layer);
  const [row, column, c] = [Math.floor(place / C / W), Math.floor(place / C) % W, place % C];
  const [shape, places, weights] = [[F, kh, kw], new Int32Array(F * kh * kw).fill(OUTSIDE), new Int32Array(F * kh * kw)];
  for (let u = 0; u < kh; u++)
    for (let v = 0; v < kw; v++) {
      const [i, j] = [(row + top - u) / layer.stride, (column + left - v) / layer.stride];
      const fits = Number.isInteger(i) && Number.isInteger(j) && i >= 0 && j >= 0 && i < Ho && j < Wo;
      for (let f = 0; f < F; f++) {
        const at = (f * kh + u) * kw + v;
        if (fits) places[at] = (i * Wo + j) * F + f;
        weights[at] = ((u * kw + v) * C + c) * F + f;
      }
    }
  const [first, second] = [factor("gradient", layer.name, dy, shape, places), factor("parameter", layer.weightName, layer.weight, shape, weights)];
  return { rule: "sum", code: "conv2d_backward.dx", value, left: first, right: second };
}

/** dx[d] = sum of dy[f] * w[d, f] @param {Layer} layer @param {Floats} dy @param {number} place @param {number} value @returns {Trace} */
function dense(layer, dy, place, value) {
  const [F, shape] = [dy.length, [1, 1, dy.length]];
  const left = factor("gradient", layer.name, dy, shape, counted(F));
  const right = factor("parameter", layer.weightName, layer.weight, shape, counted(F).map((f) => place * F + f));
  return { rule: "sum", code: "dense_backward.dx", value, left, right };
}

/** @param {Layer} layer @param {Floats} x @param {Floats} dy @param {number} place @param {number} value @returns {Trace} */
function pool(layer, x, dy, place, value) {
  const [[Ho, Wo, C], found] = [layer.shape, winners(layer, x)];
  const c = place % C;
  /** @type {number[]} */
  const windows = [];
  for (let i = 0; i < Ho; i++)
    for (let j = 0; j < Wo; j++)
      eachPixel(layer, i, j, (pixel) => {
        if (pixel === Math.floor(place / C)) windows.push((i * Wo + j) * C + c);
      });
  const facts = { wins: windows.map((window) => found[window] === place), winners: windows.map((window) => found[window]) };
  const left = factor("gradient", layer.name, dy, [1, 1, windows.length], Int32Array.from(windows));
  return { rule: "winners", code: "max_pool2d_backward", value, left, facts };
}

/** dw[u, v, c, f] = sum of xpad[s i + u, s j + v, c] * dy[i, j, f]
 * @param {Layer} layer @param {string} before @param {Floats} x @param {Floats} dy @param {number} place @param {number} value @returns {Trace} */
function convWeight(layer, before, x, dy, place, value) {
  const [C, [Ho, Wo, F]] = [layer.from[2], layer.shape];
  const [inWindow, c, f] = [Math.floor(place / F / C), Math.floor(place / F) % C, place % F];
  const [shape, places] = [[1, Ho, Wo], new Int32Array(Ho * Wo).fill(OUTSIDE)];
  for (let n = 0; n < Ho * Wo; n++)
    eachPixel(layer, Math.floor(n / Wo), n % Wo, (pixel, at) => {
      if (at === inWindow) places[n] = pixel * C + c;
    });
  const right = factor("gradient", layer.name, dy, shape, counted(Ho * Wo).map((n) => n * F + f));
  return { rule: "sum", code: "conv2d_backward.dw", value, left: factor("value", before, x, shape, places), right };
}

/** @param {Layer} layer @param {Floats} dy @param {number} place @param {number} value @returns {Trace} */
function convBias(layer, dy, place, value) {
  const { places } = asGroups(layer.shape);
  const [Ho, Wo] = layer.shape;
  const shape = [1, Ho, Wo];
  const left = factor("gradient", layer.name, dy, shape, places.slice(place * Ho * Wo, (place + 1) * Ho * Wo));
  return { rule: "sum", code: "conv2d_backward.db", value, left, right: ones(shape) };
}
