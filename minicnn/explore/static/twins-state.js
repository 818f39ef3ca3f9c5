// The twins of this page: what was chosen and guessed, and what the server says of them.
import { batch, computed, effect, signal } from "@preact/signals";
import * as api from "./api.js";
import { about, answer, connected, moved, problem } from "./state.js";

/** @typedef {{difference: string, a: string, b: string, seed: number}} Choice */
/** @typedef {"a" | "b" | "same"} Guess */

export const SAME = 0.02; // accuracies that differ by no more are called the same

/** Whether the twins are shown instead of the layers. */
export const breaking = signal(false);
export const choice = signal(/** @type {Choice} */ ({ difference: "bias", a: "tenth", b: "minus3", seed: 0 }));
export const guess = signal(/** @type {Guess | null} */ (null));
export const pair = signal(/** @type {api.Answer | null} */ (null));

/** What came of it: once all steps have been made. */
export const outcome = computed(() => {
  const { stop = 0, tested = 1 } = about.value?.twins ?? {};
  const found = pair.value;
  const last = found ? Array.from(found.arrays.looks).indexOf(stop) : -1;
  if (!found || last < 0) return null;
  const [a, b] = [0, 1].map((twin) => found.arrays.correct[2 * last + twin] / tested);
  /** @type {Guess} */
  const result = Math.abs(a - b) <= SAME + 1e-9 ? "same" : a > b ? "a" : "b";
  return { a, b, result };
});

/** What both look at: the digit on the pad, as the network gets it. */
const image = () => /** @type {Uint8Array} */ (answer.value?.arrays.image8 ?? new Uint8Array(784));

let newest = 0;
/** @param {Record<string, string | number>} query */
async function send(query) {
  const number = ++newest;
  try {
    const found = await api.twins(query, image());
    if (number === newest) pair.value = found; // an answer to an older question is not painted
  } catch (error) {
    if (number !== newest) return;
    batch(() => {
      problem.value = String(/** @type {Error} */ (error).message);
      if (error instanceof api.Refused) [pair.value, guess.value] = [null, null]; // it is gone: begin anew
    });
  }
}

let looking = false;
let wanted = false;
/** Fetch the twins as they are now; while one answer is on its way, only the newest question waits. */
async function look() {
  wanted = true;
  if (looking) return;
  looking = true;
  while (wanted && pair.value) {
    wanted = false;
    await send({ do: "look" });
  }
  looking = false;
}

effect(() => {
  const news = [moved.value, answer.value, breaking.value];
  if (news[2] && pair.peek() && connected.peek()) void look();
});

/** @param {Partial<Choice>} change */
export function choose(change) {
  batch(() => {
    choice.value = { ...choice.value, ...change };
    [guess.value, pair.value] = [null, null];
    newest++; // whatever is on its way is about other twins
  });
}

/** Another difference: the usual value, and the last one. @param {string} difference */
export function differ(difference) {
  const values = about.value?.twins?.differences[difference] ?? [];
  choose({ difference, a: values[0], b: values[values.length - 1] });
}

/** The guess comes first; with it the twins come to be. @param {Guess} which */
export function guessed(which) {
  const first = guess.value === null;
  guess.value = which;
  if (first) void send({ do: "begin", ...choice.value });
}

/** Go on, or back, to a step. @param {number} step */
export const go = (step) => void send({ do: "go", to: Math.min(step, about.value?.twins?.stop ?? 0) });

export const pause = () => void send({ do: "pause" });
