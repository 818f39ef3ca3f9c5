// One number as the terms that made it: what minicnn/explore/trace.py is in Python, rule by rule.

/** @typedef {import("../answers.js").Answer} Answer */
/** @typedef {{what: string, name: string, shape: number[], values: Float32Array, places: Int32Array}} Factor */
/**
 * constant + sum of left * right, or what `rule` makes of `left` alone; `facts` are what the rule needs.
 * @typedef {{rule: string, code: string, value: number, left: Factor, right?: Factor, constant?: number, facts?: any}} Trace
 */

export const OUTSIDE = -1; // the place of a factor that is padding, or lies beyond the edge of a map

/**
 * A side of a sum of products, [groups, rows, columns]: the numbers of `from` at these places.
 * @param {string} what @param {string} name @param {ArrayLike<number>} from @param {number[]} shape
 * @param {Int32Array} places @param {number} outside what counts where there is no number
 * @returns {Factor}
 */
export function factor(what, name, from, shape, places, outside = 0) {
  const values = Float32Array.from(places, (place) => (place === OUTSIDE ? outside : from[place]));
  return { what, name, shape, values, places };
}

/** Ones, where a sum has no second factor. @param {number[]} shape @returns {Factor} */
export function ones(shape) {
  const size = shape.reduce((a, b) => a * b, 1);
  return { what: "parameter", name: "", shape, values: new Float32Array(size).fill(1), places: new Int32Array(size).fill(OUTSIDE) };
}

/** 0, 1, 2, ... @param {number} count */
export const counted = (count) => Int32Array.from({ length: count }, (_, i) => i);

/** The number again, from the terms, in float64. @param {Trace} trace */
export function byHand({ rule, left, right, constant = 0, facts }) {
  const terms = Array.from(left.values);
  if (rule === "sum") return terms.reduce((sum, term, i) => sum + term * (right?.values[i] ?? 1), 0) + constant;
  if (rule === "max") return Math.max(...terms.filter((_, i) => left.places[i] !== OUTSIDE));
  if (rule === "relu") return Math.max(terms[0], 0);
  if (rule === "gate") return facts.open ? terms[0] : 0;
  if (rule === "winners") return terms.reduce((sum, term, i) => sum + (facts.wins[i] ? term : 0), 0);
  if (rule === "residual") return terms[facts.index] - (facts.index === facts.label ? 1 : 0);
  const most = Math.max(...terms);
  const total = terms.reduce((sum, z) => sum + Math.exp(z - most), 0);
  if (rule === "softmax") return Math.exp(terms[facts.index] - most) / total;
  return Math.log(total) - (terms[facts.label] - most); // loss
}

/** What the page shows of a trace, the last line included. @param {Trace} trace @param {any} more @returns {Answer} */
export function asAnswer(trace, more) {
  const { rule, code, value, left, right, constant = 0, facts = {} } = trace;
  /** @type {Answer} */
  const answer = { arrays: { left: left.values, left_places: left.places }, shapes: { left: left.shape }, facts: {} };
  if (right) Object.assign(answer.arrays, { right: right.values, right_places: right.places });
  if (right) answer.shapes.right = right.shape;
  const hand = byHand(trace);
  const sides = { left: { what: left.what, name: left.name }, ...(right ? { right: { what: right.what, name: right.name } } : {}) };
  answer.facts = { ...more, value, by_hand: hand, difference: hand - value, ...sides, rule, code, constant, facts };
  return answer;
}
