// Pictures of ink, and their resampling as Pillow does it in Python: bicubic to enlarge, means to reduce.

/** 0 is paper, 1 is ink. @typedef {{rows: number, columns: number, values: Float32Array}} Picture */

/** To the nearest integer; halves to the even one, as in Python. @param {number} x */
export function rounded(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** @param {Picture} picture @param {number} rows @param {number} columns @returns {Picture} values within 0 and 1 */
export function resized(picture, rows, columns) {
  if (picture.rows === rows && picture.columns === columns) return picture;
  const [filter, support] = rows < picture.rows ? [box, 0.5] : [cubic, 2];
  const across = weightsOf(picture.columns, columns, filter, support);
  const wide = new Float32Array(picture.rows * columns);
  for (let i = 0; i < wide.length; i++) {
    const { first, weights } = across[i % columns];
    const start = Math.floor(i / columns) * picture.columns + first;
    wide[i] = weights.reduce((sum, weight, n) => sum + weight * picture.values[start + n], 0);
  }
  const down = weightsOf(picture.rows, rows, filter, support);
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < values.length; i++) {
    const { first, weights } = down[Math.floor(i / columns)];
    const sum = weights.reduce((sum, weight, n) => sum + weight * wide[(first + n) * columns + (i % columns)], 0);
    values[i] = Math.min(1, Math.max(0, sum));
  }
  return { rows, columns, values };
}

/** For each new pixel: which old ones, and how much of each. @param {number} from @param {number} to @param {(x: number) => number} filter @param {number} support */
function weightsOf(from, to, filter, support) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, n) => filter((n + first - centre + 0.5) / stretch));
    const total = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** @param {number} x */
const box = (x) => (x > -0.5 && x <= 0.5 ? 1 : 0);

/** Keys' kernel with a = -0.5. @param {number} x */
function cubic(x) {
  const size = Math.abs(x);
  if (size < 1) return (1.5 * size - 2.5) * size * size + 1;
  return size < 2 ? ((size - 5) * size + 8) * size * -0.5 + 2 : 0;
}

/** The part of a picture that is more than a quarter ink. @param {Picture} picture @returns {Picture} */
export function boxOf({ rows, columns, values }) {
  let [top, bottom, left, right] = [rows, -1, columns, -1];
  values.forEach((value, i) => {
    if (!(value > 0.25)) return;
    const [row, column] = [Math.floor(i / columns), i % columns];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  });
  const [H, W] = [bottom - top + 1, right - left + 1];
  const inside = Float32Array.from({ length: H * W }, (_, i) => values[(top + Math.floor(i / W)) * columns + left + (i % W)]);
  return { rows: H, columns: W, values: inside };
}
