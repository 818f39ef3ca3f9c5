// The strip: all layers at once, each with its shape and its scale.
import { useRef } from "preact/hooks";
import { limitOf } from "./colours.js";
import { html } from "./html.js";
import { contextOf, drawStage, layoutOf, Map2D, placeAt, stepOf, useDrawing, useWidth } from "./maps.js";
import { indices, nameOf, placeOf, short, titleOf, valueOf } from "./numbers.js";
import { about, answer, centre, mode, open, pointed, refresh, selected, spoken, stageNamed, subject, trace, trail } from "./state.js";
import { offIn, SwitchedOff } from "./switches.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Stage} Stage */

export function Strip() {
  const stages = about.value?.stages.slice(1) ?? [];
  const gradients = mode.value === "backward";
  return html`<section class="strip" aria-label=${t("strip_label")}>
    <div class="strip-head">
      <${Seen} />
      <div>
        <h2>${t(gradients ? "strip_backward" : "strip_forward")}</h2>
        <${Readout} />
        <${Centring} />
      </div>
    </div>
    <${SwitchedOff} />
    <ol class="stages">
      ${stages.map((stage) =>
        stage.shape.length === 1 && stage.shape[0] <= 10
          ? html`<${Scores} key=${stage.name} stage=${stage} />`
          : html`<${StageRow} key=${stage.name} stage=${stage} />`,
      )}
    </ol>
  </section>`;
}

/** What the network sees: 28 x 28 pixels, or the gradient at each of them. */
function Seen() {
  const stage = stageNamed("image");
  if (!stage) return null;
  const { what, values, ink } = shownOf(stage);
  const { box, marks } = marksOn(stage);
  const shown = values ?? new Float32Array(784);
  const limit = limitOf(shown);
  const number = (/** @type {number} */ place) => ({ what, name: "image", place });
  return html`<div class="seen">
    <h3>image <span class="kind">28×28</span></h3>
    <${Map2D}
      stage="image" values=${shown} rows=${28} columns=${28} size=${112} limit=${limit} ink=${ink || !values}
      cursor=${marks.at(-1) ?? -1} box=${box} label=${t("seen_map")}
      pick=${(/** @type {number} */ place) => open(number(place))}
      point=${(/** @type {number} */ place) => {
        pointed.value = number(place);
        spoken.value = `${nameOf(number(place))}: ${short(shown[place])}`;
      }}
    />
    ${what === "gradient" && html`<${Scale} limit=${limit} known=${values !== undefined} />`}
  </div>`;
}

function Centring() {
  const digit = subject.value.kind === "digit";
  return html`<div class="centring"><label class="check">
      <input type="checkbox" checked=${centre.value} disabled=${digit}
        onChange=${(/** @type {any} */ event) => {
          centre.value = event.currentTarget.checked;
          refresh(true);
        }} />
      ${t("centre")}
    </label>
    <p class="help">${t(digit ? "centre_digit" : centre.value ? "centre_on" : "centre_off")}</p></div>`;
}

/** The number under the pointer or the cursor, in words. */
function Readout() {
  const number = pointed.value;
  return html`<p class="readout">
    ${number && valueOf(number) !== undefined
      ? html`<b>${titleOf(number)}</b> = <output>${short(valueOf(number))}</output>`
      : t("readout_hint")}
  </p>`;
}

/** What a stage shows now. @param {Stage} stage */
export function shownOf(stage) {
  const what = mode.value === "backward" ? /** @type {const} */ ("gradient") : /** @type {const} */ ("value");
  const values = answer.value?.arrays[what === "gradient" ? `d/${stage.name}` : stage.name];
  return { what, values, ink: stage.kind === "image" && what === "value" };
}

/** The places of the trail, and the window of the trace, as far as they lie in this stage. @param {Stage} stage */
export function marksOn(stage) {
  const what = mode.value === "backward" ? "gradient" : "value";
  const marks = trail.value.filter((n) => n.name === stage.name && n.what === what).map((n) => n.place);
  let box = null;
  let maps = null;
  for (const side of ["left", "right"]) {
    const factor = trace.value?.facts[side];
    if (!factor || factor.name !== stage.name || factor.what !== what || stage.shape.length === 1) continue;
    const places = trace.value?.arrays[`${side}_places`] ?? [];
    const found = Array.from(places, (place) => indices(place, stage.shape)).filter((_, i) => places[i] >= 0);
    if (!found.length) continue;
    const [rows, columns] = [found.map((i) => i[0]), found.map((i) => i[1])];
    const [row, column] = [Math.min(...rows), Math.min(...columns)];
    box = { row, column, rows: Math.max(...rows) - row + 1, columns: Math.max(...columns) - column + 1 };
    maps = new Set(found.map((i) => i[2]));
  }
  return { marks, box, maps };
}

/** @param {{stage: Stage}} props */
function StageRow({ stage }) {
  const wrap = useRef(/** @type {HTMLElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const cursor = useRef(0);
  const width = useWidth(wrap);
  const { what, values, ink } = shownOf(stage);
  const limit = values ? limitOf(values) : 1;
  const { marks, box, maps } = marksOn(stage);
  const here = pointed.value?.name === stage.name && pointed.value.what === what ? [pointed.value.place] : [];
  const over = { box, maps, off: offIn(stage.name), marks: [...marks, ...here] };
  useDrawing(() => {
    if (!width || !canvas.current) return;
    const { width: w, height } = layoutOf(stage.shape, width);
    if (!values) contextOf(canvas.current, w, height); // its place, so that nothing moves later
    else drawStage(stage.name, canvas.current, values, stage.shape, width, limit, ink, over);
  }, [values, width, limit, ink, ...Object.values(over)]);
  /** @param {MouseEvent} event */
  const under = (event) => placeAt(event.offsetX, event.offsetY, stage.shape, width);
  /** @param {number} place */
  const point = (place) => (pointed.value = place < 0 ? null : { what, name: stage.name, place });
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    const next = movedBy(event.key, cursor.current, stage.shape, layoutOf(stage.shape, width).columns);
    if (next !== null) {
      cursor.current = next;
      point(next);
      spoken.value = `${nameOf({ name: stage.name, place: next })}: ${short(values?.[next])}`;
    } else if (event.key === "Enter" || event.key === " ") open({ what, name: stage.name, place: cursor.current });
    else return;
    event.preventDefault();
  };
  const facts = { name: stage.name, shape: stage.shape.join(" × "), kind: t(`kind_${stage.kind}`) };
  return html`<li class="stage" ref=${wrap}>
    <div class="stage-head">
      <h3>${stage.name}</h3>
      <span class="kind">${facts.kind}, ${stage.shape.join("×")}</span>
      <${Scale} limit=${limit} known=${values !== undefined} />
    </div>
    <canvas
      ref=${canvas}
      data-stage=${stage.name}
      role="application"
      tabindex="0"
      aria-label=${t("stage_label", facts)}
      onClick=${(/** @type {MouseEvent} */ event) => {
        const place = under(event);
        if (place < 0) return;
        cursor.current = place;
        open({ what, name: stage.name, place });
      }}
      onPointerMove=${(/** @type {MouseEvent} */ event) => point(under(event))}
      onPointerLeave=${() => point(-1)}
      onBlur=${() => point(-1)}
      onKeyDown=${key}
    ></canvas>
  </li>`;
}

/**
 * Where a key moves the cursor, or null: arrows within a map or among units, Page Up and Down among maps.
 * @param {string} key @param {number} place @param {number[]} shape @param {number} columns
 */
function movedBy(key, place, shape, columns) {
  const step = stepOf(key);
  if (shape.length === 1) {
    const next = step ? place + step[0] * columns + step[1] : place;
    return step && next >= 0 && next < shape[0] ? next : step ? place : null;
  }
  const index = indices(place, shape);
  if (step) {
    index[0] = Math.min(shape[0] - 1, Math.max(0, index[0] + step[0]));
    index[1] = Math.min(shape[1] - 1, Math.max(0, index[1] + step[1]));
  } else if (key === "PageUp" || key === "PageDown") {
    index[2] = Math.min(shape[2] - 1, Math.max(0, index[2] + (key === "PageUp" ? -1 : 1)));
  } else return null;
  return placeOf(index, shape);
}

/** The legend of a stage. @param {{limit: number, known: boolean}} props */
export function Scale({ limit, known }) {
  if (!known) return null;
  return html`<span class="scale" role="img" aria-label=${t("scale_label", { limit: short(limit) })}>
    <span>${short(-limit)}</span><span class="ramp"></span><span>${short(limit)}</span>
  </span>`;
}

/** Ten numbers, written out. @param {{stage: Stage}} props */
function Scores({ stage }) {
  const { what, values } = shownOf(stage);
  const { marks } = marksOn(stage);
  const limit = values ? limitOf(values) : 1;
  return html`<li class="stage">
    <div class="stage-head">
      <h3>${stage.name}</h3>
      <span class="kind">${t("kind_scores")}, ${stage.shape.join("×")}</span>
    </div>
    <div class="scores" data-stage=${stage.name}>
      ${Array.from({ length: stage.shape[0] }, (_, k) => {
        const number = { what, name: stage.name, place: k };
        const value = values?.[k];
        const high = Math.max(1, (22 * Math.abs(value ?? 0)) / limit);
        return html`<button
          key=${k}
          class=${marks.includes(k) ? "marked" : ""}
          aria-current=${selected.value?.name === stage.name && selected.value.place === k}
          onClick=${() => open(number)}
        >
          <span class="digit-name"><span class="visually-hidden">${titleOf(number).replace(/\d+\]$/, "")}</span>${k}</span>
          <span class=${`column ${(value ?? 0) < 0 ? "negative" : ""}`} style=${{ height: `${high}px` }}></span>
          <span class="number">${values ? tiny(value) : ""}</span>
        </button>`;
      })}
    </div>
  </li>`;
}

/** A number in five letters. @param {number | undefined} x */
function tiny(x) {
  if (x === undefined || !Number.isFinite(x)) return short(x);
  const size = Math.abs(x);
  const text = size === 0 ? "0" : size < 0.005 ? "~0" : size >= 10 ? x.toFixed(1) : x.toFixed(2);
  return text.replace("-", "−");
}
