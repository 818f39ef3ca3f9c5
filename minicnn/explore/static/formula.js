// The formula of a number, once with letters and once with its own numbers, as MathML.
import { html } from "./html.js";
import { indices, long, shapeOf, short, stageOf } from "./numbers.js";
import { productsOf } from "./terms.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Answer} Answer */

const SHOWN = 2; // products that are written out

/** @param {string} name */
const mi = (name) => html`<mi>${name}</mi>`;
/** @param {string} sign */
const mo = (sign) => html`<mo>${sign}</mo>`;
/** @param {number | string} number */
const mn = (number) => (String(number).startsWith("−") ? html`<mrow><mo>(</mo><mo form="prefix">−</mo><mn>${String(number).slice(1)}</mn><mo>)</mo></mrow>` : html`<mn>${number}</mn>`);
/** A letter with indices: y[i, j, f]. @param {string} name @param {string} index */
const at = (name, index) => html`<msub><mi>${name}</mi><mrow>${[...index].map((c) => (c === "," ? html`<mo separator="true">,</mo>` : /[a-z]/i.test(c) ? mi(c) : /\d/.test(c) ? html`<mn>${c}</mn>` : mo(c)))}</mrow></msub>`;
/** @param {string} index */
const sum = (index) => html`<munder><mo>∑</mo><mrow>${[...index].map((c) => (c === "," ? mo(",") : mi(c)))}</mrow></munder>`;
/** dL/d of something. @param {any} what */
const grad = (what) => html`<mfrac><mrow><mi>∂</mi><mi>L</mi></mrow><mrow><mi>∂</mi>${what}</mrow></mfrac>`;
/** @param {any} body */
const exp = (body) => html`<msup><mi>e</mi>${body}</msup>`;

/** The formula in letters. @param {string} code @param {number} stride */
function letters(code, stride) {
  const s = stride === 1 ? "" : String(stride);
  switch (code) {
    case "conv2d_forward":
      return html`${at("y", "i,j,f")}${mo("=")}${at("b", "f")}${mo("+")}${sum("u,v,c")}${at("x", `${s}i+u,${s}j+v,c`)}${mo("·")}${at("w", "u,v,c,f")}`;
    case "dense_forward":
      return html`${at("y", "f")}${mo("=")}${at("b", "f")}${mo("+")}${sum("d")}${at("x", "d")}${mo("·")}${at("w", "d,f")}`;
    case "lead":
      return html`${at("z", "a")}${mo("−")}${at("z", "b")}${mo("=")}${at("b", "a")}${mo("−")}${at("b", "b")}${mo("+")}${sum("d")}${at("x", "d")}${mo("·")}${mo("(")}${at("w", "d,a")}${mo("−")}${at("w", "d,b")}${mo(")")}`;
    case "relu_forward":
      return html`${mi("y")}${mo("=")}${mi("max")}${mo("(")}${mi("x")}${mo(",")}${mn(0)}${mo(")")}`;
    case "max_pool2d_forward":
      return html`${at("y", "i,j,c")}${mo("=")}<munder><mi>max</mi><mrow>${mi("u")}${mo(",")}${mi("v")}</mrow></munder>${at("x", "2i+u,2j+v,c")}`;
    case "softmax":
      return html`${at("p", "k")}${mo("=")}<mfrac>${exp(at("z", "k"))}<mrow>${sum("j")}${exp(at("z", "j"))}</mrow></mfrac>`;
    case "softmax_cross_entropy_forward":
      return html`${mi("L")}${mo("=")}${mo("−")}${mi("log")}${at("p", "y")}${mo("=")}${mi("log")}${sum("j")}${exp(at("z", "j"))}${mo("−")}${at("z", "y")}`;
    case "softmax_cross_entropy_backward":
      return html`${grad(at("z", "k"))}${mo("=")}${at("p", "k")}${mo("−")}<msub><mn>1</mn><mrow>${mi("k")}${mo("=")}${mi("y")}</mrow></msub>`;
    case "dense_backward.dx":
      return html`${grad(at("x", "d"))}${mo("=")}${sum("f")}${grad(at("y", "f"))}${mo("·")}${at("w", "d,f")}`;
    case "dense_backward.dw":
      return html`${grad(at("w", "d,f"))}${mo("=")}${at("x", "d")}${mo("·")}${grad(at("y", "f"))}`;
    case "dense_backward.db":
      return html`${grad(at("b", "f"))}${mo("=")}${grad(at("y", "f"))}`;
    case "relu_backward":
      return html`${grad(mi("x"))}${mo("=")}${grad(mi("y"))}${mo("·")}<msub><mn>1</mn><mrow>${mi("y")}${mo(">")}${mn(0)}</mrow></msub>`;
    case "max_pool2d_backward":
      return html`${grad(at("x", "a"))}${mo("=")}${sum("i,j")}${grad(at("y", "i,j"))}${mo("·")}<msub><mn>1</mn><mrow>${mi("a")}${mo("=")}<mi>argmax</mi></mrow></msub>`;
    case "conv2d_backward.dx":
      return html`${grad(at("x", "a,b,c"))}${mo("=")}${sum("u,v,f")}${grad(at("y", "a−u,b−v,f"))}${mo("·")}${at("w", "u,v,c,f")}`;
    case "conv2d_backward.dw":
      return html`${grad(at("w", "u,v,c,f"))}${mo("=")}${sum("i,j")}${at("x", `${s}i+u,${s}j+v,c`)}${mo("·")}${grad(at("y", "i,j,f"))}`;
    case "conv2d_backward.db":
      return html`${grad(at("b", "f"))}${mo("=")}${sum("i,j")}${grad(at("y", "i,j,f"))}`;
    default:
      return null;
  }
}

/** The same with this number's own numbers: the largest terms, in full where there are few. @param {Answer} trace */
function numbers(trace) {
  const { arrays, facts } = trace;
  const result = html`${mo("=")}<mn class="result">${short(facts.by_hand)}</mn>`;
  if (facts.rule === "sum") {
    const products = productsOf(trace);
    const order = Array.from(products.keys()).sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, SHOWN);
    const alone = !facts.right?.name;
    const terms = order.map((i, n) => html`${n > 0 ? mo("+") : null}${mn(short(arrays.left[i]))}${alone ? null : html`${mo("·")}${mn(short(arrays.right[i]))}`}`);
    return html`${facts.constant ? html`${mn(short(facts.constant))}${mo("+")}` : null}${terms}${products.length > SHOWN ? html`${mo("+")}<mtext>${t("more_terms", { count: (products.length - SHOWN).toLocaleString("en") })}</mtext>` : null}${result}`;
  }
  if (facts.rule === "max") {
    const inside = Array.from(arrays.left).filter((_, i) => arrays.left_places[i] >= 0);
    return html`${mi("max")}${mo("(")}${inside.map((x, i) => html`${i ? mo(",") : null}${mn(short(x))}`)}${mo(")")}${result}`;
  }
  if (facts.rule === "relu") return html`${mi("max")}${mo("(")}${mn(short(arrays.left[0]))}${mo(",")}${mn(0)}${mo(")")}${result}`;
  if (facts.rule === "gate") return html`${mn(short(arrays.left[0]))}${mo("·")}${mn(facts.facts.open ? 1 : 0)}${result}`;
  if (facts.rule === "winners")
    return html`${Array.from(arrays.left, (g, i) => html`${i ? mo("+") : null}${mn(short(g))}${mo("·")}${mn(facts.facts.wins[i] ? 1 : 0)}`)}${result}`;
  if (facts.rule === "residual")
    return html`${mn(short(arrays.left[facts.facts.index]))}${mo("−")}${mn(facts.facts.index === facts.facts.label ? 1 : 0)}${result}`;
  const most = Math.max(...arrays.left);
  const total = Array.from(arrays.left).reduce((a, z) => a + Math.exp(z - most), 0);
  if (facts.rule === "softmax") return html`<mfrac>${exp(mn(short(arrays.left[facts.facts.index] - most)))}${mn(short(total))}</mfrac>${result}`;
  return html`${mi("log")}${mo("\u2061")}${mn(long(total))}${mo("−")}${mn(short(arrays.left[facts.facts.label] - most))}${result}`;
}

/** What the letters stand for here: (i, j, f) = (9, 11, 7). @param {import("./api.js").Selection} number @param {string} code */
function bindings(number, code) {
  const index = indices(number.place, shapeOf(number.name)).join(", ");
  /** @type {Record<string, string>} */
  const names = {
    conv2d_forward: "i, j, f", dense_forward: "f", max_pool2d_forward: "i, j, c", softmax: "k", softmax_cross_entropy_backward: "k",
    "dense_backward.dx": shapeOf(number.name).length === 3 ? "" : "d", "dense_backward.dw": "d, f", "dense_backward.db": "f",
    "conv2d_backward.dx": "a, b, c", "conv2d_backward.dw": "u, v, c, f", "conv2d_backward.db": "f",
  };
  return names[code] ? `${names[code].includes(",") ? `(${names[code]})` : names[code]} = ${index.includes(",") ? `(${index})` : index}` : "";
}

/** @param {{trace: Answer, number: import("./api.js").Selection}} props */
export function Formula({ trace, number }) {
  const code = number.what === "lead" ? "lead" : trace.facts.code;
  const where = bindings(number, code);
  const padded = code.startsWith("conv2d") && !code.endsWith(".db");
  return html`<div class="formula">
    <h3>${t("formula")}</h3>
    <div class="wide-math" tabindex="0" role="group" aria-label=${t("formula")}><math display="block"><mrow>${letters(code, stageOf(number.name)?.stride ?? 1)}</mrow></math></div>
    <p class="help">${where}${where && padded ? "; " : ""}${padded ? t("formula_padding") : ""}</p>
    <div class="wide-math" tabindex="0" role="group" aria-label=${t("formula_numbers")}><math display="block" class="with-numbers"><mrow>${numbers(trace)}</mrow></math></div>
  </div>`;
}
