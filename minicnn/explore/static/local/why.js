// Why one digit and not another: the lead of its score as a sum, and what hides it.
import { Refused } from "../answers.js";
import { asGroups, nameOfStage } from "./forward.js";
import { addProducts, forward } from "./layers.js";
import { outputsFrom } from "./maps.js";
import { factor, OUTSIDE } from "./trace.js";

/** @typedef {import("./layers.js").Layer} Layer */

const [SIDE, REACH] = [28, 2]; // 5 x 5 pixels of paper

/** z[a] - z[b] = b[a] - b[b] + sum of x[d] * (w[d, a] - w[d, b])
 * @param {import("./maps.js").Maps} maps @param {number} a @param {number} b @returns {import("./trace.js").Trace} */
export function traceLead(maps, a, b) {
  if (!(a >= 0 && a < 10 && b >= 0 && b < 10)) throw new Refused(400, "digit: expected 0 to 9");
  const [layer, number] = [maps.layers[maps.layers.length - 1], maps.layers.length - 1];
  const [F, scores] = [layer.bias.length, maps.outputs[number + 1]];
  const { shape, places } = asGroups(layer.from);
  const left = factor("value", nameOfStage(maps, number), maps.outputs[number], shape, places);
  const values = Float32Array.from(places, (d) => layer.weight[d * F + a] - layer.weight[d * F + b]);
  const right = { what: "difference", name: layer.weightName, shape, values, places: places.map(() => OUTSIDE) };
  return { rule: "sum", code: "dense_forward", value: scores[a] - scores[b], left, right, constant: layer.bias[a] - layer.bias[b] };
}

/**
 * How much the lead of a over b changes when paper covers each place, place by place.
 * Only what the paper changes is computed anew.
 * @param {Layer[]} layers @param {Float32Array} x @param {number} a @param {number} b
 * @returns {Generator<void, Float32Array>}
 */
export function* occlusion(layers, x, a, b) {
  const whole = outputsFrom(layers, [x]);
  const scores = whole[whole.length - 1];
  const change = new Float32Array(SIDE * SIDE);
  for (let place = 0; place < change.length; place++) {
    const covered = x.slice();
    const [row, column] = [Math.floor(place / SIDE), place % SIDE];
    for (let i = Math.max(row - REACH, 0); i <= Math.min(row + REACH, SIDE - 1); i++)
      for (let j = Math.max(column - REACH, 0); j <= Math.min(column + REACH, SIDE - 1); j++) covered[i * SIDE + j] = 0;
    if (covered.every((value, i) => value === x[i])) continue; // paper on paper
    const found = outputsInstead(layers, whole, covered);
    change[place] = found[a] - found[b] - (scores[a] - scores[b]);
    yield;
  }
  return change;
}

/** The scores for another image, from those of the first and the differences. @param {Layer[]} layers @param {import("./layers.js").Floats[]} whole @param {Float32Array} image */
function outputsInstead(layers, whole, image) {
  let y = /** @type {import("./layers.js").Floats} */ (image);
  layers.forEach((layer, n) => {
    if (layer.kind === "relu" || layer.kind === "pool") y = forward(layer, y);
    else {
      const sums = Float64Array.from(whole[n + 1]);
      addProducts(layer, Float64Array.from(y, (value, i) => value - whole[n][i]), sums);
      y = sums;
    }
  });
  return y;
}
