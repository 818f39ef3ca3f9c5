// The connected pieces of ink and which of them are the digit: what minicnn.data.pieces is in Python, for a
// square drawing with paper around it, so that no piece touches an edge.

/** @typedef {import("./picture.js").Picture} Picture */
/** Pieces by their numbers, from 1, in each cell of a square grid; the ink of each; pixels of a cell.
 * @typedef {{numbers: Int32Array, masses: number[], cell: number, side: number}} Pieces */

const CELLS = 64; // of the grid, at most
const [STRONG, WEAK] = [0.5, 0.3]; // the ink that makes a piece, and that belongs to one beside it

/** @param {Picture} ink @returns {Pieces} */
export function piecesOf(ink) {
  const cell = Math.ceil(Math.max(ink.rows, ink.columns) / CELLS);
  const side = Math.ceil(ink.rows / cell);
  const [most, total] = [new Float32Array(side * side), new Float64Array(side * side)];
  ink.values.forEach((value, i) => {
    const at = Math.floor(i / ink.columns / cell) * side + Math.floor((i % ink.columns) / cell);
    most[at] = Math.max(most[at], value);
    total[at] += value;
  });
  const numbers = new Int32Array(side * side);
  const masses = [0];
  for (let start = 0; start < most.length; start++) {
    if (!(most[start] > STRONG) || numbers[start]) continue;
    numbers[start] = masses.push(0) - 1;
    const waiting = [start];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      masses[numbers[start]] += total[at];
      for (const near of around(at, side))
        if (most[near] > WEAK && !numbers[near]) {
          numbers[near] = numbers[start];
          waiting.push(near);
        }
    }
  }
  return { numbers, masses, cell, side };
}

/** A cell and its neighbours on a square grid. @param {number} i @param {number} side */
export function around(i, side) {
  const found = [];
  for (let row = Math.floor(i / side) - 1; row <= Math.floor(i / side) + 1; row++)
    for (let column = (i % side) - 1; column <= (i % side) + 1; column++)
      if (row >= 0 && column >= 0 && row < side && column < side) found.push(row * side + column);
  return found;
}

/** Which pieces are the digit, by number. @param {Pieces} pieces @returns {boolean[]} */
export function digitOf(pieces) {
  const boxes = pieces.masses.map((_, piece) => boxIn(pieces, piece));
  let masses = pieces.masses;
  for (const others of [framesIn, underlinesIn]) {
    const found = others(pieces, boxes, masses);
    const rest = masses.map((mass, k) => (found[k] ? 0 : mass));
    if (rest.some((mass) => mass > 0)) masses = rest;
  }
  const least = 0.1 * Math.max(...masses);
  return masses.map((mass) => mass > least);
}

/** The first and last row and column of a piece. @typedef {{top: number, left: number, bottom: number, right: number}} Box */

/** @param {Pieces} pieces @param {number} piece @returns {Box} */
function boxIn({ numbers, side }, piece) {
  const box = { top: side, left: side, bottom: -1, right: -1 };
  numbers.forEach((number, i) => {
    if (number !== piece) return;
    const [row, column] = [Math.floor(i / side), i % side];
    [box.top, box.bottom] = [Math.min(box.top, row), Math.max(box.bottom, row)];
    [box.left, box.right] = [Math.min(box.left, column), Math.max(box.right, column)];
  });
  return box;
}

/** @param {Box} box */
const height = (box) => box.bottom - box.top + 1;
/** @param {Box} box */
const width = (box) => box.right - box.left + 1;
/** @param {Box} box */
const longest = (box) => Math.max(height(box), width(box));

/** Pieces around another that is at least a quarter as large. @param {Pieces} pieces @param {Box[]} boxes @param {number[]} masses */
function framesIn({ numbers, side }, boxes, masses) {
  const found = masses.map(() => false);
  const least = 0.01 * Math.max(...masses);
  const some = [...masses.keys()].filter((k) => masses[k] > least);
  for (const inner of some)
    for (const outer of some) {
      const { top, left, bottom, right } = boxes[inner];
      if (outer === inner || longest(boxes[inner]) < 0.25 * longest(boxes[outer])) continue;
      const [row, column] = [Math.floor((top + bottom) / 2), Math.floor((left + right) / 2)];
      const places = [...Array(side).keys()];
      const across = places.filter((j) => numbers[row * side + j] === outer);
      const down = places.filter((i) => numbers[i * side + column] === outer);
      if (across.length === 0 || down.length === 0) continue;
      found[outer] ||= across[0] < left && across[across.length - 1] > right && down[0] < top && down[down.length - 1] > bottom;
    }
  return found;
}

/** Flat pieces with a gap above them, below the largest of the others. @param {Pieces} _ @param {Box[]} boxes @param {number[]} masses */
function underlinesIn(_, boxes, masses) {
  const flat = masses.map((mass, k) => mass > 0 && height(boxes[k]) < 0.34 * width(boxes[k]));
  const standing = masses.map((mass, k) => (flat[k] ? 0 : mass));
  if (!standing.some((mass) => mass > 0)) return flat;
  const { top, bottom } = boxes[standing.indexOf(Math.max(...standing))];
  return flat.map((is, k) => is && boxes[k].top > bottom + 0.04 * (bottom - top));
}
