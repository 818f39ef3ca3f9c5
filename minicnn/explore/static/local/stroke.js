// Strokes as wide as MNIST's, if they are much thinner or thicker.
import { boxOf, resized, rounded } from "./picture.js";

/** @typedef {import("./picture.js").Picture} Picture */

const [BOX, FINE] = [20, 160];
const [THINNEST, THICKEST, THIN, THICK] = [1.8, 4.4, 2.2, 3.6]; // in pixels of the box of 20

/** @param {Picture} digit @returns {Picture} */
export function corrected(digit) {
  const scale = FINE / Math.max(digit.rows, digit.columns);
  const fine = resized(digit, Math.max(1, rounded(scale * digit.rows)), Math.max(1, rounded(scale * digit.columns)));
  const most = fine.values.reduce((a, b) => Math.max(a, b), 0);
  fine.values = fine.values.map((value) => value / most);
  const width = strokeWidth(fine);
  const inBox = (width * BOX) / FINE;
  if (inBox >= THINNEST && inBox <= THICKEST) return digit;
  const wanted = inBox < THINNEST ? THIN : THICK;
  // Wider by a radius r on each side: (width + 2 r) / (FINE + 2 r) = wanted / BOX. A negative r makes it thinner.
  const radius = (wanted * FINE - BOX * width) / (2 * (BOX - wanted));
  let changed;
  if (radius > 0) changed = dilated(framed(fine, Math.trunc(radius) + 1), radius);
  else {
    const paper = framed(fine, 1);
    paper.values = paper.values.map((value) => 1 - value);
    changed = dilated(paper, -radius);
    changed.values = changed.values.map((value) => 1 - value);
  }
  return changed.values.some((value) => value >= 0.5) ? boxOf(changed) : digit;
}

/** @param {Picture} picture @param {number} margin @returns {Picture} */
function framed({ rows, columns, values }, margin) {
  const [H, W] = [rows + 2 * margin, columns + 2 * margin];
  const wider = new Float32Array(H * W);
  values.forEach((value, i) => (wider[(Math.floor(i / columns) + margin) * W + (i % columns) + margin] = value));
  return { rows: H, columns: W, values: wider };
}

/** The mean width in pixels: twice the area divided by the length of the edges. @param {Picture} digit */
function strokeWidth(digit) {
  const { rows, columns, values } = framed(digit, 2);
  let [area, edges] = [0, 0];
  /** The slope along an axis: a centred difference, one-sided at the ends. @param {number} at @param {number} i @param {number} size @param {number} step */
  const slope = (at, i, size, step) => {
    const [before, after] = [i > 0 ? step : 0, i + 1 < size ? step : 0];
    return (values[at + after] - values[at - before]) / ((before + after) / step);
  };
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column;
      area += values[at];
      edges += Math.hypot(slope(at, column, columns, 1), slope(at, row, rows, columns));
    }
  return (2 * area) / edges;
}

/** Each pixel becomes the largest within a radius. @param {Picture} picture @param {number} radius @returns {Picture} */
function dilated({ rows, columns, values }, radius) {
  const reach = Math.trunc(radius);
  const result = values.slice();
  for (let i = -reach; i <= reach; i++)
    for (let j = -reach; j <= reach; j++) {
      if (i * i + j * j > radius * radius) continue;
      for (let row = Math.max(0, -i); row < Math.min(rows, rows - i); row++)
        for (let column = Math.max(0, -j); column < Math.min(columns, columns - j); column++) {
          const value = values[(row + i) * columns + column + j];
          if (value > result[row * columns + column]) result[row * columns + column] = value;
        }
    }
  return { rows, columns, values: result };
}
