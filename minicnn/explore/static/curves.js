// Two curves over the steps, drawn by uPlot: A solid, B dashed.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { html } from "./html.js";
import { useWidth } from "./maps.js";

const HEIGHT = 190;

/** A colour of the page, as it is now. @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {number} width @param {number} stop @param {boolean} logarithmic @param {() => number} here @returns {uPlot.Options} */
function options(width, stop, logarithmic, here) {
  const axis = { stroke: () => colour("--text"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 18, 0, 0],
    scales: {
      x: { time: false, range: [0, stop] },
      y: logarithmic ? { distr: 3, range: powers } : { range: [0, 1] },
    },
    axes: [
      { ...axis, size: 26 },
      {
        ...axis,
        size: 54,
        values: (_, splits) => splits.map(logarithmic ? power : (split) => `${Math.round(100 * split)} %`),
        ...(logarithmic ? { splits: ticks, filter: (/** @type {uPlot} */ _, /** @type {number[]} */ splits) => splits } : {}),
      },
    ],
    series: [
      {},
      { stroke: () => colour("--negative"), width: 2, points: { show: false } },
      { stroke: () => colour("--positive"), width: 2, dash: [6, 4], points: { show: false } },
    ],
    hooks: {
      draw: [
        (plot) => {
          const x = Math.round(plot.valToPos(here(), "x", true));
          plot.ctx.fillStyle = colour("--focus");
          plot.ctx.fillRect(x - 1, plot.bbox.top, 2, plot.bbox.height);
        },
      ],
    },
  };
}

/** The whole powers of ten around what is shown. @param {uPlot} _ @param {number | null} least @param {number | null} most @returns {uPlot.Range.MinMax} */
function powers(_, least, most) {
  return [10 ** Math.floor(Math.log10(Math.min(least || 1, 0.1))), 10 ** Math.ceil(Math.log10(Math.max(most || 1, 10)))];
}

/** Powers of ten, up to six of them. @param {uPlot} _ @param {number} axis @param {number} least @param {number} most */
function ticks(_, axis, least, most) {
  const [first, last] = [Math.round(Math.log10(least)), Math.round(Math.log10(most))];
  const step = Math.ceil((last - first) / 6);
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => 10 ** (first + i * step));
}

/** @param {number} x a power of ten */
function power(x) {
  const exponent = Math.round(Math.log10(x));
  return Math.abs(exponent) <= 3 ? String(Number(x.toPrecision(1))) : `10${[...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)])).join("")}`;
}

/**
 * @param {{label: string, steps: number[], a: number[], b: number[], here: number, stop: number, logarithmic?: boolean}} props
 * NaN and infinity are gaps.
 */
export function Curves({ label, steps, a, b, here, stop, logarithmic = false }) {
  const wrap = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | null} */ (null));
  const now = useRef(here);
  const width = useWidth(wrap);
  now.current = here;
  useLayoutEffect(() => {
    if (!width || !wrap.current) return;
    plot.current = new uPlot(options(width, stop, logarithmic, () => now.current), [[0], [null], [null]], wrap.current);
    return () => plot.current?.destroy();
  }, [width, stop]);
  useLayoutEffect(() => {
    const finite = (/** @type {number[]} */ values) => values.map((value) => (Number.isFinite(value) ? value : null));
    plot.current?.setData([steps, finite(a), finite(b)]);
  });
  useEffect(() => {
    const redraw = () => plot.current?.redraw(false, true);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const observer = new MutationObserver(redraw); // a colour scheme may be chosen there
    observer.observe(document.documentElement, { attributes: true });
    scheme.addEventListener("change", redraw);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", redraw);
    };
  }, []);
  return html`<div class="curves" ref=${wrap} role="img" aria-label=${label}></div>`;
}
