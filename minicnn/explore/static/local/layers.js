// The layers in JavaScript, for one image: forward, and backward to the input and to the parameters.
//
// Maps are flat, [H, W, C] with channels last; weights [kh, kw, C, F] or [D, F]. Sums are kept in float64 and stored
// in the type of x: Float32Array to show, Float64Array for finite differences.

/**
 * @typedef {Float32Array | Float64Array} Floats
 * @typedef {{name: string, kind: string, from: number[], shape: number[], stride: number, padding: string,
 *   window: number[], weight: Floats, bias: Floats, weightName: string, biasName: string}} Layer
 * `from` is the shape of the input, `shape` that of the output; `window` has rows and columns.
 */

/** @param {number[]} shape */
export const sizeOf = (shape) => shape.reduce((size, n) => size * n, 1);

/** An array of zeros of the same type as another. @template {Floats} T @param {T} like @param {number} size @returns {T} */
export const zeros = (like, size) => /** @type {T} */ (new /** @type {any} */ (like.constructor)(size));

/** The same numbers in the type of another array. @param {Floats} like @param {Float64Array} sums @returns {Floats} */
const stored = (like, sums) => (like instanceof Float64Array ? sums : Float32Array.from(sums));

/**
 * Rows and columns of padding before an image.
 * @param {Layer} layer @returns {[number, number]} top, left
 */
export function cornerOf({ from, window, stride, padding }) {
  if (padding !== "same") return [0, 0];
  const before = [0, 1].map((axis) => {
    const positions = Math.ceil(from[axis] / stride);
    return Math.floor(Math.max((positions - 1) * stride + window[axis] - from[axis], 0) / 2);
  });
  return [before[0], before[1]];
}

/** Each place of a window on the input, in reading order: its row and column there, and its number in the window.
 * @param {Layer} layer @param {number} i @param {number} j row and column of the output
 * @param {(place: number, inWindow: number) => void} visit `place` counts pixels: row * W + column
 */
export function eachPixel(layer, i, j, visit) {
  const [H, W] = layer.from;
  const [top, left] = cornerOf(layer);
  const [kh, kw] = layer.window;
  for (let u = 0; u < kh; u++) {
    const row = i * layer.stride - top + u;
    if (row < 0 || row >= H) continue;
    for (let v = 0; v < kw; v++) {
      const column = j * layer.stride - left + v;
      if (column >= 0 && column < W) visit(row * W + column, u * kw + v);
    }
  }
}

// --- forward ---------------------------------------------------------------------------------------

/** @param {Layer} layer @param {Floats} x @returns {Floats} */
export function forward(layer, x) {
  if (layer.kind === "relu") return x.map((value) => Math.max(value, 0));
  if (layer.kind === "pool") return takeWinners(layer, x, winners(layer, x));
  const sums = new Float64Array(sizeOf(layer.shape));
  const F = layer.bias.length;
  for (let i = 0; i < sums.length; i++) sums[i] = layer.bias[i % F];
  addProducts(layer, x, sums);
  return stored(x, sums);
}

/** y += x * weights, where x is not 0. @param {Layer} layer @param {Floats} x @param {Float64Array} y */
export function addProducts(layer, x, y) {
  const { weight } = layer;
  const F = layer.bias.length;
  if (layer.kind === "dense") {
    for (let d = 0; d < x.length; d++) if (x[d] !== 0) addRow(y, 0, x[d], weight, d * F, F);
    return;
  }
  const C = layer.from[2];
  eachPosition(layer, (position, pixel, inWindow) => {
    for (let c = 0; c < C; c++) {
      const value = x[pixel * C + c];
      if (value !== 0) addRow(y, position * F, value, weight, (inWindow * C + c) * F, F);
    }
  });
}

/** to[at ...] += factor * from[start ...], `count` numbers.
 * @param {Float64Array} to @param {number} at @param {number} factor @param {Floats} from @param {number} start @param {number} count */
function addRow(to, at, factor, from, start, count) {
  for (let f = 0; f < count; f++) to[at + f] += factor * from[start + f];
}

/** Every position of the output with every pixel of its window.
 * @param {Layer} layer @param {(position: number, pixel: number, inWindow: number) => void} visit */
function eachPosition(layer, visit) {
  const [Ho, Wo] = layer.shape;
  for (let i = 0; i < Ho; i++)
    for (let j = 0; j < Wo; j++) eachPixel(layer, i, j, (pixel, inWindow) => visit(i * Wo + j, pixel, inWindow));
}

/** The place in x of the largest number of each window: the first of equal ones. @param {Layer} layer @param {Floats} x */
export function winners(layer, x) {
  const C = layer.from[2];
  const found = new Int32Array(sizeOf(layer.shape)).fill(-1);
  eachPosition(layer, (position, pixel) => {
    for (let c = 0; c < C; c++) {
      const best = found[position * C + c];
      if (best < 0 || x[pixel * C + c] > x[best]) found[position * C + c] = pixel * C + c;
    }
  });
  return found;
}

/** @param {Layer} layer @param {Floats} x @param {Int32Array} places */
function takeWinners(layer, x, places) {
  const y = zeros(x, places.length);
  places.forEach((place, i) => (y[i] = x[place]));
  return y;
}

// --- backward --------------------------------------------------------------------------------------

/** dL/dx from dL/dy. @param {Layer} layer @param {Floats} x @param {Floats} y @param {Floats} dy @returns {Floats} */
export function backward(layer, x, y, dy) {
  if (layer.kind === "relu") return dy.map((value, i) => (y[i] > 0 ? value : 0));
  const dx = new Float64Array(x.length);
  if (layer.kind === "pool") winners(layer, x).forEach((place, i) => (dx[place] += dy[i]));
  else if (layer.kind === "dense") for (let d = 0; d < x.length; d++) dx[d] = dot(dy, 0, layer.weight, d * dy.length, dy.length);
  else {
    const [C, F] = [layer.from[2], layer.bias.length];
    const some = nonzeroRows(dy, F);
    eachPosition(layer, (position, pixel, inWindow) => {
      if (!some[position]) return;
      for (let c = 0; c < C; c++) dx[pixel * C + c] += dot(dy, position * F, layer.weight, (inWindow * C + c) * F, F);
    });
  }
  return stored(x, dx);
}

/** dL/dw and dL/db. @param {Layer} layer @param {Floats} x @param {Floats} dy @returns {{weight: Floats, bias: Floats}} */
export function parameterGradients(layer, x, dy) {
  const F = layer.bias.length;
  const weight = new Float64Array(layer.weight.length);
  const bias = new Float64Array(F);
  for (let i = 0; i < dy.length; i++) bias[i % F] += dy[i];
  const rows = new Float64Array(dy);
  if (layer.kind === "dense") {
    for (let d = 0; d < x.length; d++) if (x[d] !== 0) addRow(weight, d * F, x[d], rows, 0, F);
  } else {
    const C = layer.from[2];
    const some = nonzeroRows(dy, F);
    eachPosition(layer, (position, pixel, inWindow) => {
      if (!some[position]) return;
      for (let c = 0; c < C; c++) {
        const value = x[pixel * C + c];
        if (value !== 0) addRow(weight, (inWindow * C + c) * F, value, rows, position * F, F);
      }
    });
  }
  return { weight: stored(x, weight), bias: stored(x, bias) };
}

/** @param {Floats} a @param {number} i @param {Floats} b @param {number} j @param {number} count */
function dot(a, i, b, j, count) {
  let sum = 0;
  for (let f = 0; f < count; f++) sum += a[i + f] * b[j + f];
  return sum;
}

/** Which rows of F numbers have one that is not 0: a pool leaves many empty. @param {Floats} values @param {number} F */
function nonzeroRows(values, F) {
  const some = new Uint8Array(values.length / F);
  values.forEach((value, i) => value !== 0 && (some[Math.floor(i / F)] = 1));
  return some;
}
