// The page's state in its address: written after every change, restored when the page opens.
import { batch, effect, signal } from "@preact/signals";
import { defaults, MOST_POINTS, pointsOf, read, write } from "./address.js";
import * as api from "./api.js";
import { hidden } from "./hide.js";
import { html } from "./html.js";
import { drawing, drawn, redo } from "./pad.js";
import { about, card, centre, chosenLabel, mode, off, refresh, subject, trail } from "./state.js";
import { language, t } from "./text.js";
import { theme } from "./theme.js";
import { breaking } from "./twins-state.js";

/** @typedef {import("./address.js").State} State */

const LATER = 250; // milliseconds: a browser takes few changes of its address in a second

/** What of the address made no sense, or what became of copying it. */
export const notice = signal("");

/** @returns {State} */
export function current() {
  const shown = subject.value;
  return {
    ...defaults(),
    lang: language.value, theme: theme.value, hide: hidden.value, card: card.value,
    ...(shown.kind === "drawing" ? drawing() : shown.training ? { train: shown.index } : { image: shown.index }),
    twins: breaking.value,
    centre: centre.value, way: mode.value, loss: chosenLabel.value, off: off.value, at: trail.value,
  };
}

/** An image, or undefined if there is none with this number. @param {number | null} index @param {boolean} training */
async function imageOf(index, training) {
  if (index === null) return null;
  try {
    const { arrays, facts } = await api.digit(index, training);
    return { index, label: /** @type {number} */ (facts.label), image: /** @type {Uint8Array} */ (arrays.image), training };
  } catch {
    return undefined;
  }
}

/** Show a state; resolves once everything has been asked for. @param {State} state @returns {Promise<string[]>} what is not there */
export async function apply(state) {
  const [digit, ground] = await Promise.all([
    imageOf(state.image ?? state.train, state.train !== null),
    imageOf(state.ground ?? state.trainground, state.trainground !== null),
  ]);
  batch(() => {
    [language.value, theme.value, hidden.value, card.value] = [state.lang, state.theme, state.hide, state.card];
    [centre.value, chosenLabel.value, mode.value] = [state.centre, state.loss, state.way];
    [off.value, trail.value, breaking.value] = [state.off, state.at, state.twins];
    api.switchOff(state.off);
    redo(ground === undefined ? [] : state.strokes, ground ?? null);
    subject.value = digit ? { kind: "digit", ...digit } : { kind: "drawing" };
  });
  refresh(true);
  return [...(digit === undefined ? [state.train === null ? `image=${state.image}` : `train=${state.train}`] : []), ...(ground === undefined ? [`ground=${state.ground ?? state.trainground}`] : [])];
}

/** Show what the address asks for. Returns the state. */
export async function restore() {
  const { state, odd } = read(location.search.slice(1), /** @type {import("./answers.js").About} */ (about.value));
  if (!new URLSearchParams(location.search).has("lang")) state.lang = language.value;
  const missing = await apply(state);
  const parts = [...odd, ...missing];
  if (parts.length) notice.value = t("address_odd", { parts: parts.join(", ") });
  return state;
}

/** Keep the address up to date from here on. */
export function keep() {
  let later = 0;
  effect(() => {
    drawn.value; // also after a stroke
    const state = current();
    clearTimeout(later);
    later = window.setTimeout(() => put(state), LATER);
  });
}

/** @param {State} state */
const put = (state) => history.replaceState(null, "", `?${write(state, /** @type {any} */ (about.value))}`);

async function copy() {
  const state = current();
  put(state);
  const tooLong = state.image === null && state.train === null && pointsOf(state.strokes) > MOST_POINTS;
  try {
    await navigator.clipboard.writeText(location.href);
    notice.value = t(tooLong ? "copied_without" : about.value?.news ? "copied" : "copied_here");
  } catch {
    notice.value = location.href; // to be copied by hand
  }
}

export const ShareButton = () => html`<button class="share" title=${t("share")} onClick=${copy}>${t("share_short")}</button>`;

export function Notice() {
  if (!notice.value) return null;
  return html`<p class="notice" role="status">${notice.value} <button class="link" onClick=${() => (notice.value = "")}>${t("close")}</button></p>`;
}
