// The training images nearest to the digit, as the network sees them: each a click away.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.js";
import { html } from "./html.js";
import { percent, short } from "./numbers.js";
import { Thumbnail } from "./pad.js";
import { about, answer, problem, remembered, show, tested } from "./state.js";
import { t } from "./text.js";

const COUNT = 12;
const CALM = 200; // milliseconds without a stroke
const expanded = signal(false);

export function Nearest() {
  return html`<details
    class="nearest"
    open=${expanded.value}
    onToggle=${(/** @type {any} */ event) => (expanded.value = event.currentTarget.open)}
  >
    <summary>${t("nearest_title")}</summary>
    ${expanded.value && html`<${Found} />`}
  </details>`;
}

function Found() {
  const [found, setFound] = useState(/** @type {api.Answer | null} */ (null));
  const image = answer.value?.arrays.image8;
  const { seen = 0, total = 0 } = remembered.value ?? {};
  const ready = total > 0 && seen === total;
  useEffect(() => {
    let current = true;
    const later = setTimeout(() => {
      if (!image) return;
      api.nearest(/** @type {Uint8Array} */ (image), COUNT).then(
        (answer) => current && setFound(answer),
        (error) => {
          if (current && error.status !== api.SUPERSEDED) problem.value = error.message;
        },
      );
    }, CALM);
    return () => {
      current = false;
      clearTimeout(later);
    };
  }, [image, ready, tested.value !== null]);
  if (!found || !found.facts.known) {
    if (!total) return html`<p class="help">${t(tested.value ? "loading" : "nearest_later")}</p>`;
    return html`<p class="help" role="status">${t("nearest_progress", { done: percent(seen / total), total: total.toLocaleString("en") })}</p>
      <progress max=${total} value=${seen}></progress>`;
  }
  const { index, label, predicted, distance, images } = found.arrays;
  const name = about.value?.stages.at(-2)?.name ?? "";
  return html`<p class="help">${t("nearest_help", { name, total: found.facts.total.toLocaleString("en") })}</p>
    <ul class="gallery">
      ${Array.from(index, (number, i) => {
        const pixels = /** @type {Uint8Array} */ (images).slice(784 * i, 784 * (i + 1));
        const wrong = predicted[i] !== label[i];
        const facts = { index: number, label: label[i], predicted: predicted[i], distance: short(distance[i]) };
        return html`<li key=${number}>
          <button
            class=${`digit ${wrong ? "wrong" : ""}`}
            onClick=${() => show({ kind: "digit", index: number, label: label[i], image: pixels, training: true })}
          >
            <${Thumbnail} image=${pixels} />
            <span class="visually-hidden">${t(wrong ? "nearest_wrong" : "nearest_right", facts)}</span>
            <span aria-hidden="true">${label[i]}${wrong ? ` ≠ ${predicted[i]}` : ""}</span>
            <small aria-hidden="true">${distance[i].toFixed(1)}</small>
          </button>
        </li>`;
      })}
    </ul>`;
}
