// What each question card shows, computed from the network and the image that are there.
import { indicesIn, placeOf } from "./places.js";
import { percent, short } from "./numbers.js";

/** @typedef {import("./answers.js").Stage} Stage */
/** @typedef {import("./answers.js").Selection} Selection */
/** @typedef {Record<string, string | number>} Facts */
/**
 * The layers by what they are for; those that a network lacks are undefined.
 * @typedef {{conv: Stage, deep: Stage, pool: Stage, last: Stage, hidden: Stage, gate: Stage, scores: Stage, image: Stage,
 *   before: (stage: Stage) => Stage, values: (stage: Stage) => ArrayLike<number>, gradients: (stage: Stage) => ArrayLike<number> | undefined,
 *   weight: (stage: Stage) => number[], p: ArrayLike<number>, answer: any, tested: {correct: number, total: number} | null, stages: Stage[]}} Net
 */
/**
 * @typedef {{way?: "forward" | "backward", needs: (net: Net) => unknown, at?: (net: Net) => Selection | undefined,
 *   loss?: (net: Net) => number, gallery?: boolean, facts: (net: Net) => Facts | null}} Card
 */

const NOTEBOOKS = [
  "00_quickstart", "01_patch_to_features", "02_stride_padding_pooling", "03_shapes", "04_initial_weights", "05_relu_softmax_loss",
  "06_backward_and_gradient_checks", "07_dropout", "08_optimizers", "09_the_tutorial",
];
/** The notebook of each question, from question 1. */
const ANSWERED_IN = [9, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 3, 3, 3, 1, 3, 3, 3, 7, 7, 7, 5, 5, 5, 8, 5, 9, 9, 4, 6];

/** @param {number} number */
export const notebookOf = (number) => NOTEBOOKS[ANSWERED_IN[number - 1]];

/**
 * @param {import("./answers.js").About | null} about @param {import("./answers.js").Answer | null} answer
 * @param {{correct: number, total: number} | null} tested @returns {Net | null}
 */
export function netOf(about, answer, tested) {
  if (!about || !answer) return null;
  const { stages } = about;
  const [convs, pools] = ["conv", "pool"].map((kind) => stages.filter((stage) => stage.kind === kind));
  const at = stages.findIndex((stage, i) => stage.kind === "dense" && stages[i + 1]?.kind === "relu");
  return /** @type {Net} */ ({
    conv: convs[0], deep: convs[1], pool: pools[0], last: pools[pools.length - 1], hidden: stages[at], gate: at < 0 ? undefined : stages[at + 1],
    scores: stages[stages.length - 1], image: stages[0], stages, answer, tested, p: answer.arrays.softmax,
    before: (stage) => stages[stages.indexOf(stage) - 1],
    values: (stage) => answer.arrays[stage.name],
    gradients: (stage) => answer.arrays[`d/${stage.name}`],
    weight: (stage) => about.parameters[stage.weight ?? ""],
  });
}

/** @param {Stage} stage @param {number} place @returns {Selection} */
const value = (stage, place) => ({ what: "value", name: stage.name, place });
/** @param {ArrayLike<number>} values */
const highest = (values) => Array.from(values).reduce((best, x, i) => (x > values[best] ? i : best), 0);
/** @param {ArrayLike<number>} values @param {(x: number) => boolean} which */
const count = (values, which) => Array.from(values).filter(which).length;
/** @param {number} n */
const many = (n) => n.toLocaleString("en");
/** The largest number at the place where most happens: on the digit, not on empty paper. @param {Stage} stage @param {Net} net */
function peak(stage, net) {
  const [values, [H, W, C]] = [net.values(stage), stage.shape];
  const at = Array.from({ length: H * W }, (_, i) => Array.from({ length: C }, (_, c) => values[i * C + c]));
  const place = highest(at.map((here) => here.reduce((sum, x) => sum + Math.abs(x), 0)));
  return value(stage, place * C + highest(at[place]));
}

/** A position whose whole window lies on blank paper, or undefined. @param {Net} net */
function blank(net) {
  const [[H, W], [kh, kw], image] = [net.conv.shape, net.weight(net.conv), net.values(net.image)];
  const [up, left] = [Math.floor((kh - 1) / 2), Math.floor((kw - 1) / 2)];
  if (net.conv.stride !== 1 || net.conv.padding !== "same") return undefined;
  for (let i = up; i < H - kh + up + 1; i++)
    for (let j = left; j < W - kw + left + 1; j++) {
      const inside = Array.from({ length: kh * kw }, (_, n) => image[(i - up + Math.floor(n / kw)) * W + j - left + (n % kw)]);
      if (inside.every((pixel) => pixel === 0)) return [i, j];
    }
  return undefined;
}

/** What is left of each filter's sum on blank paper: its bias. @param {Net} net */
function biases(net) {
  const [i, j] = blank(net) ?? [0, 0];
  const F = net.conv.shape[2];
  return Array.from({ length: F }, (_, f) => net.values(net.conv)[placeOf([i, j, f], net.conv.shape)]);
}

/** The sum of a map's gradients: that of its bias. @param {Net} net @param {number} f */
const biasGradient = (net, f) => Array.from(net.gradients(net.conv) ?? []).reduce((sum, g, i) => sum + (i % net.conv.shape[2] === f ? g : 0), 0);

/** @param {Net} net */
const padded = (net) => net.conv?.padding === "same" && net.conv.stride === 1;
/** @param {Net} net */
const firstShut = (net) => Math.max(0, Array.from(net.values(net.gate)).indexOf(0));
/** Whether all convolutions keep the size and all pools halve it. @param {Net} net */
const halves = (net) =>
  net.last && net.stages.every((stage) => stage.kind === "conv" ? stage.stride === 1 && stage.padding === "same" : stage.kind !== "pool" || (stage.stride === 2 && stage.size === 2));

/** @param {Stage} stage */
const poolFacts = (stage) => ({ pool: stage.name, size: stage.size ?? 0, stride: stage.stride ?? 0 });

/** The cards, by number; the other questions are answered in notebooks. @type {Record<number, Card>} */
const CARDS = {
  2: {
    way: "backward",
    needs: (net) => net.gate,
    at: (net) => ({ what: "gradient", name: net.hidden.name, place: firstShut(net) }),
    facts: (net) => ({ layer: net.hidden.name, gate: net.gate.name, units: many(net.gate.shape[0]), shut: many(count(net.values(net.gate), (x) => x === 0)) }),
  },
  3: {
    needs: (net) => net.conv && blank(net),
    at: (net) => value(net.conv, placeOf([.../** @type {number[]} */ (blank(net)), 0], net.conv.shape)),
    facts: (net) => ({ layer: net.conv.name, filters: net.conv.shape[2], positive: count(biases(net), (b) => b > 0), bias: short(biases(net)[0]) }),
  },
  5: {
    way: "backward",
    needs: (net) => net.conv && net.conv.shape[2] > 1,
    at: (net) => ({ what: "parameter", name: net.conv.bias ?? "", place: 0 }),
    facts: (net) => net.gradients(net.conv) ? { bias: net.conv.bias ?? "", first: short(biasGradient(net, 0)), second: short(biasGradient(net, 1)) } : null,
  },
  7: {
    needs: (net) => net.conv && net.pool,
    at: (net) => peak(net.conv, net),
    facts: ({ conv, pool }) => ({ conv: conv.name, ...poolFacts(pool), step: conv.stride ?? 0, from: conv.shape.slice(0, 2).join(" × "), to: pool.shape.slice(0, 2).join(" × ") }),
  },
  8: {
    needs: padded,
    at: (net) => value(net.conv, 0),
    facts: (net) => {
      const [kh, kw] = net.weight(net.conv);
      const [up, left] = [Math.floor((kh - 1) / 2), Math.floor((kw - 1) / 2)];
      return { all: kh * kw, outside: kh * kw - (kh - up) * (kw - left), up, left, size: net.conv.shape.slice(0, 2).join(" × ") };
    },
  },
  9: {
    needs: (net) => net.pool,
    at: (net) => peak(net.pool, net),
    facts: (net) => ({ ...poolFacts(net.pool), count: (net.pool.size ?? 0) ** 2, all: many(net.values(net.before(net.pool)).length), kept: many(net.values(net.pool).length) }),
  },
  10: { needs: (net) => net.pool, at: (net) => peak(net.pool, net), facts: (net) => ({ ...poolFacts(net.pool), count: (net.pool.size ?? 0) ** 2 }) },
  11: { needs: (net) => net.pool, at: (net) => peak(net.pool, net), facts: (net) => poolFacts(net.pool) },
  12: {
    needs: (net) => net.conv,
    at: (net) => peak(net.conv, net),
    facts: (net) => {
      const [kh, kw, C, F] = net.weight(net.conv);
      return { count: kh * kw * C, filters: F, positions: many(net.conv.shape[0] * net.conv.shape[1]) };
    },
  },
  13: {
    needs: (net) => net.conv,
    at: (net) => peak(net.conv, net),
    facts: (net) => {
      const shape = net.weight(net.conv);
      const weights = shape.reduce((a, b) => a * b, 1);
      return { layer: net.conv.name, weight: net.conv.weight ?? "", shape: shape.join(", "), weights: many(weights), filters: shape[3], parameters: many(weights + shape[3]) };
    },
  },
  16: { needs: (net) => net.deep, at: (net) => peak(net.deep, net), facts: (net) => ({ layer: net.deep.name, shape: net.deep.shape.join(", ") }) },
  17: {
    needs: (net) => net.deep,
    at: (net) => peak(net.deep, net),
    facts: (net) => {
      const [kh, kw, C, F] = net.weight(net.deep);
      return { layer: net.deep.name, below: net.before(net.deep).name, filters: F, channels: C, window: kh * kw, products: many(kh * kw * C) };
    },
  },
  18: {
    needs: halves,
    at: (net) => peak(net.last, net),
    facts: (net) => ({ chain: [28, ...net.stages.filter((stage) => stage.kind === "pool").map((stage) => stage.shape[0])].join(" → ") }),
  },
  19: {
    needs: (net) => net.hidden && net.before(net.hidden).shape.length === 3,
    at: (net) => value(net.hidden, highest(net.values(net.hidden))),
    facts: (net) => {
      const [H, W, C] = net.before(net.hidden).shape;
      return { layer: net.hidden.name, below: net.before(net.hidden).name, rows: H, columns: W, maps: C, inputs: many(H * W * C) };
    },
  },
  20: {
    needs: (net) => net.hidden && net.before(net.hidden).shape.length === 3,
    at: (net) => value(net.hidden, highest(net.values(net.hidden))),
    facts: (net) => {
      const { shape, name } = net.before(net.hidden);
      const place = highest(net.values(net.before(net.hidden)));
      const [row, column, map] = indicesIn(place, shape);
      return { layer: net.hidden.name, below: name, shape: shape.join(", "), inputs: many(shape[0] * shape[1] * shape[2]), row, column, map, columns: shape[1], maps: shape[2], place };
    },
  },
  24: {
    needs: () => true,
    at: (net) => ({ what: "value", name: "softmax", place: highest(net.p) }),
    facts: (net) => ({ digit: highest(net.values(net.scores)), label: net.answer.facts.label, p: percent(net.p[net.answer.facts.label]), loss: short(net.answer.facts.loss) }),
  },
  25: {
    needs: (net) => net.gate,
    at: (net) => value(net.scores, highest(net.p)),
    facts: (net) => ({ layer: net.hidden.name, scores: net.scores.name, units: many(net.gate.shape[0]), active: many(count(net.values(net.gate), (x) => x > 0)), inputs: many(net.before(net.hidden).shape.reduce((a, b) => a * b, 1)) }),
  },
  26: {
    needs: (net) => net.gate,
    at: (net) => value(net.gate, firstShut(net)),
    facts: (net) => ({ layer: net.hidden.name, gate: net.gate.name, scores: net.scores.name, units: many(net.gate.shape[0]), shut: many(count(net.values(net.gate), (x) => x === 0)), inputs: many(net.before(net.hidden).shape.reduce((a, b) => a * b, 1)) }),
  },
  28: {
    needs: () => true,
    loss: (net) => highest(Array.from(net.p, (p) => -p)),
    at: () => ({ what: "value", name: "loss", place: 0 }),
    facts: (net) => {
      const { label, loss } = net.answer.facts;
      const z = net.values(net.scores);
      return { label, loss: short(loss), p: short(net.p[label]), gap: short(z[highest(z)] - z[label]) };
    },
  },
  29: {
    needs: () => true,
    gallery: true,
    facts: ({ tested }) => {
      if (!tested) return null;
      const share = tested.correct / tested.total;
      const error = (/** @type {number} */ n) => (100 * Math.sqrt((share * (1 - share)) / n)).toFixed(2);
      return { wrong: many(tested.total - tested.correct), total: many(tested.total), accuracy: percent(share), error: error(tested.total), error50: error(50) };
    },
  },
  31: {
    way: "backward",
    needs: () => true,
    at: (net) => ({ what: "gradient", name: net.scores.name, place: net.answer.facts.label }),
    facts: (net) => {
      const gradients = net.gradients(net.scores);
      return gradients ? { label: net.answer.facts.label, gradient: short(gradients[net.answer.facts.label]), others: net.scores.shape[0] - 1 } : null;
    },
  },
  32: {
    way: "backward",
    needs: (net) => net.conv,
    at: (net) => {
      const shape = net.weight(net.conv);
      const sums = Array.from({ length: shape[3] }, (_, f) => Math.abs(biasGradient(net, f)));
      return { what: "parameter", name: net.conv.weight ?? "", place: placeOf([shape[0] >> 1, shape[1] >> 1, 0, highest(sums)], shape) };
    },
    facts: (net) => ({ positions: many(net.conv.shape[0] * net.conv.shape[1]), layer: net.conv.name }),
  },
};

/** The card of a question, if the page answers it. @param {number} number @returns {Card | undefined} */
export const findCard = (number) => CARDS[number];
