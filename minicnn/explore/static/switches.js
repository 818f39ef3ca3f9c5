// Filters and units switched off by a click, and what that does to the answers.
import { signal, useSignalEffect } from "@preact/signals";
import { useState } from "preact/hooks";
import * as api from "./api.js";
import { html } from "./html.js";
import { percent } from "./numbers.js";
import { about, off, refresh, spoken, training } from "./state.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Selection} Selection */

const whole = signal(/** @type {{correct: number, total: number} | null} */ (null));

/** The layer whose filter or unit makes this stage, if it can be switched off. @param {string} name */
function ownerOf(name) {
  const stages = about.value?.stages ?? [];
  const at = stages.findIndex((stage) => stage.name === name);
  for (let i = at; i > 0; i--) if (stages[i].weight) return i === stages.length - 1 ? null : stages[i];
  return null;
}

/** The filter or unit that a number belongs to: "conv1.3". @param {Selection | null} number */
export function switchOf(number) {
  if (!number || (number.what !== "value" && number.what !== "gradient")) return null;
  const owner = ownerOf(number.name);
  return owner && `${owner.name}.${number.place % (owner.shape.at(-1) ?? 1)}`;
}

/** Which maps or units of a stage are off. @param {string} name */
export function offIn(name) {
  const owner = ownerOf(name)?.name;
  return new Set(off.value.filter((one) => one.startsWith(`${owner}.`)).map((one) => Number(one.split(".").at(-1))));
}

/** In words: "conv1 filter 3". @param {string} one */
function inWords(one) {
  const layer = one.slice(0, one.lastIndexOf("."));
  const conv = about.value?.stages.find((stage) => stage.name === layer)?.kind === "conv";
  return t(conv ? "filter_name" : "unit_name", { layer, number: one.slice(layer.length + 1) });
}

/** @param {string[]} next */
function set(next) {
  off.value = next;
  api.switchOff(next);
  refresh(true);
}

/** @param {string} one */
export function toggle(one) {
  const on = off.value.includes(one);
  set(on ? off.value.filter((other) => other !== one) : [...off.value, one]);
  spoken.value = t(on ? "is_on" : "is_off", { name: inWords(one) });
}

/** @param {{number: Selection}} props */
export function SwitchButton({ number }) {
  const one = switchOf(number);
  if (!one) return null;
  const isOff = off.value.includes(one);
  return html`<button class="switch-off" aria-pressed=${isOff} onClick=${() => toggle(one)}>${t(isOff ? "switch_on" : "switch_off", { name: inWords(one) })} <kbd>O</kbd></button>`;
}

/** What is off, and how many test images are still classified correctly. */
export function SwitchedOff() {
  const [now, setNow] = useState(/** @type {{correct: number, total: number} | null} */ (null));
  useSignalEffect(() => {
    const asked = off.value;
    setNow(null);
    if (!asked.length || training.value) return;
    if (!whole.value) api.accuracy([]).then((found) => (whole.value = found), () => {});
    const later = setTimeout(() => api.accuracy(asked).then((found) => off.value === asked && setNow(found), () => {}), 200);
    return () => clearTimeout(later);
  });
  if (!off.value.length) return null;
  const all = whole.value;
  return html`<div class="switched-off">
    <p aria-live="polite">
      ${t("off_count", { count: off.value.length })}${" "}
      ${all && now
        ? t("off_accuracy", { now: percent(now.correct / now.total), all: percent(all.correct / all.total), total: now.total.toLocaleString("en") })
        : training.value ? "" : t("loading")}
    </p>
    <ul>
      ${off.value.map((one) => html`<li key=${one}><button onClick=${() => toggle(one)}>${inWords(one)} ✕<span class="visually-hidden">${t("switch_on_again")}</span></button></li>`)}
      <li><button onClick=${() => set([])}>${t("all_on")}</button></li>
    </ul>
  </div>`;
}
