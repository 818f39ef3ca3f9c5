// A gradient without any backward pass: move one number, and see how far the loss moves. In float64, as in Python.
import { Refused } from "../answers.js";
import { ownerOf } from "./backward.js";
import { expectPlace, numberOf } from "./forward.js";
import { winners } from "./layers.js";
import { computeMaps, lossOf, outputsFrom } from "./maps.js";

/** @typedef {import("./layers.js").Floats} Floats */
/** @typedef {import("./layers.js").Layer} Layer */

/**
 * @param {Layer[]} layers @param {Float64Array} x @param {number} label
 * @param {import("../answers.js").Selection} selection @param {number} h
 */
export function nudge(layers, x, label, { what, name, place }, h) {
  if (!(h >= 1e-6 && h <= 1)) throw new Refused(400, `h: expected 1e-06 to 1, got ${h}`);
  const maps = computeMaps(layers, x, label, false);
  const number = what === "parameter" ? -1 : numberOf(maps, name);
  const before = number < 0 ? parameter(layers, name) : maps.outputs[number];
  expectPlace(place, before.length, name);
  const value = before[place];
  const [above, below] = [h, -h].map((step) => {
    const changed = Float64Array.from(before);
    changed[place] = value + step;
    if (number < 0) return outputsFrom(withParameter(layers, name, changed), [x]);
    return outputsFrom(layers, [...maps.outputs.slice(0, number), changed], number);
  });
  const [rise, fall] = [above, below].map((outputs) => lossOf(outputs[outputs.length - 1], label));
  const kinks = differentSlopes(layers, above, below, Math.max(number, 0));
  return { value, above: rise, below: fall, h, kinks, gradient: (rise - fall) / (2 * h), version: 0 };
}

/** @param {Layer[]} layers @param {string} name */
export function parameter(layers, name) {
  const layer = layers[ownerOf(layers, name)];
  return name === layer.biasName ? layer.bias : layer.weight;
}

/** @param {Layer[]} layers @param {string} name @param {Floats} values */
const withParameter = (layers, name, values) =>
  layers.map((layer) => (layer.weightName === name ? { ...layer, weight: values } : layer.biasName === name ? { ...layer, bias: values } : layer));

/** How many ReLUs and pools behind stage `number` have another slope on one side than on the other.
 * @param {Layer[]} layers @param {Floats[]} above @param {Floats[]} below @param {number} number */
function differentSlopes(layers, above, below, number) {
  let count = 0;
  for (let n = number; n < layers.length; n++) {
    if (layers[n].kind === "relu") count += above[n + 1].filter((value, i) => value > 0 !== below[n + 1][i] > 0).length;
    if (layers[n].kind !== "pool") continue;
    const others = winners(layers[n], below[n]);
    count += winners(layers[n], above[n]).filter((winner, i) => winner !== others[i]).length;
  }
  return count;
}
