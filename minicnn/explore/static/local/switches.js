// Filters and units switched off: their weights and biases are 0.
import { Refused } from "../answers.js";

/** @typedef {import("./layers.js").Layer} Layer */

/** A network with these off, such as "conv1.3"; the scores cannot be. @param {Layer[]} layers @param {string[]} names @returns {Layer[]} */
export function switchedOff(layers, names) {
  /** @type {Map<string, Set<number>>} */
  const chosen = new Map();
  for (const name of names) {
    const at = name.lastIndexOf(".");
    const [owner, number] = [layers.slice(0, -1).find((layer) => layer.bias.length && layer.name === name.slice(0, at)), Number(name.slice(at + 1))];
    if (!owner || !/^\d{1,6}$/.test(name.slice(at + 1)) || number >= owner.bias.length) throw new Refused(400, `off: expected filters or units, such as conv1.3, got ${name}`);
    chosen.set(owner.name, (chosen.get(owner.name) ?? new Set()).add(number));
  }
  return layers.map((layer) => {
    const off = chosen.get(layer.name);
    if (!off) return layer;
    const F = layer.bias.length;
    /** @param {import("./layers.js").Floats} values */
    const without = (values) => values.map((value, i) => (off.has(i % F) ? 0 : value));
    return { ...layer, weight: without(layer.weight), bias: without(layer.bias) };
  });
}
