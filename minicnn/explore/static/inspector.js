// One number: where it lies, the terms that made it, the formula, the lines of code, and the last line.
import { useEffect, useRef } from "preact/hooks";
import { Code } from "./code.js";
import { limitOf } from "./colours.js";
import { Formula } from "./formula.js";
import { html } from "./html.js";
import { Map2D } from "./maps.js";
import { Nudge } from "./nudge.js";
import { indices, long, nameOf, placeOf, shapeOf, short, titleOf, valueOf } from "./numbers.js";
import { back, close, isForward, open, pointed, selected, spoken, stageNamed, trace, trail } from "./state.js";
import { marksOn, shownOf } from "./strip.js";
import { SwitchButton } from "./switches.js";
import { largestOf, Terms } from "./terms.js";
import { t } from "./text.js";
import { Covered, Likes, WhyHead } from "./why.js";

export function Inspector() {
  const number = selected.value;
  const found = trace.value;
  const last = useRef(/** @type {import("./api.js").Answer | null} */ (null));
  if (found) last.current = found;
  const shown = found ?? last.current; // keeps its place, unseen, until the next is there
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!number) return;
    const narrow = window.matchMedia("(max-width: 719px)").matches;
    if (narrow) heading.current?.scrollIntoView({ block: "start" });
  }, [number]);
  useEffect(() => {
    if (!found || !wished) return;
    wished = false;
    follow();
  }, [found]);
  useEffect(() => {
    if (number && found) spoken.value = `${titleOf(number)}: ${short(found.facts.value)}`;
  }, [number, found]);
  if (!number) return html`<section class="inspector empty" aria-label=${t("inspector_label")}><${Invitation} /></section>`;
  return html`<section class="inspector" aria-label=${t("inspector_label")} ref=${heading}>
    <${Trail} />
    <div class="number-head">
      <h2 class="number-name">${titleOf(number)} <span class="equals">= ${short(found?.facts.value ?? valueOf(number))}</span></h2>
      <button class="follow" onClick=${follow} disabled=${!found || !largestOf(found)}>${t("follow")} <kbd>F</kbd></button>
    </div>
    <${SwitchButton} number=${number} />
    ${number.what === "parameter" && found && html`<p class="help">${t("parameter_is", { name: nameOf(number), value: short(found.facts.entry) })}</p>`}
    ${!isForward(number) && found && html`<p class="help">${meaning(number, found.facts.value)}</p>`}
    ${number.what === "lead" && html`<${WhyHead} number=${number} />`}
    <${Zoom} key=${`${number.what} ${number.name}`} />
    ${number.name === "image" && number.what === "value"
      ? html`<p>${t("pixel_end")}</p>`
      : shown
        ? html`<div class=${found ? "made" : "made pending"} aria-busy=${!found}>
            <${Terms} trace=${shown} />
            ${number.what === "lead" && html`<${Likes} trace=${shown} number=${number} /><${Covered} number=${number} />`}
            <${Formula} trace=${shown} number=${number} />
            ${found && !isForward(number) && html`<${Nudge} key=${titleOf(number)} number=${number} gradient=${found.facts.value} />`}
            <${Code} name=${shown.facts.code} />
            <${LastLine} facts=${shown.facts} />
          </div>`
        : html`<p class="help">${t("loading")}</p>`}
  </section>`;
}

/** What a gradient says, in one sentence. @param {import("./api.js").Selection} number @param {number} gradient */
function meaning(number, gradient) {
  if (gradient === 0) return t("gradient_zero", { name: nameOf(number) });
  const facts = { name: nameOf(number), change: short(Math.abs(gradient) * 0.01) };
  return t(gradient > 0 ? "gradient_rises" : "gradient_falls", facts);
}

function Invitation() {
  return html`<h2>${t("invitation_title")}</h2>
    <ol>
      <li>${t("invitation_1")}</li>
      <li>${t("invitation_2")}</li>
      <li>${t("invitation_3")}</li>
      <li>${t("invitation_4")}</li>
    </ol>`;
}

let wished = false; // to follow, as soon as the terms are there

/** Go to the term that contributes most. */
export function follow() {
  wished = !trace.value && selected.value?.name !== "image";
  const next = trace.value && largestOf(trace.value);
  if (next) open(next, true);
}

/** Close, and go back to the map from which one came. */
export function leave() {
  const name = selected.value?.name;
  close();
  /** @type {HTMLElement | null} */ (document.querySelector(`[data-stage="${name}"]`))?.focus();
}

/** The way from the first number to this one; each is a link back. */
function Trail() {
  return html`<nav class="trail" aria-label=${t("trail_label")}>
    <ol>
      ${trail.value.map(
        (number, i) => html`<li key=${i}>
          ${i + 1 < trail.value.length
            ? html`<button class="link" onClick=${() => open(number, true)}>${titleOf(number)}</button>`
            : html`<b aria-current="step">${titleOf(number)}</b>`}
        </li>`,
      )}
    </ol>
    <span class="trail-buttons">
      <button onClick=${back} aria-label=${t("back")} title=${t("back")}>←</button>
      <button onClick=${leave} aria-label=${t("close")} title=${t("close")}>✕</button>
    </span>
  </nav>`;
}

/** The map in which the number lies, large enough to pick its neighbours. */
function Zoom() {
  const number = selected.value;
  const stage = number && stageNamed(number.name);
  if (!number || !stage || number.what === "parameter" || number.what === "lead") return null;
  if (stage.shape.length === 1) return html`<dl class="unit"><${Stepper} number=${number} name=${t("unit")} index=${number.place} size=${stage.shape[0]} /></dl>`;
  const { what, values, ink } = shownOf(stage);
  if (!values || what !== number.what) return null;
  const [H, W, C] = stage.shape;
  const [row, column, channel] = indices(number.place, stage.shape);
  const map = Array.from({ length: H * W }, (_, i) => values[i * C + channel]);
  const { box, maps } = marksOn(stage);
  /** @param {number} place */
  const inStage = (place) => ({ what, name: stage.name, place: placeOf([Math.floor(place / W), place % W, channel], stage.shape) });
  return html`<div class="zoom">
    <${Map2D}
      values=${map} rows=${H} columns=${W} size=${196} limit=${limitOf(values)} ink=${ink}
      cursor=${row * W + column} box=${maps?.has(channel) ? box : null}
      label=${t("zoom_label", { stage: stage.name, channel })}
      pick=${(/** @type {number} */ place) => open(inStage(place))}
      point=${(/** @type {number} */ place) => {
        pointed.value = inStage(place);
        spoken.value = `${nameOf(inStage(place))}: ${short(map[place])}`;
      }}
    />
    <dl>
      ${C > 1 && html`<${Stepper} number=${number} name=${t("map")} index=${channel} size=${C} />`}
      <dt>${t("row")}</dt><dd>${row}</dd>
      <dt>${t("column")}</dt><dd>${column}</dd>
      <dt>${t("shape")}</dt><dd>${shapeOf(number.name).join(" × ")}</dd>
      <dt>${t("range")}</dt><dd>${short(-limitOf(values))} … ${short(limitOf(values))}</dd>
    </dl>
  </div>`;
}

/** To the neighbours along the last axis. @param {{number: import("./api.js").Selection, name: string, index: number, size: number}} props */
function Stepper({ number, name, index, size }) {
  /** @param {number} by */
  const step = (by) => open({ ...number, place: number.place + by });
  return html`<dt>${name}</dt>
    <dd class="stepper">
      <button aria-label=${t("previous", { name })} disabled=${index === 0} onClick=${() => step(-1)}>‹</button>
      <span>${index}</span>
      <button aria-label=${t("next", { name })} disabled=${index === size - 1} onClick=${() => step(1)}>›</button>
    </dd>`;
}

/** @param {{facts: any}} props */
function LastLine({ facts }) {
  return html`<table class="last-line">
    <thead>
      <tr>
        <th scope="col">${t("by_hand")}</th>
        <th scope="col">${t("engine")}</th>
        <th scope="col">${t("difference")}</th>
      </tr>
    </thead>
    <tbody>
      <tr>
        <td data-by-hand=${facts.by_hand}>${long(facts.by_hand)}</td>
        <td data-engine=${facts.value}>${long(facts.value)}</td>
        <td>${short(facts.difference)}</td>
      </tr>
    </tbody>
  </table>`;
}
