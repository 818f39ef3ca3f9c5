// Test images to choose from, the network's mistakes first.
import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.js";
import { html } from "./html.js";
import { percent } from "./numbers.js";
import { Thumbnail } from "./pad.js";
import { about, problem, show, subject, tested } from "./state.js";
import { t } from "./text.js";

const PAGE = 40;
export const expanded = signal(false);

export function Digits() {
  return html`<details
    class="digits"
    open=${expanded.value}
    onToggle=${(/** @type {any} */ event) => (expanded.value = event.currentTarget.open)}
  >
    <summary>${t("choose_digit")}</summary>
    ${expanded.value && html`<${Gallery} />`}
  </details>`;
}

function Gallery() {
  const [start, setStart] = useState(0);
  const [found, setFound] = useState(/** @type {import("./api.js").Answer | null} */ (null));
  useSignalEffect(() => {
    if (tested.value) setStart(0); // the order has changed: mistakes come first now
  });
  const known = tested.value !== null;
  useEffect(() => {
    let current = true;
    api.digits(start, PAGE).then(
      (answer) => current && setFound(answer),
      (error) => (problem.value = error.message),
    );
    return () => {
      current = false;
    };
  }, [start, known]);
  if (!found) return html`<p class="help">${t("loading")}</p>`;
  const { index, label, predicted, confidence, images } = found.arrays;
  const total = found.facts.sample ?? about.value?.test_images ?? 0; // an exported page has some of them
  return html`<p class="help">
      ${known ? t("digits_mistakes", { wrong: found.facts.wrong, total: found.facts.total }) : t("digits_untested")}
    </p>
    <ul class="gallery">
      ${Array.from(index, (number, i) => {
        const image = /** @type {Uint8Array} */ (images).slice(784 * i, 784 * (i + 1));
        const wrong = predicted[i] >= 0 && predicted[i] !== label[i];
        const facts = { index: number, label: label[i], predicted: predicted[i], confidence: percent(confidence[i]) };
        const chosen = subject.value.kind === "digit" && !subject.value.training && subject.value.index === number;
        return html`<li key=${number}>
          <button
            class=${`digit ${wrong ? "wrong" : ""}`}
            aria-pressed=${chosen}
            onClick=${() => show({ kind: "digit", index: number, label: label[i], image })}
          >
            <${Thumbnail} image=${image} />
            <span class="visually-hidden">${t(wrong ? "digit_wrong" : "digit_right", facts)}</span>
            <span>${label[i]}${wrong ? ` ≠ ${predicted[i]}` : ""}</span>
          </button>
        </li>`;
      })}
    </ul>
    <div class="row">
      <button disabled=${start === 0} onClick=${() => setStart(Math.max(0, start - PAGE))}>${t("earlier")}</button>
      <span class="help">${t("digits_range", { from: start + 1, to: Math.min(start + PAGE, total), total })}</span>
      <button disabled=${start + PAGE >= total} onClick=${() => setStart(start + PAGE)}>${t("later")}</button>
    </div>`;
}
