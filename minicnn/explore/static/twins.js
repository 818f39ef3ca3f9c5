// Break it: two small networks that differ in one thing, trained side by side. One guesses before one sees.
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "./api.js";
import { limitOf } from "./colours.js";
import { Curves } from "./curves.js";
import { html } from "./html.js";
import { drawStage, layoutOf, useDrawing, useWidth } from "./maps.js";
import { percent, short } from "./numbers.js";
import { about, spoken } from "./state.js";
import { Scale } from "./strip.js";
import { t } from "./text.js";
import { choice, choose, differ, go, guess, guessed, outcome, pair, pause } from "./twins-state.js";

const SEEDS = 5;
const TWINS = /** @type {const} */ (["a", "b"]);

/** What the twins can differ in, and how. */
const facts = () => /** @type {api.Twins} */ (about.value?.twins);

/** "A" or "B" with its value: "A: 0.1" @param {"a" | "b"} twin */
const nameOf = (twin) => `${twin.toUpperCase()}: ${t(`twin_${choice.value.difference}_${choice.value[twin]}`)}`;

export function Twins() {
  const [c1, c2, units] = facts().sizes;
  return html`<section class="twins" aria-label=${t("twins_title")}>
    <h2>${t("twins_title")}</h2>
    <p class="help">${t("twins_intro", { c1, c2, units })}</p>
    <${Choose} />
    <${Guess} />
    <${Controls} />
    <${Outcome} />
    ${choice.value.difference === "gradient" && guess.value && html`<${Checks} />`}
    ${pair.value && html`<${Figures} found=${pair.value} />`}
  </section>`;
}

function Choose() {
  const { difference, seed } = choice.value;
  /** @param {any} event */
  const chosen = (event) => event.currentTarget.value;
  const values = facts().differences[difference];
  /** @param {"a" | "b"} twin @param {string} value */
  const set = (twin, value) => {
    const other = twin === "a" ? "b" : "a"; // they must differ: the other takes what this one had
    choose({ [twin]: value, ...(choice.value[other] === value ? { [other]: choice.value[twin] } : {}) });
  };
  return html`<div class="twins-row">
    <label>${t("twins_difference")}${" "}
      <select value=${difference} onChange=${(/** @type {any} */ event) => differ(chosen(event))}>
        ${Object.keys(facts().differences).map((name) => html`<option key=${name} value=${name}>${t(`twin_${name}`)}</option>`)}
      </select>
    </label>
    ${TWINS.map(
      (twin) => html`<label key=${twin} class=${`twin-${twin}`}><b>${twin.toUpperCase()}</b>${" "}
      <select value=${choice.value[twin]} onChange=${(/** @type {any} */ event) => set(twin, chosen(event))}>
        ${values.map((value) => html`<option key=${value} value=${value}>${t(`twin_${difference}_${value}`)}</option>`)}
      </select>
    </label>`,
    )}
    <label>${t("twins_seed")}${" "}
      <select value=${String(seed)} onChange=${(/** @type {any} */ event) => choose({ seed: Number(chosen(event)) })}>
        ${Array.from({ length: SEEDS }, (_, k) => html`<option key=${k} value=${k}>${k}</option>`)}
      </select>
    </label>
  </div>`;
}

function Guess() {
  const { tested, stop } = facts();
  const fixed = (pair.value?.facts.furthest ?? 0) > 0; // no guess after the first step
  return html`<fieldset class="guess" disabled=${fixed}>
    <legend>${t("twins_guess", { tested: tested.toLocaleString("en"), stop })}</legend>
    ${[...TWINS, /** @type {const} */ ("same")].map(
      (which) => html`<label key=${which}>
      <input type="radio" name="guess" checked=${guess.value === which} onChange=${() => guessed(which)} />
      ${which === "same" ? t("twins_same") : nameOf(which)}
    </label>`,
    )}
  </fieldset>`;
}

function Controls() {
  const found = pair.value?.facts;
  const { stop } = facts();
  const ready = guess.value !== null && found !== undefined;
  const step = found?.step ?? 0;
  const ended = step >= stop;
  return html`<div class="twins-row">
      <button disabled=${!ready || ended} onClick=${() => go(step + 1)}>${t("twins_one")}</button>
      <button disabled=${!ready || ended} onClick=${() => go(step + 10)}>${t("twins_ten")}</button>
      ${found && found.step !== found.target
        ? html`<button key="run" class="main" onClick=${pause}>${t("twins_pause")}</button>`
        : html`<button key="run" class="main" disabled=${!ready || ended} onClick=${() => go(stop)}>${t("twins_run", { stop })}</button>`}
      <button disabled=${!ready || step === 0} onClick=${() => go(0)}>${t("twins_start")}</button>
      <label class="slider">${t("twins_slider")}
        <input type="range" min="0" max=${stop} step="1" value=${step} disabled=${!ready}
          aria-valuetext=${t("twins_at", { step, stop })}
          onChange=${(/** @type {any} */ event) => go(Number(event.currentTarget.value))} />
      </label>
      <output data-step=${step} data-running=${Boolean(found?.running)}>${t("twins_at", { step, stop })}</output>
    </div>
    <p class="help">
      ${guess.value === null ? t("twins_first") : ""}
      ${found?.made_again ? t(found.same ? "twins_same_bits" : "twins_other_bits", { count: found.made_again }) : ""}
    </p>`;
}

/** What happened and why: at the end, or as soon as a loss is no number. */
function Outcome() {
  const found = pair.value;
  const result = outcome.value;
  const { difference } = choice.value;
  const usual = facts().differences[difference][0];
  useEffect(() => {
    if (result) spoken.value = t("twins_end", { a: percent(result.a), b: percent(result.b) });
  }, [result === null]);
  if (!found) return null;
  const bad = TWINS.filter((_, twin) => found.facts.diverged[twin] !== null && found.facts.diverged[twin] <= found.facts.step);
  return html`${bad.map(
      (twin) => html`<p key=${twin} class="twins-nan" role="status">
      <b>${nameOf(twin)}</b>. ${t("twins_nan", { step: found.facts.diverged[TWINS.indexOf(twin)] })}
    </p>`,
    )}
    ${result &&
    html`<div class="outcome" data-result=${result.result}>
      <h3>${t(result.result === guess.value ? "twins_right" : "twins_wrong")}</h3>
      <p>${t("twins_end", { a: percent(result.a), b: percent(result.b) })}${" "}${t(`twins_result_${result.result}`)}</p>
      ${TWINS.filter((twin) => choice.value[twin] !== usual).map(
        (twin) => html`<p key=${twin}><b>${nameOf(twin)}.</b> ${t(`twin_why_${difference}_${choice.value[twin]}`)}</p>`,
      )}
    </div>`}`;
}

/** @param {{found: api.Answer}} props */
function Figures({ found }) {
  const { stop, tested } = facts();
  const { step } = found.facts;
  const { losses, looks, correct } = found.arrays;
  /** @param {ArrayLike<number>} values two a step @param {number} twin */
  const of = (values, twin) => Array.from({ length: values.length / 2 }, (_, i) => values[2 * i + twin]);
  const steps = Array.from({ length: losses.length / 2 }, (_, i) => i + 1);
  const share = (/** @type {number} */ twin) => of(correct, twin).map((count) => count / tested);
  return html`<p class="legend">
      <span class="twin-a"><span class="line" aria-hidden="true"></span> ${nameOf("a")}</span>
      <span class="twin-b"><span class="line dashed" aria-hidden="true"></span> ${nameOf("b")}</span>
      <span class="help"><span class="cursor" aria-hidden="true"></span> ${t("twins_at", { step, stop })}</span>
    </p>
    <div class="figures">
      <figure>
        <figcaption>${t("twins_loss")}</figcaption>
        <${Curves} label=${t("twins_loss")} steps=${steps} a=${of(losses, 0)} b=${of(losses, 1)} here=${step} stop=${stop} logarithmic />
      </figure>
      <figure>
        <figcaption>${t("twins_accuracy", { tested: tested.toLocaleString("en") })}</figcaption>
        <${Curves} label=${t("twins_accuracy", { tested })} steps=${Array.from(looks)} a=${share(0)} b=${share(1)} here=${step} stop=${stop} />
      </figure>
      <${Numbers} found=${found} />
      <${Digit} found=${found} />
      <${Filters} found=${found} what="filters" />
      <${Filters} found=${found} what="change" />
    </div>`;
}

/** @param {{found: api.Answer}} props */
function Numbers({ found }) {
  const { layers, sizes, tested } = facts();
  const { step, looked_at: looked } = found.facts;
  const { losses, looks, correct, dead, always } = found.arrays;
  const at = Array.from(looks).indexOf(looked);
  /** @param {(twin: number) => any} cell */
  const both = (cell) => TWINS.map((name, twin) => html`<td key=${name} data-twin=${name}>${cell(twin)}</td>`);
  return html`<table class="top twins-numbers">
    <thead><tr><th>${t("twins_now", { step })}</th><th scope="col">A</th><th scope="col">B</th></tr></thead>
    <tbody>
      <tr data-row="loss"><th scope="row">${t("twins_loss")}</th>${both((twin) => (step > 0 ? short(losses[2 * (step - 1) + twin]) : "–"))}</tr>
      <tr data-row="accuracy"><th scope="row">${t("twins_accuracy", { tested: tested.toLocaleString("en") })}${looked !== null && looked !== step ? ` (${t("twins_step", { step: looked })})` : ""}</th>
        ${both((twin) => (at >= 0 ? percent(correct[2 * at + twin] / tested) : "…"))}</tr>
      ${layers.map(
        (layer, i) => html`<tr key=${layer} data-row=${layer}><th scope="row">${t("twins_units", { layer: layer === "relu" ? "fc1" : layer.split(".")[0], count: sizes[i] })}</th>
        ${both((twin) => {
          if (!dead) return "…";
          const [none, all] = [dead[2 * i + twin], always[2 * i + twin]];
          return none < 0 ? t("twins_no_relu") : t("twins_dead", { none, all });
        })}</tr>`,
      )}
    </tbody>
  </table>`;
}

/** Ten bars of each: what they say to the digit on the pad. @param {{found: api.Answer}} props */
function Digit({ found }) {
  const p = found.arrays.probabilities;
  return html`<div class="twins-digit">
    <h3>${t("twins_digit")}</h3>
    <p class="twins-head" aria-hidden="true"><b>A</b><b>B</b></p>
    <ol>
      ${Array.from({ length: 10 }, (_, k) => html`<li key=${k}>
        <span class="digit-name">${k}</span>
        ${TWINS.map((twin, i) => {
          const value = p[10 * i + k];
          return html`<span class="visually-hidden">${twin.toUpperCase()}</span><span key=${twin} class=${`track twin-${twin}`}><span class="fill" style=${{ transform: `scaleX(${value || 0})` }}></span></span>
            <span class="number" data-digit=${`${twin}${k}`}>${percent(value)}</span>`;
        })}
      </li>`)}
    </ol>
  </div>`;
}

const NOTHING = { box: null, maps: null, marks: [], off: new Set() };

/** conv1's filters of both, or how they have changed, on one scale. @param {{found: api.Answer, what: "filters" | "change"}} props */
function Filters({ found, what }) {
  const values = /** @type {Float32Array} */ (found.arrays[what]);
  const [, rows, columns, , count] = found.shapes[what];
  const limit = limitOf(values);
  return html`<div>
    <h3>${t(`twins_${what}`)} <${Scale} limit=${limit} known=${true} /></h3>
    ${TWINS.map((twin, i) => {
      const own = values.subarray((i * values.length) / 2, ((i + 1) * values.length) / 2);
      return html`<div key=${twin} class=${`twins-filters twin-${twin}`}><b>${twin.toUpperCase()}</b>
        ${own.some(Number.isNaN) ? html`<span>NaN</span>` : html`<${Row} name=${`${what} ${twin}`} values=${own} shape=${[rows, columns, count]} limit=${limit} />`}
      </div>`;
    })}
  </div>`;
}

/** @param {{name: string, values: Float32Array, shape: number[], limit: number}} props */
function Row({ name, values, shape, limit }) {
  const wrap = useRef(/** @type {HTMLDivElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const width = useWidth(wrap);
  useDrawing(() => {
    if (canvas.current && width) drawStage(name, canvas.current, values, shape, width, limit, false, NOTHING);
  }, [values, shape, width, limit]);
  return html`<div class="wide" ref=${wrap}><canvas ref=${canvas} role="img" aria-label=${t("twins_filters_label", { count: shape[2], limit: short(limit) })}></canvas></div>`;
}

/** What the gradient check says of the wrong layers that were chosen, and of the right one. */
function Checks() {
  const wrong = TWINS.filter((twin) => choice.value[twin] !== "right").map((twin) => choice.value[twin]);
  return wrong.map((gradient) => html`<${Check} key=${gradient} gradient=${gradient} />`);
}

/** @param {{gradient: string}} props */
function Check({ gradient }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  useEffect(() => {
    let current = true;
    api.check(gradient).then((answer) => current && setFound(answer), () => {});
    return () => {
      current = false;
    };
  }, [gradient]);
  if (!found) return html`<p class="help" role="status">${t("twins_checking")}</p>`;
  return html`<div class="check-report">
    <h3>${t("twins_check", { layer: found.layer })}</h3>
    <dl>
      <dt>${t("twin_gradient_right")}</dt><dd data-check="right"><code>${found.right.verdict}</code></dd>
      <dt>${t(`twin_gradient_${gradient}`)}</dt>
      <dd data-check="wrong"><code>${found.wrong.verdict}</code>${found.wrong.says.map((/** @type {string} */ line) => html`<br key=${line} /><code>${line}</code>`)}</dd>
    </dl>
  </div>`;
}
