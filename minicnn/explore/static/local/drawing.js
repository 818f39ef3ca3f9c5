// A drawing as 28 x 28 pixels, prepared as MNIST was: what minicnn.data.photo.preprocess_ink is in Python.
import { boxOf, resized, rounded } from "./picture.js";
import { around, digitOf, piecesOf } from "./pieces.js";
import { corrected } from "./stroke.js";

/** @typedef {import("./picture.js").Picture} Picture */

const [PAD, SIDE, BOX, MIDDLE] = [140, 28, 20, 14];
const FRAME = 8; // of paper around the pad, so that no stroke touches the edge

/** @param {Uint8Array} ink 140 x 140, 255 is ink @param {boolean} centre @returns {Uint8Array} 28 x 28 */
export function imageOf(ink, centre) {
  if (!centre) return scaledDown(ink);
  const side = PAD + 2 * FRAME;
  const framed = { rows: side, columns: side, values: new Float32Array(side * side) };
  ink.forEach((value, i) => (framed.values[(Math.floor(i / PAD) + FRAME) * side + (i % PAD) + FRAME] = value / 255));
  if (!framed.values.some((value) => value > 0.5)) return new Uint8Array(SIDE * SIDE);
  return likeMnist(corrected(cropped(framed)));
}

/** The mean of each 5 x 5 cell. @param {Uint8Array} ink */
function scaledDown(ink) {
  const [cell, sums] = [PAD / SIDE, new Float64Array(SIDE * SIDE)];
  ink.forEach((value, i) => (sums[Math.floor(i / PAD / cell) * SIDE + Math.floor((i % PAD) / cell)] += value));
  return Uint8Array.from(sums, (sum) => rounded(sum / (cell * cell)));
}

/** The bounding box of the strokes, with everything else removed. @param {Picture} ink @returns {Picture} */
function cropped(ink) {
  const pieces = piecesOf(ink);
  const { cell, side } = pieces;
  const digit = digitOf(pieces);
  const kept = pieces.numbers.map((piece) => (digit[piece] ? 1 : 0));
  const grown = kept.map((_, i) => around(i, side).some((near) => kept[near]) ? 1 : 0); // soft edges reach beyond
  const strokes = ink.values.map((value, i) => value * grown[Math.floor(i / ink.columns / cell) * side + Math.floor((i % ink.columns) / cell)]);
  return boxOf({ ...ink, values: strokes });
}

/** Longest side 20, centre of mass in the middle of 28 x 28, full ink 255. @param {Picture} digit */
function likeMnist(digit) {
  const scale = BOX / Math.max(digit.rows, digit.columns);
  const small = resized(digit, Math.max(1, rounded(scale * digit.rows)), Math.max(1, rounded(scale * digit.columns)));
  const most = Math.max(...small.values);
  const values = small.values.map((value) => value / most);
  const down = Array.from({ length: small.rows }, (_, row) => values.subarray(row * small.columns, (row + 1) * small.columns).reduce((a, b) => a + b, 0));
  const across = Array.from({ length: small.columns }, (_, column) => values.reduce((sum, value, i) => sum + (i % small.columns === column ? value : 0), 0));
  const [top, left] = [placeOf(down), placeOf(across)];
  const image = new Uint8Array(SIDE * SIDE);
  values.forEach((value, i) => (image[(top + Math.floor(i / small.columns)) * SIDE + left + (i % small.columns)] = rounded(255 * value)));
  return image;
}

/** The first row (or column) that puts the centre of mass in the middle. @param {number[]} profile */
function placeOf(profile) {
  const centre = profile.reduce((sum, value, i) => sum + i * value, 0) / profile.reduce((a, b) => a + b, 0);
  return Math.min(Math.max(rounded(MIDDLE - centre), 0), SIDE - profile.length);
}
