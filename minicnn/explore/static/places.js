// Places in flat arrays, and their indices.

/** A place in a flat array as one index per axis. @param {number} place @param {number[]} shape */
export function indicesIn(place, shape) {
  const found = [];
  for (const size of [...shape].reverse()) {
    found.unshift(place % size);
    place = Math.floor(place / size);
  }
  return found;
}

/** @param {number[]} index @param {number[]} shape */
export const placeOf = (index, shape) => index.reduce((place, i, axis) => place * shape[axis] + i, 0);
