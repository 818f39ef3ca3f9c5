// How numbers and their places are written.
import { indicesIn as indices, placeOf } from "./places.js";
import { about, answer, stageNamed } from "./state.js";

export { indices, placeOf };

/** @typedef {import("./api.js").Selection} Selection */

/** A number with four significant digits and a real minus sign. @param {number | null | undefined} x */
export function short(x) {
  if (x === null || x === undefined || Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size < 1e-3 || size >= 1e5 ? power(x, 2) : x.toFixed(size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : 4);
  return text.replace("-", "−");
}

/** A number in at most eight letters, for narrow columns. @param {number} x */
export function compact(x) {
  const size = Math.abs(x);
  if (!Number.isFinite(x) || size === 0 || size >= 1e-3) return short(x);
  return x.toExponential(1).replaceAll("-", "−");
}

/** A number with nine significant digits. @param {number | null | undefined} x */
export function long(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return short(x);
  if (x === 0) return "0";
  const size = Math.abs(x);
  return (size < 1e-4 || size >= 1e6 ? power(x, 8) : x.toPrecision(9)).replace("-", "−");
}

/** @param {number} x @param {number} digits */
function power(x, digits) {
  const [mantissa, exponent] = x.toExponential(digits).split("e");
  const raised = [...exponent.replace("+", "")].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)])).join("");
  return `${mantissa}·10${raised}`;
}

/** @param {number} p */
export function percent(p) {
  if (!Number.isFinite(p)) return "NaN";
  const text = (100 * p).toFixed(1);
  if (p < 1 && text === "100.0") return ">99.9 %";
  if (p > 0 && text === "0.0") return "<0.1 %";
  return `${text} %`;
}

/** The shape of a stage or a parameter. @param {string} name @returns {number[]} */
export function shapeOf(name) {
  if (name === "softmax") return [10];
  if (name === "loss") return [];
  return stageNamed(name)?.shape ?? about.value?.parameters[name] ?? [];
}

/** The stage of this name, or the one that owns the parameter of this name. @param {string} name */
export const stageOf = (name) =>
  stageNamed(name) ?? about.value?.stages.find((stage) => stage.weight === name || stage.bias === name);

/** "conv1[9, 11, 7]" @param {{name: string, place: number}} number */
export function nameOf({ name, place }) {
  const shape = shapeOf(name);
  return shape.length ? `${name}[${indices(place, shape).join(", ")}]` : name;
}

/** "∂L/∂conv1[9, 11, 7]" for a gradient, "fc2[7] − fc2[1]" for a lead. @param {Selection} number */
export function titleOf(number) {
  const { what, name, place } = number;
  if (what === "lead") return `${name}[${Math.floor(place / 10)}] − ${name}[${place % 10}]`;
  return what === "value" ? nameOf(number) : `∂L/∂${nameOf(number)}`;
}

/** The number itself, where the page has it. @param {Selection} number @returns {number | undefined} */
export function valueOf(number) {
  const found = answer.value;
  if (!found) return undefined;
  if (number.what === "lead") {
    const scores = found.arrays[number.name];
    return scores[Math.floor(number.place / 10)] - scores[number.place % 10];
  }
  if (number.name === "loss") return found.facts.loss;
  if (number.what === "value") return found.arrays[number.name]?.[number.place];
  if (number.what === "gradient") return found.arrays[`d/${number.name}`]?.[number.place];
  return undefined;
}
