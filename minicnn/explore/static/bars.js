// The answer: ten probabilities, and the loss for a label.
import { html } from "./html.js";
import { percent, short } from "./numbers.js";
import { about, answer, chosenLabel, label, mode, open, refresh, selected, subject, top } from "./state.js";
import { t } from "./text.js";
import { Nearest } from "./nearest.js";
import { WhyButton } from "./why.js";

export function Bars() {
  const p = answer.value?.arrays.softmax;
  const best = top.value;
  const truth = subject.value.kind === "digit" ? subject.value.label : null;
  return html`<section class="bars" aria-label=${t("bars_label")}>
    <h2 aria-live="polite" aria-atomic="true">${p ? headline(best, p[best], truth) : t("bars_waiting")}</h2>
    <ol>
      ${Array.from({ length: 10 }, (_, k) => {
        const probability = p?.[k] ?? 0;
        const current = selected.value?.name === "softmax" && selected.value.place === k;
        return html`<li key=${k}>
          <button
            class=${`bar ${k === best ? "best" : ""}`}
            aria-current=${current}
            onClick=${() => open({ what: "value", name: "softmax", place: k })}
          >
            <span class="digit-name">${k}${k === truth ? html`<span class="truth" title=${t("truth")}>✓</span>` : ""}</span>
            <span class="track"><span class="fill" style=${{ transform: `scaleX(${probability || 0})` }}></span></span>
            <span class="number">${p ? percent(probability) : ""}</span>
            <span class="visually-hidden">${t("bar_label")}</span>
          </button>
        </li>`;
      })}
    </ol>
    <${WhyButton} />
    <${Loss} />
    ${about.value?.twins && html`<${Nearest} />`}
  </section>`;
}

/** @param {number} best @param {number} p @param {number | null} truth */
function headline(best, p, truth) {
  if (best < 0) return t("not_a_number");
  const facts = { digit: best, percent: percent(p), label: truth ?? "" };
  if (truth === null) return t("answer", facts);
  return t(truth === best ? "answer_right" : "answer_wrong", facts);
}

function Loss() {
  const facts = answer.value?.facts;
  const value = label.value;
  return html`<div class="loss">
    <label>
      ${t("loss_for")}${" "}
      <select
        value=${value === null ? "" : String(value)}
        onChange=${(/** @type {any} */ event) => {
          chosenLabel.value = event.currentTarget.value === "" ? null : Number(event.currentTarget.value);
          refresh(true);
        }}
      >
        ${subject.value.kind === "drawing" && html`<option value="">${t("own_answer", { digit: facts?.label ?? "" })}</option>`}
        ${Array.from({ length: 10 }, (_, k) => html`<option key=${k} value=${k}>${k}</option>`)}
      </select>
    </label>
    <button class="link" data-stage="loss" disabled=${!facts} onClick=${() => open({ what: "value", name: "loss", place: 0 })}>
      −log p[${facts?.label ?? ""}] = ${facts ? short(facts.loss) : ""}
    </button>
    ${mode.value === "backward" && html`<p class="help">${t("loss_backward")}</p>`}
  </div>`;
}
