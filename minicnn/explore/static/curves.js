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
      y: { range: logarithmic ? exponents : [0, 1] },
    },
    axes: [
      { ...axis, size: 26 },
      {
        ...axis,
        size: 54,
        values: (_, splits) => splits.map(logarithmic ? power : (split) => `${Math.round(100 * split)} %`),
        ...(logarithmic ? { splits: ticks } : {}),
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

/** Whole exponents around what is shown. @param {uPlot} _ @param {number | null} least @param {number | null} most @returns {uPlot.Range.MinMax} */
const exponents = (_, least, most) => [Math.floor(Math.min(least ?? 0, -1)), Math.ceil(Math.max(most ?? 0, 1))];

/** Up to seven whole exponents. @param {uPlot} _ @param {number} axis @param {number} least @param {number} most */
function ticks(_, axis, least, most) {
  const step = Math.ceil((most - least) / 6);
  return Array.from({ length: Math.floor((most - least) / step) + 1 }, (_, i) => least + i * step);
}

/** A power of ten. @param {number} exponent */
const power = (exponent) =>
  Math.abs(exponent) <= 3
    ? String(Number((10 ** exponent).toPrecision(1)))
    : `10${[...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)])).join("")}`;

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
    // uPlot's own logarithmic axis ends at 10¹⁷, and losses on their way to NaN do not: exponents are drawn.
    const drawn = (/** @type {number} */ value) => (logarithmic ? Math.log10(value) : value);
    const finite = (/** @type {number[]} */ values) => values.map((value) => (Number.isFinite(drawn(value)) ? drawn(value) : null));
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
