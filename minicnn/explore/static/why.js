// Why one digit and not another: the lead as a sum, what its units like, and what hides it.
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.js";
import { limitOf } from "./colours.js";
import { html } from "./html.js";
import { Map2D } from "./maps.js";
import { short } from "./numbers.js";
import { Thumbnail } from "./pad.js";
import { about, answer, liked, open, spoken, top } from "./state.js";
import { productsOf } from "./terms.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Answer} Answer */

const UNITS = 6; // of which the favourites are shown

/** The lead of digit a over digit b as something that can be opened. @param {number} a @param {number} b @returns {import("./api.js").Selection} */
const lead = (a, b) => ({ what: "lead", name: about.value?.stages.at(-1)?.name ?? "", place: 10 * a + b });

/** The second best answer. */
function rival() {
  const p = answer.value?.arrays.softmax;
  if (!p) return 0;
  return Array.from(p.keys()).sort((a, b) => p[b] - p[a])[1];
}

export function WhyButton() {
  const best = top.value;
  if (best < 0) return null;
  const facts = { a: best, b: rival() };
  return html`<button class="why" onClick=${() => open(lead(facts.a, facts.b))}>${t("why", facts)}</button>`;
}

/** The two digits, to be chosen. @param {{number: import("./api.js").Selection}} props */
export function WhyHead({ number }) {
  const [a, b] = [Math.floor(number.place / 10), number.place % 10];
  /** @param {string} name @param {number} value @param {(k: number) => void} change */
  const choice = (name, value, change) => html`<select aria-label=${name} value=${String(value)} onChange=${(/** @type {any} */ event) => change(Number(event.currentTarget.value))}>
    ${Array.from({ length: 10 }, (_, k) => html`<option key=${k} value=${k}>${k}</option>`)}
  </select>`;
  return html`<p class="why-head">
      ${t("why_lead")} ${choice(t("why_for"), a, (k) => open(lead(k, b)))} − ${choice(t("why_against"), b, (k) => open(lead(a, k)))}
    </p>
    <p class="help">${t("why_help", { a, b })}</p>`;
}

/** The units that decide, with the images that each of them likes most. @param {{trace: Answer, number: import("./api.js").Selection}} props */
export function Likes({ trace, number }) {
  const [found, setFound] = useState(/** @type {Answer | null} */ (null));
  const [a, b] = [Math.floor(number.place / 10), number.place % 10];
  const products = productsOf(trace);
  const units = Array.from(products.keys()).sort((i, j) => Math.abs(products[j]) - Math.abs(products[i])).slice(0, UNITS);
  const name = trace.facts.left.name;
  const asked = units.join(",");
  useEffect(() => {
    let current = true;
    if (liked.value) api.favourites(units).then((answer) => current && setFound(answer), () => {});
    return () => {
      current = false;
    };
  }, [asked, liked.value]);
  if (about.value?.stages.at(-2)?.kind === "image") return null;
  if (!found || !found.facts.known) return html`<p class="help">${t("likes_later")}</p>`;
  return html`<div class="likes">
    <h3>${t("likes_title", { of: found.facts.of.toLocaleString("en") })}</h3>
    <ul>
      ${units.map((unit, n) => {
        const labels = Array.from(found.arrays.labels.slice(9 * n, 9 * n + 9));
        return html`<li key=${unit}>
        <button class="link" onClick=${() => open({ what: "value", name, place: unit }, true)}>${name}[${unit}]</button>
        ${" "}<b>${short(products[unit])}</b>${" "}<span class="help">${t(products[unit] > 0 ? "likes_for" : "likes_against", { digit: products[unit] > 0 ? a : b })}</span>
        <span class="row-of-digits" role="img" aria-label=${t("likes_labels", { labels: labels.join(" ") })}>
          ${labels.map((label, k) => {
            const image = /** @type {Uint8Array} */ (found.arrays.images).slice(784 * (9 * n + k), 784 * (9 * n + k + 1));
            return html`<span key=${k}><${Thumbnail} image=${image} /><small>${label}</small></span>`;
          })}
        </span>
      </li>`;
      })}
    </ul>
  </div>`;
}

/** Paper moved over the image: how far the lead falls or rises. @param {{number: import("./api.js").Selection}} props */
export function Covered({ number }) {
  const [found, setFound] = useState(/** @type {Answer | null} */ (null));
  const [at, setAt] = useState(-1);
  const asked = answer.value;
  const [a, b] = [Math.floor(number.place / 10), number.place % 10];
  useEffect(() => {
    let current = true;
    const later = setTimeout(() => {
      if (!asked) return;
      api.occlusion(/** @type {Uint8Array} */ (asked.arrays.image8), a, b).then(
        (answer) => current && (setFound(answer), setAt(-1)),
        () => {},
      );
    }, 250); // not while one draws
    return () => {
      current = false;
      clearTimeout(later);
    };
  }, [asked, a, b]);
  if (!found || !asked) return html`<p class="help">${t("loading")}</p>`;
  const change = found.arrays.change;
  const limit = limitOf(change);
  const now = asked.arrays[number.name][a] - asked.arrays[number.name][b];
  return html`<div class="covered">
    <h3>${t("covered_title")}</h3>
    <div class="zoom">
      <${Map2D} values=${change} rows=${28} columns=${28} size=${196} limit=${limit} cursor=${at} label=${t("covered_label")}
        pick=${setAt}
        point=${(/** @type {number} */ place) => (spoken.value = `${Math.floor(place / 28)}, ${place % 28}: ${short(change[place])}`)} />
      <div>
        <p class="help">${t("covered_help", { limit: short(limit) })}</p>
        ${at >= 0 && html`<p>[${Math.floor(at / 28)}, ${at % 28}]: ${t("covered_one", { now: short(now), change: short(change[at]), then: short(now + change[at]) })}</p>`}
      </div>
    </div>
    <p class="help">${t("rub_hint")}</p>
  </div>`;
}
