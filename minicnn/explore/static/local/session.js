// What the page can ask for, answered in JavaScript: what minicnn/explore/session.py is in Python.
import { Refused } from "../answers.js";
import { traceGradient, traceParameter } from "./backward.js";
import { imageOf } from "./drawing.js";
import { traceOutput } from "./forward.js";
import { computeMaps, layersOf, outputsFrom, toFloat } from "./maps.js";
import { nudge, parameter } from "./nudge.js";
import { switchedOff } from "./switches.js";
import { asAnswer } from "./trace.js";
import { occlusion, traceLead } from "./why.js";

/** @typedef {import("../answers.js").Answer} Answer */
/** @typedef {import("../answers.js").Selection} Selection */
/** @typedef {{label: number | null, off: string[]}} About an image: the label of the loss, and what is switched off */

export class Session {
  /** @param {import("../answers.js").Stage[]} stages @param {Answer} weights */
  constructor(stages, weights) {
    this.names = stages.map((stage) => stage.name);
    this.whole = layersOf(stages, weights.arrays, weights.shapes);
    this.switched = { off: "", layers: this.whole };
    /** The last image that was asked about: clicks on its numbers need it again and again. */
    this.last = /** @type {{image: Uint8Array, asked: number | null, off: string, maps: import("./maps.js").Maps} | null} */ (null);
  }

  /** The network with these filters and units off. @param {string[]} off */
  layers(off) {
    if (this.switched.off !== off.join()) this.switched = { off: off.join(), layers: switchedOff(this.whole, off) };
    return this.switched.layers;
  }

  /**
   * @param {Uint8Array} image @param {number | null} label @param {boolean} gradients @param {string[]} off
   */
  maps(image, label, gradients, off) {
    if (label !== null && !(Number.isInteger(label) && label >= 0 && label <= 9)) throw new Refused(400, "label: expected an integer from 0 to 9");
    const { last } = this;
    const same = last && last.off === off.join() && last.image.every((pixel, i) => pixel === image[i]);
    const sameLabel = last && (label === last.asked || label === last.maps.label);
    if (same && sameLabel && (last.maps.gradients.length || !gradients)) return last.maps;
    const maps = computeMaps(this.layers(off), toFloat(image), label, gradients);
    this.last = { image: image.slice(), asked: label, off: off.join(), maps };
    return maps;
  }

  /** All maps of a drawing, 140 x 140, or an image, 28 x 28.
   * @param {"drawing" | "image"} what @param {Uint8Array} pixels @param {boolean} centre @param {boolean} gradients @param {About} about
   * @returns {Answer} */
  answerTo(what, pixels, centre, gradients, { label, off }) {
    const image = what === "drawing" ? imageOf(pixels, centre) : pixels;
    const maps = this.maps(image, label, gradients, off);
    /** @type {Record<string, any>} */
    const arrays = { image8: image, softmax: maps.probabilities };
    this.names.forEach((name, n) => (arrays[name] = maps.outputs[n]));
    if (gradients) this.names.forEach((name, n) => (arrays[`d/${name}`] = maps.gradients[n]));
    return { arrays, shapes: {}, facts: { version: 0, label: maps.label, loss: maps.loss } };
  }

  /** The terms of one number. @param {Selection} selection @param {Uint8Array} image @param {About} about */
  trace({ what, name, place }, image, { label, off }) {
    const maps = this.maps(image, label, what === "gradient" || what === "parameter", off);
    const facts = { version: 0, label: maps.label };
    if (what === "value") return asAnswer(traceOutput(maps, name, place), facts);
    if (what === "gradient") return asAnswer(traceGradient(maps, name, place), facts);
    if (what === "lead") return asAnswer(traceLead(maps, Math.floor(place / 10), place % 10), facts);
    const trace = traceParameter(maps, name, place);
    return asAnswer(trace, { ...facts, entry: parameter(maps.layers, name)[place] });
  }

  /** @param {Selection} selection @param {Uint8Array} image @param {number} h @param {About} about */
  nudge(selection, image, h, { label, off }) {
    const known = label ?? this.maps(image, null, false, off).label;
    return nudge(this.layers(off), Float64Array.from(toFloat(image)), known, selection, h);
  }

  /** Place by place. @param {Uint8Array} image @param {number} a @param {number} b @param {string[]} off @returns {Generator<void, Answer>} */
  *occlusion(image, a, b, off) {
    const change = yield* occlusion(this.layers(off), toFloat(image), a, b);
    return { arrays: { change }, shapes: { change: [28, 28] }, facts: { version: 0 } };
  }

  /** How many of these images are classified correctly, image by image.
   * @param {Uint8Array[]} images @param {number[]} labels @param {string[]} off @returns {Generator<void, {correct: number, total: number}>} */
  *accuracy(images, labels, off) {
    const layers = this.layers(off);
    let correct = 0;
    for (const [i, image] of images.entries()) {
      const outputs = outputsFrom(layers, [toFloat(image)]);
      const scores = outputs[outputs.length - 1];
      if (scores.indexOf(Math.max(...scores)) === labels[i]) correct++;
      yield;
    }
    return { correct, total: images.length };
  }
}
