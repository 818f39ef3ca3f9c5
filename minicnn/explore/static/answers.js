// What questions are answered with: arrays and facts, or a refusal in one line.

/**
 * @typedef {{name: string, kind: string, shape: number[], stride?: number, padding?: string, size?: number,
 *   weight?: string, bias?: string}} Stage
 * @typedef {{name: string, first: number, lines: [number, string, boolean][]}} Source
 * @typedef {{minicnn: string, name: string, training: boolean, steps: number, stages: Stage[],
 *   parameters: Record<string, number[]>, test_images: number, training_images: number, sources: Record<string, Source>, twins?: Twins, news?: any[]}} About
 * With `news`, the page has been exported: nothing is trained, and this is what a server would have told.
 * @typedef {{differences: Record<string, string[]>, stop: number, tested: number, layers: string[], sizes: number[]}} Twins
 * @typedef {Float32Array | Int32Array | Uint8Array} Numbers
 * @typedef {{arrays: Record<string, Numbers>, shapes: Record<string, number[]>, facts: any}} Answer
 * @typedef {{what: "value" | "gradient" | "parameter" | "lead", name: string, place: number}} Selection
 */

const TYPES = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };

export const SUPERSEDED = 204; // the answer to a question after which a newer one was asked

/** A question that was refused, with its one line. */
export class Refused extends Error {
  /** @param {number} status @param {string} line */
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/**
 * The arrays of a safetensors file.
 * @param {ArrayBuffer} buffer
 * @returns {Answer}
 */
export function parseArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: texts, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  /** @type {Answer} */
  const answer = { arrays: {}, shapes: {}, facts: JSON.parse(texts.facts) };
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    const type = TYPES[/** @type {keyof typeof TYPES} */ (dtype)];
    answer.arrays[name] = new type(buffer.slice(8 + length + start, 8 + length + end));
    answer.shapes[name] = shape;
  }
  return answer;
}
