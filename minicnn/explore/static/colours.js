// Colours for numbers. Dark is negative, grey is 0, light is positive: also in grey, and for all kinds of eyes.

const SIGNED = ["#0a2342", "#2f6196", "#a6abb0", "#f2ae58", "#fff3cf"];

/** @param {string[]} names @returns {Uint8ClampedArray} 256 colours, RGBA */
function table(names) {
  const stops = names.map((name) => [1, 3, 5].map((at) => parseInt(name.slice(at, at + 2), 16)));
  const colours = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const t = (i / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(t), stops.length - 2);
    for (let c = 0; c < 3; c++) colours[4 * i + c] = stops[left][c] + (t - left) * (stops[left + 1][c] - stops[left][c]);
    colours[4 * i + 3] = 255;
  }
  return colours;
}

const signed = table(SIGNED);
const ink = table(["#ffffff", "#000000"]);

/** @type {WeakMap<object, number>} */
const limits = new WeakMap();

/** The largest absolute value: the end of the scale. @param {ArrayLike<number>} values */
export function limitOf(values) {
  const known = limits.get(values);
  if (known !== undefined) return known;
  let limit = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > limit) limit = size;
  }
  limits.set(values, limit || 1);
  return limit || 1;
}

/**
 * Paint numbers into RGBA pixels: from -limit to limit, or as ink from 0 to 1.
 * @param {ArrayLike<number>} values
 * @param {number} limit
 * @param {boolean} asInk
 * @param {Uint8ClampedArray} pixels
 * @param {(i: number) => number} at where value i goes
 */
export function paint(values, limit, asInk, pixels, at) {
  const colours = asInk ? ink : signed;
  for (let i = 0; i < values.length; i++) {
    const t = asInk ? values[i] : values[i] / (2 * limit) + 0.5;
    const colour = 4 * (t >= 1 ? 255 : t > 0 ? Math.round(255 * t) : 0); // NaN is dark
    const to = 4 * at(i);
    pixels[to] = colours[colour];
    pixels[to + 1] = colours[colour + 1];
    pixels[to + 2] = colours[colour + 2];
    pixels[to + 3] = 255;
  }
}

/** The same colour for CSS. @param {number} value @param {number} limit */
export function colourOf(value, limit) {
  const t = Math.max(0, Math.min(255, Math.round(255 * (value / (2 * limit) + 0.5))));
  return `rgb(${signed[4 * t]} ${signed[4 * t + 1]} ${signed[4 * t + 2]})`;
}
