// The terms of a number: products as grids, tiles, bars or a map, or what a pool, ReLU, softmax or the loss does.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { colourOf, limitOf } from "./colours.js";
import { html } from "./html.js";
import { contextOf, Map2D, pixelsOf, useDrawing, useWidth } from "./maps.js";
import { compact, long, nameOf, short } from "./numbers.js";
import { open } from "./state.js";
import { t } from "./text.js";
import { dark } from "./theme.js";

/** @typedef {import("./api.js").Answer} Answer */
/** @typedef {import("./api.js").Selection} Selection */

const MOST = 10; // terms that are written out

/** @type {WeakMap<Answer, Float64Array>} */
const multiplied = new WeakMap();

/** The products of a trace, exact in float64. @param {Answer} trace */
export function productsOf(trace) {
  const known = multiplied.get(trace);
  if (known) return known;
  const { arrays, facts } = trace;
  const right = facts.right ? arrays.right : null;
  const products = Float64Array.from(arrays.left, (left, i) => left * (right ? right[i] : 1));
  multiplied.set(trace, products);
  return products;
}

/** Where a factor leads, or null. @param {Answer} trace @param {"left" | "right"} side @param {number} i @returns {Selection | null} */
export function linkOf({ arrays, facts }, side, i) {
  const factor = facts[side];
  const place = arrays[`${side}_places`]?.[i] ?? -1;
  return factor && factor.name && place >= 0 ? { what: factor.what, name: factor.name, place } : null;
}

/** The number that contributes most, one layer further, or null where the way ends. @param {Answer} trace @returns {Selection | null} */
export function largestOf(trace) {
  const { arrays, facts } = trace;
  if (facts.rule === "residual") return null; // here the gradient begins
  if (facts.rule === "softmax") return linkOf(trace, "left", facts.facts.index);
  if (facts.rule === "loss") return linkOf(trace, "left", facts.facts.label);
  if (facts.rule === "max") return linkOf(trace, "left", facts.facts.winner);
  if (facts.rule === "gate" && !facts.facts.open) return null;
  if (facts.rule === "winners") {
    const winner = facts.facts.wins.indexOf(true);
    return winner < 0 ? null : linkOf(trace, "left", winner);
  }
  const products = facts.rule === "sum" ? productsOf(trace) : Float64Array.from(arrays.left);
  let best = -1;
  products.forEach((product, i) => {
    if (arrays.left_places[i] >= 0 && product !== 0 && (best < 0 || Math.abs(product) > Math.abs(products[best]))) best = i;
  });
  if (best < 0) return null;
  const onward = facts.left.what === "value" && facts.right?.what === "gradient" ? "right" : "left";
  return linkOf(trace, onward, best);
}

/** @param {{trace: Answer}} props */
export function Terms({ trace }) {
  const { rule } = trace.facts;
  if (rule === "sum") return html`<${Sum} trace=${trace} />`;
  if (rule === "max") return html`<${Pool} trace=${trace} />`;
  if (rule === "winners") return html`<${PoolBack} trace=${trace} />`;
  if (rule === "softmax" || rule === "loss") return html`<${Softmax} trace=${trace} />`;
  if (rule === "residual") return html`<${Residual} trace=${trace} />`;
  return html`<${Gate} trace=${trace} />`;
}

/** A number that leads on, or plain text where it does not. @param {{to: Selection | null, value: number, class?: string, write?: (x: number) => string}} props */
function Link({ to, value, class: name = "", write = short }) {
  if (!to) return html`<span class=${name}>${write(value)}</span>`;
  return html`<button class=${`link ${name}`} aria-label=${`${nameOf(to)}: ${short(value)}`} onClick=${() => open(to, true)}>${write(value)}</button>`;
}

// --- sums of products ------------------------------------------------------------------------------

/** @param {{trace: Answer}} props */
function Sum({ trace }) {
  const { facts, shapes } = trace;
  const [groups, rows, columns] = shapes.left;
  const products = productsOf(trace);
  const size = rows * columns;
  const sums = Array.from({ length: groups }, (_, g) => products.subarray(g * size, (g + 1) * size).reduce((a, b) => a + b, 0));
  const order = sums.map((_, g) => g).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const [chosen, choose] = useState(-1);
  useEffect(() => choose(-1), [facts.left.name, shapes.left.join()]);
  const group = chosen >= 0 && chosen < groups ? chosen : order[0];
  return html`<div class="terms" data-terms=${products.length}>
    <h3>${t("terms_title", { count: products.length.toLocaleString("en"), left: nameLeft(trace), right: nameRight(trace) })}</h3>
    ${groups > 1 && html`<${Tiles} ...${{ trace, products, sums, order, group, choose, rows, columns }} />`}
    ${rows === 1
      ? columns > MOST && html`<${Bars} products=${products} />`
      : rows * columns <= 49
        ? html`<${Grid} ...${{ trace, products, group, groups, rows, columns }} />`
        : html`<${Field} ...${{ trace, products, rows, columns }} />`}
    <${Top} trace=${trace} products=${products} grid=${groups === 1 && rows > 1 && size <= 25} />
  </div>`;
}

/** @param {Answer} trace */
const nameLeft = ({ facts }) => (facts.left.what === "gradient" ? `∂L/∂${facts.left.name}` : facts.left.name);
/** @param {Answer} trace */
const nameRight = ({ facts }) => facts.right?.what === "difference" ? t("weight_difference") : (!facts.right?.name ? "1" : facts.right.what === "gradient" ? `∂L/∂${facts.right.name}` : facts.right.name);

/** What each map adds: a button for each, the largest first. One canvas over them has all their pictures. @param {any} props */
function Tiles({ products, sums, order, group, choose, rows, columns }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const width = useWidth(list);
  const limit = limitOf(products);
  useDrawing(() => {
    if (!width || !list.current || !canvas.current) return;
    const context = contextOf(canvas.current, width, list.current.offsetHeight);
    const source = pixelsOf("tiles", columns, rows * order.length, products, limit, false, (i) => i);
    list.current.querySelectorAll("button").forEach((button, n) => {
      const place = /** @type {HTMLElement} */ (button.firstElementChild);
      const [x, y] = [button.offsetLeft + button.clientLeft + place.offsetLeft, button.offsetTop + button.clientTop + place.offsetTop];
      context.drawImage(source, 0, order[n] * rows, columns, rows, x, y, place.offsetWidth, place.offsetHeight);
    });
  }, [products, width, rows, columns]);
  return html`<div class="tiles-wrap">
    <ul class="tiles" ref=${list} aria-label=${t("tiles_label")}>
      ${order.map((/** @type {number} */ g) => html`<li>
        <button class="tile" aria-pressed=${g === group} onClick=${() => choose(g)} data-tile=${g} data-sum=${sums[g]}>
          <span class="tile-place" style=${{ height: `${(35 * rows) / columns}px` }}></span>
          <span>${g}<span class="visually-hidden">${t("tile_label")}</span></span><b>${short(sums[g])}</b>
        </button>
      </li>`)}
    </ul>
    <canvas ref=${canvas} aria-hidden="true"></canvas>
  </div>`;
}

/** A window written out: each cell with its two factors and their product. @param {any} props */
function Grid({ trace, products, group, groups, rows, columns }) {
  const size = rows * columns;
  const start = group * size;
  const limit = limitOf(products);
  const wide = columns > 5;
  return html`<div class="grid-wrap">
    ${groups > 1 && html`<h4>${t("grid_title", { map: group })}</h4>`}
    <table class=${`grid ${wide ? "wide" : ""}`}>
      <tbody>
        ${Array.from({ length: rows }, (_, u) => html`<tr key=${u}>
          ${Array.from({ length: columns }, (_, v) => {
            const i = start + u * columns + v;
            const to = linkOf(trace, "left", i);
            const weight = linkOf(trace, "right", i);
            return html`<td key=${v} class=${to ? "" : "outside"} style=${{ "--cell": colourOf(products[i], limit) }}>
              ${wide
                ? html`<${Link} to=${to} value=${products[i]} class="product" write=${compact} />`
                : to
                  ? html`<${Link} to=${to} value=${trace.arrays.left[i]} write=${compact} />
                      <span class="times">× <${Link} to=${weight} value=${trace.arrays.right[i]} write=${compact} /></span>
                      <b class="product" data-product=${products[i]}>${compact(products[i])}</b>`
                  : html`<span class="times">${t("padding")}</span><b class="product" data-product="0">0</b>`}
            </td>`;
          })}
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** All products, from the largest to the smallest. @param {{products: Float64Array}} props */
function Bars({ products }) {
  const wrap = useRef(/** @type {HTMLElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const width = useWidth(wrap);
  const limit = limitOf(products);
  dark.value; // other colours: paint again
  useLayoutEffect(() => {
    if (!width || !canvas.current) return;
    const context = contextOf(canvas.current, width, 90);
    const sorted = Float64Array.from(products).sort().reverse();
    const style = getComputedStyle(canvas.current);
    sorted.forEach((product, i) => {
      const x = (i * width) / sorted.length;
      context.fillStyle = style.getPropertyValue(product < 0 ? "--negative" : "--positive");
      context.fillRect(x, 45, Math.max(width / sorted.length, 0.5), (-44 * product) / limit);
    });
    context.fillStyle = style.getPropertyValue("--line-strong");
    context.fillRect(0, 45, width, 1);
  });
  const positive = products.filter((product) => product > 0).length;
  const negative = products.filter((product) => product < 0).length;
  const facts = { positive, negative, zero: products.length - positive - negative, limit: short(limit) };
  return html`<div class="sorted" ref=${wrap}>
    <canvas ref=${canvas} role="img" aria-label=${t("sorted_label", facts)}></canvas>
    <p class="help">${t("sorted_label", facts)}</p>
  </div>`;
}

/** Products over the positions of a map. @param {any} props */
function Field({ trace, products, rows, columns }) {
  const [at, setAt] = useState(-1);
  useEffect(() => setAt(-1), [trace]);
  const limit = limitOf(products);
  return html`<div class="zoom">
    <${Map2D} values=${products} rows=${rows} columns=${columns} size=${196} limit=${limit} cursor=${at} label=${t("field_label", { rows, columns })} pick=${setAt} />
    <p class="help">
      ${at < 0 ? t("field_hint") : html`[${Math.floor(at / columns)}, ${at % columns}]<br />
        <${Link} to=${linkOf(trace, "left", at)} value=${trace.arrays.left[at]} /> × <${Link} to=${linkOf(trace, "right", at)} value=${trace.arrays.right[at]} /> = <b>${short(products[at])}</b>`}
    </p>
  </div>`;
}

/** The largest terms, the rest, the bias, and their sum. @param {{trace: Answer, products: Float64Array, grid: boolean}} props */
function Top({ trace, products, grid }) {
  const { facts } = trace;
  const order = Array.from(products.keys()).sort((a, b) => Math.abs(products[b]) - Math.abs(products[a]));
  const shown = grid ? [] : order.slice(0, products.length <= MOST + 1 ? products.length : MOST);
  const hidden = new Set(shown);
  let rest = 0;
  products.forEach((product, i) => (rest += hidden.has(i) ? 0 : product));
  const left = products.length - shown.length;
  const bias = facts.facts.bias ? /** @type {Selection} */ ({ what: "parameter", name: facts.facts.bias, place: facts.facts.bias_place }) : null;
  return html`<table class="top">
    ${shown.length > 0 && html`<thead><tr>
      <th scope="col">${t("term_where")}</th><th scope="col">${nameLeft(trace)}</th><th scope="col">× ${nameRight(trace)}</th><th scope="col">${t("product")}</th>
    </tr></thead>`}
    <tbody>
      ${shown.map((i) => {
        const [from, weight] = [linkOf(trace, "left", i), linkOf(trace, "right", i)];
        return html`<tr key=${i}>
          <th scope="row">${from ? nameOf(from) : t("padding")}</th>
          <td><${Link} to=${from} value=${trace.arrays.left[i]} /></td>
          <td>× <${Link} to=${weight} value=${trace.arrays.right[i]} /></td>
          <td class="product" data-term=${products[i]}>${short(products[i])}</td>
        </tr>`;
      })}
      ${left > 0 && html`<tr class="rest"><th scope="row" colspan="3">${t(grid ? "sum_of" : "the_rest", { count: left.toLocaleString("en") })}</th><td data-term=${rest}>${short(rest)}</td></tr>`}
      ${!bias && facts.constant !== 0 && html`<tr><th scope="row" colspan="3">+ ${t("bias_difference")}</th><td data-term=${facts.constant}>${short(facts.constant)}</td></tr>`}
      ${bias && html`<tr><th scope="row" colspan="3">+ ${t("bias")} <${Link} to=${bias} value=${facts.constant} /></th><td data-term=${facts.constant}>${short(facts.constant)}</td></tr>`}
      <tr class="total"><th scope="row" colspan="3">=</th><td>${short(facts.by_hand)}</td></tr>
    </tbody>
  </table>`;
}

// --- the other rules -------------------------------------------------------------------------------

/** @param {{trace: Answer}} props */
function Pool({ trace }) {
  const { arrays, shapes, facts } = trace;
  const [, rows, columns] = shapes.left;
  const { winner, ties } = facts.facts;
  return html`<div class="terms" data-terms=${arrays.left.length}>
    <h3>${t("pool_title", { count: arrays.left.length })}</h3>
    <table class="grid pool">
      <tbody>
        ${Array.from({ length: rows }, (_, u) => html`<tr key=${u}>
          ${Array.from({ length: columns }, (_, v) => {
            const i = u * columns + v;
            return html`<td key=${v} class=${i === winner ? "winner" : ""}>
              <${Link} to=${linkOf(trace, "left", i)} value=${arrays.left[i]} />
              ${i === winner && html`<b>${t("winner")}</b>`}
            </td>`;
          })}
        </tr>`)}
      </tbody>
    </table>
    <p class="help">${ties > 1 ? t("ties", { count: ties }) : t("no_ties")}</p>
  </div>`;
}

/** @param {{trace: Answer}} props */
function PoolBack({ trace }) {
  const { arrays, facts } = trace;
  const { wins } = facts.facts;
  return html`<div class="terms" data-terms=${arrays.left.length}>
    <h3>${t("pool_back_title")}</h3>
    <ul>
      ${wins.map((/** @type {boolean} */ won, /** @type {number} */ i) => {
        const to = linkOf(trace, "left", i);
        return html`<li key=${i}>
          ${t(won ? "pool_back_won" : "pool_back_lost", { pool: to ? nameOf(to) : "" })}${" "}
          <${Link} to=${to} value=${arrays.left[i]} />${won ? "" : html` × 0`}
        </li>`;
      })}
    </ul>
  </div>`;
}

/** @param {{trace: Answer}} props */
function Gate({ trace }) {
  const { arrays, facts } = trace;
  const to = linkOf(trace, "left", 0);
  const value = arrays.left[0];
  const forward = facts.rule === "relu";
  const isOpen = forward ? value > 0 : facts.facts.open;
  return html`<div class="terms" data-terms="1">
    <h3>${t(forward ? "relu_title" : "gate_title")}</h3>
    <p class="gate">
      <span>${to && nameOf(to)}</span> <${Link} to=${to} value=${value} />
      <span aria-hidden="true">→</span>
      <span class=${`valve ${isOpen ? "open" : "shut"}`}>${t(isOpen ? "gate_open" : "gate_shut")}</span>
      <span aria-hidden="true">→</span> <b>${short(facts.value)}</b>
    </p>
    <p class="help">${t(forward ? "relu_help" : "gate_help", { output: short(facts.facts.output ?? 0) })}</p>
  </div>`;
}

/** Ten scores on their way through exp; for the loss, the logarithm of their sum. @param {{trace: Answer}} props */
function Softmax({ trace }) {
  const { arrays, facts } = trace;
  const scores = arrays.left;
  const most = Math.max(...scores);
  const powers = Array.from(scores, (z) => Math.exp(z - most));
  const total = powers.reduce((a, b) => a + b, 0);
  const k = facts.rule === "softmax" ? facts.facts.index : facts.facts.label;
  return html`<div class="terms" data-terms="10">
    <h3>${t(facts.rule === "softmax" ? "softmax_title" : "loss_title", { max: short(most) })}</h3>
    <table class="top softmax">
      <thead><tr>
        <th scope="col">k</th><th scope="col">z</th><th scope="col">z − ${short(most)}</th><th scope="col">exp</th><th scope="col">p</th>
      </tr></thead>
      <tbody>
        ${powers.map((power, i) => html`<tr key=${i} class=${i === k ? "marked" : ""}>
          <th scope="row">${i}${i === k ? " ◀" : ""}</th>
          <td><${Link} to=${linkOf(trace, "left", i)} value=${scores[i]} /></td>
          <td>${short(scores[i] - most)}</td>
          <td data-term=${power}>${short(power)}</td>
          <td><${Link} to=${{ what: "value", name: "softmax", place: i }} value=${power / total} /></td>
        </tr>`)}
        <tr class="rest"><th scope="row" colspan="3">${t("sum")}</th><td>${short(total)}</td><td>${short(1)}</td></tr>
        <tr class="total">${facts.rule === "softmax"
          ? html`<th scope="row" colspan="3">${short(powers[k])} / ${short(total)} =</th><td colspan="2">${short(facts.by_hand)}</td>`
          : html`<th scope="row" colspan="3">log ${long(total)} − (${short(scores[k] - most)}) =</th><td colspan="2">${short(facts.by_hand)}</td>`}
        </tr>
      </tbody>
    </table>
  </div>`;
}

/** Where every gradient begins: p - y. @param {{trace: Answer}} props */
function Residual({ trace }) {
  const { arrays, facts } = trace;
  const { index, label } = facts.facts;
  return html`<div class="terms" data-terms="2">
    <h3>${t("residual_title")}</h3>
    <p class="gate">
      p[${index}] <${Link} to=${linkOf(trace, "left", index)} value=${arrays.left[index]} /> − <span>${index === label ? 1 : 0}</span> = <b>${short(facts.value)}</b>
    </p>
    <p class="help">${t(index === label ? "residual_label" : "residual_other", { index, label })}</p>
  </div>`;
}
