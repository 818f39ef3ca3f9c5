// One image on its way through the network and back: what minicnn/explore/maps.py is in Python.
import { backward, forward, zeros } from "./layers.js";

/** @typedef {import("./layers.js").Floats} Floats */
/** @typedef {import("./layers.js").Layer} Layer */
/**
 * All numbers of one image. outputs[0] is the image, outputs[n + 1] that of layers[n]; gradients likewise, or none.
 * @typedef {{layers: Layer[], outputs: Floats[], probabilities: Floats, label: number, loss: number, gradients: Floats[]}} Maps
 */

/**
 * The layers that the stages of the page are made of, with their weights.
 * @param {import("../answers.js").Stage[]} stages @param {Record<string, any>} weights by name
 * @param {Record<string, number[]>} shapes of the weights
 * @returns {Layer[]}
 */
export function layersOf(stages, weights, shapes) {
  return stages.slice(1).map((stage, n) => ({
    name: stage.name,
    kind: stage.kind,
    from: stages[n].shape,
    shape: stage.shape,
    stride: stage.stride ?? 1,
    padding: stage.padding ?? "valid",
    window: stage.kind === "conv" ? shapes[stage.weight ?? ""].slice(0, 2) : [stage.size ?? 1, stage.size ?? 1],
    weight: weights[stage.weight ?? ""] ?? new Float32Array(0),
    bias: weights[stage.bias ?? ""] ?? new Float32Array(0),
    weightName: stage.weight ?? "",
    biasName: stage.bias ?? "",
  }));
}

/** Pixels from 0 to 1. @param {Uint8Array} image */
export const toFloat = (image) => Float32Array.from(image, (pixel) => pixel / 255);

/** @param {Floats} scores @returns {Floats} */
export function softmax(scores) {
  const most = Math.max(...scores);
  const powers = Float64Array.from(scores, (z) => Math.exp(z - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return scores.map((_, k) => powers[k] / total);
}

/** -log p[label], from the scores. @param {Floats} scores @param {number} label */
export function lossOf(scores, label) {
  const most = Math.max(...scores);
  let total = 0;
  for (const z of scores) total += Math.exp(z - most);
  return Math.log(total) - (scores[label] - most);
}

/** All outputs from that of stage `number` on. @param {Layer[]} layers @param {Floats[]} before @param {number} number */
export function outputsFrom(layers, before, number = 0) {
  const outputs = before.slice(0, number + 1);
  for (const layer of layers.slice(number)) outputs.push(forward(layer, outputs[outputs.length - 1]));
  return outputs;
}

/**
 * All outputs for an image, and all gradients of the loss if asked for. Without a label the loss is that of the answer.
 * @param {Layer[]} layers @param {Floats} x @param {number | null} label @param {boolean} gradients
 * @returns {Maps}
 */
export function computeMaps(layers, x, label, gradients) {
  const outputs = outputsFrom(layers, [x]);
  const scores = outputs[outputs.length - 1];
  const probabilities = softmax(scores);
  const chosen = label ?? probabilities.indexOf(Math.max(...probabilities));
  const loss = x instanceof Float64Array ? lossOf(scores, chosen) : Math.fround(lossOf(scores, chosen));
  /** @type {Maps} */
  const maps = { layers, outputs, probabilities, label: chosen, loss, gradients: [] };
  if (gradients) {
    let dy = zeros(scores, scores.length);
    dy.set(probabilities.map((p, k) => p - (k === chosen ? 1 : 0)));
    maps.gradients.unshift(dy);
    for (let n = layers.length - 1; n >= 0; n--) {
      dy = backward(layers[n], outputs[n], outputs[n + 1], dy);
      maps.gradients.unshift(dy);
    }
  }
  return maps;
}
