// Nudge a number: move it by h, and see whether the loss moves as the gradient says.
import { useEffect, useState } from "preact/hooks";
import * as api from "./api.js";
import { html } from "./html.js";
import { long, nameOf, short } from "./numbers.js";
import { answer } from "./state.js";
import { t } from "./text.js";

/** @param {{number: import("./api.js").Selection, gradient: number}} props */
export function Nudge({ number, gradient }) {
  const [exponent, setExponent] = useState(-4);
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [failed, setFailed] = useState("");
  const asked = answer.value;
  useEffect(() => {
    if (!asked) return;
    let current = true;
    const later = setTimeout(
      () =>
        api.nudge(number, /** @type {Uint8Array} */ (asked.arrays.image8), asked.facts.label, 10 ** exponent).then(
          (result) => current && (setFound(result), setFailed("")),
          (error) => current && setFailed(error.message),
        ),
      60,
    );
    return () => {
      current = false;
      clearTimeout(later);
    };
  }, [exponent, asked]);
  const name = nameOf(number);
  const scale = found ? Math.max(Math.abs(found.gradient), Math.abs(gradient)) : 0;
  const relative = found && scale > 0 ? Math.abs(found.gradient - gradient) / scale : 0;
  return html`<div class="nudge">
    <h3>${t("nudge_title")}</h3>
    <label class="slider">
      h = 10<sup>${String(exponent).replace("-", "−")}</sup>
      <input type="range" min="-6" max="0" step="1" value=${exponent} aria-valuetext=${`10^${exponent}`}
        onInput=${(/** @type {any} */ event) => setExponent(Number(event.currentTarget.value))} />
    </label>
    ${failed && html`<p class="problem">${failed}</p>`}
    ${found && html`<table class="top">
      <tbody>
        <tr><th scope="row">${name}</th><td>${long(found.value)}</td></tr>
        <tr><th scope="row">L(x + h)</th><td>${long12(found.above)}</td></tr>
        <tr><th scope="row">L(x − h)</th><td>${long12(found.below)}</td></tr>
        <tr><th scope="row">(L(x + h) − L(x − h)) / 2h</th><td data-quotient=${found.gradient}>${long(found.gradient)}</td></tr>
        <tr><th scope="row">${t("nudge_gradient")}</th><td>${long(gradient)}</td></tr>
        <tr class="total"><th scope="row">${t("nudge_relative")}</th><td>${short(relative)}</td></tr>
      </tbody>
    </table>`}
    <p class="help">${found ? t(found.kinks ? "nudge_kinks" : "nudge_smooth", { count: found.kinks }) : t("loading")} ${t("nudge_help")}</p>
  </div>`;
}

/** @param {number} x */
const long12 = (x) => (Number.isFinite(x) ? x.toPrecision(13).replace("-", "−") : short(x));
