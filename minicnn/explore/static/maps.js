// Drawing maps: all maps of a stage side by side, or one of them large.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { paint } from "./colours.js";
import { html } from "./html.js";

/** @typedef {{row: number, column: number, rows: number, columns: number}} Box */

/** The width of an element, followed. @param {import("preact").RefObject<HTMLElement | null>} element */
export function useWidth(element) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const node = element.current;
    if (!node) return;
    const observer = new ResizeObserver(() => setWidth(Math.floor(node.clientWidth)));
    observer.observe(node);
    setWidth(Math.floor(node.clientWidth));
    return () => observer.disconnect();
  }, []);
  return width;
}

/**
 * Draw on a canvas after a render, if something it shows has changed: painting is most of what a click costs.
 * @param {() => void} draw
 * @param {unknown[]} shown arrays of numbers count as the same if they are the same object, all else by what is in it
 */
export function useDrawing(draw, shown) {
  const plain = (/** @type {unknown} */ one) => (ArrayBuffer.isView(one) ? one : JSON.stringify(one instanceof Set ? [...one] : one));
  useLayoutEffect(draw, [window.devicePixelRatio, ...shown.map(plain)]);
}

/** @type {Map<string, {canvas: OffscreenCanvas, context: OffscreenCanvasRenderingContext2D, image: ImageData, values: ArrayLike<number> | null}>} */
const painted = new Map();

/**
 * A canvas in memory with these numbers, a pixel each; painted anew only if they are others than the last time.
 * @param {string} name one of these canvases
 * @param {number} width @param {number} height
 * @param {ArrayLike<number>} values @param {number} limit @param {boolean} asInk
 * @param {(i: number) => number} at where value i goes
 */
export function pixelsOf(name, width, height, values, limit, asInk, at) {
  const key = `${name} ${width} ${height} ${asInk}`;
  let kept = painted.get(key);
  if (!kept) {
    const canvas = new OffscreenCanvas(width, height);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    kept = { canvas, context, image: context.createImageData(width, height), values: null };
    painted.set(key, kept);
  }
  if (kept.values !== values) {
    kept.image.data.fill(0);
    paint(values, limit, asInk, kept.image.data, at);
    kept.context.putImageData(kept.image, 0, 0);
    kept.values = values;
  }
  return kept.canvas;
}

/**
 * A canvas of this size in CSS pixels, sharp on every screen.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height
 */
export function contextOf(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  return context;
}

/** A frame that shows on every colour. @param {CanvasRenderingContext2D} context @param {number[]} rectangle */
export function frame(context, [x, y, width, height], thick = 1.5) {
  context.lineWidth = thick + 2;
  context.strokeStyle = "#ffffff";
  context.strokeRect(x, y, width, height);
  context.lineWidth = thick;
  context.strokeStyle = "#d1006c";
  context.strokeRect(x, y, width, height);
}

/** What is switched off is crossed out. @param {CanvasRenderingContext2D} context @param {number[]} rectangle */
function cross(context, [x, y, width, height]) {
  context.lineWidth = 1.5;
  context.strokeStyle = "#1b2433";
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + width, y + height);
  context.moveTo(x + width, y);
  context.lineTo(x, y + height);
  context.stroke();
}

/**
 * How the maps of [H, W, C] or the numbers of [D] lie in a width.
 * @param {number[]} shape @param {number} width
 */
export function layoutOf(shape, width) {
  if (shape.length === 1) {
    const cell = 5;
    const columns = Math.max(8, Math.min(shape[0], 8 * Math.floor(width / cell / 8)));
    const rows = Math.ceil(shape[0] / columns);
    return { columns, cell, width: columns * cell, height: rows * cell, pitch: cell, tile: cell };
  }
  const [H, , C] = shape;
  const wished = C <= 32 ? 28 : 21; // CSS pixels of a map; rather a little less than a last row with gaps
  const most = Math.max(1, Math.floor((width + 2) / (0.9 * wished + 2)));
  const columns = Math.ceil(C / Math.ceil(C / most));
  const tile = Math.min(wished, Math.floor((width + 2) / columns) - 2);
  const pitch = tile + 2;
  return { columns, cell: tile / H, tile, pitch, width: columns * pitch - 2, height: Math.ceil(C / columns) * pitch - 2 };
}

/**
 * All maps of a stage. `box` is a window drawn into every map or into `maps`, `marks` are places.
 * @param {string} name @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} values @param {number[]} shape
 * @param {number} width @param {number} limit @param {boolean} asInk
 * @param {{box: Box | null, maps: Set<number> | null, marks: number[], off: Set<number>}} over
 */
export function drawStage(name, canvas, values, shape, width, limit, asInk, over) {
  const layout = layoutOf(shape, width);
  const context = contextOf(canvas, layout.width, layout.height);
  if (shape.length === 1) {
    const rows = Math.ceil(shape[0] / layout.columns);
    const source = pixelsOf(name, layout.columns, rows, values, limit, asInk, (i) => i);
    context.drawImage(source, 0, 0, layout.width, layout.height);
  } else {
    const [H, W, C] = shape;
    const to = (/** @type {number} */ i) => ((i % C) * H + Math.floor(i / (W * C))) * W + (Math.floor(i / C) % W);
    const source = pixelsOf(name, W, H * C, values, limit, asInk, to);
    for (let c = 0; c < C; c++) {
      const [x, y] = cornerOf(c, layout);
      context.drawImage(source, 0, c * H, W, H, x, y, layout.tile, layout.tile);
      if (over.off.has(c)) cross(context, [x, y, layout.tile, layout.tile]);
      const { box, maps } = over;
      if (box && (!maps || maps.has(c))) {
        const k = layout.cell;
        context.lineWidth = 1;
        context.strokeStyle = "#d1006c";
        context.strokeRect(x + box.column * k, y + box.row * k, box.columns * k, box.rows * k);
      }
    }
  }
  if (shape.length === 1) for (const unit of over.off) cross(context, cellOf(unit, shape, layout));
  for (const place of over.marks) frame(context, cellOf(place, shape, layout));
}

/** @param {number} c @param {{columns: number, pitch: number}} layout */
const cornerOf = (c, layout) => [(c % layout.columns) * layout.pitch, Math.floor(c / layout.columns) * layout.pitch];

/** The rectangle to mark a number with, large enough to be seen. @param {number} place @param {number[]} shape @param {ReturnType<typeof layoutOf>} layout */
function cellOf(place, shape, layout) {
  let x, y;
  if (shape.length === 1) [x, y] = cornerOf(place, layout);
  else {
    const [, W, C] = shape;
    [x, y] = cornerOf(place % C, layout);
    x += (Math.floor(place / C) % W) * layout.cell;
    y += Math.floor(place / (W * C)) * layout.cell;
  }
  const grow = Math.max(0, (5 - layout.cell) / 2);
  return [x - grow, y - grow, layout.cell + 2 * grow, layout.cell + 2 * grow];
}

/**
 * The number under a point of `drawStage`'s canvas, or -1.
 * @param {number} x @param {number} y @param {number[]} shape @param {number} width
 */
export function placeAt(x, y, shape, width) {
  const layout = layoutOf(shape, width);
  const tile = Math.floor(y / layout.pitch) * layout.columns + Math.floor(x / layout.pitch);
  if (x < 0 || y < 0 || x >= layout.width || y >= layout.height) return -1;
  if (shape.length === 1) return tile < shape[0] ? tile : -1;
  const [H, W, C] = shape;
  const column = Math.min(W - 1, Math.floor((x % layout.pitch) / layout.cell));
  const row = Math.min(H - 1, Math.floor((y % layout.pitch) / layout.cell));
  return tile < C ? (row * W + column) * C + tile : -1;
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** @param {string} key @returns {number[] | undefined} */
export const stepOf = (key) => STEPS[/** @type {keyof typeof STEPS} */ (key)];

/**
 * One map, large: every cell can be picked by mouse, finger or keyboard; negative ones carry a minus.
 * @param {{values: ArrayLike<number>, rows: number, columns: number, size: number, limit: number, ink?: boolean,
 *   cursor?: number, box?: Box | null, label: string, stage?: string, pick: (place: number) => void,
 *   point?: (place: number) => void}} props
 */
export function Map2D({ values, rows, columns, size, limit, ink = false, cursor = -1, box = null, label, stage, pick, point }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [at, setAt] = useState(-1);
  const cell = size / columns;
  const here = at >= 0 ? at : Math.max(cursor, 0);
  useEffect(() => setAt(-1), [cursor]);
  useDrawing(() => {
    const context = contextOf(/** @type {HTMLCanvasElement} */ (canvas.current), size, cell * rows);
    const source = pixelsOf("one map", columns, rows, values, limit, ink, (i) => i);
    context.drawImage(source, 0, 0, size, cell * rows);
    if (cell >= 7 && !ink) {
      context.fillStyle = "#ffffff";
      for (let i = 0; i < values.length; i++)
        if (values[i] < 0) {
          const [x, y] = [(i % columns) * cell, Math.floor(i / columns) * cell];
          context.fillRect(x + cell * 0.28, y + cell / 2 - 0.5, cell * 0.44, 1);
        }
    }
    if (box) frame(context, [box.column * cell, box.row * cell, box.columns * cell, box.rows * cell], 1.5);
    for (const mark of new Set([cursor, at]))
      if (mark >= 0) frame(context, [(mark % columns) * cell, Math.floor(mark / columns) * cell, cell, cell], 2);
  }, [values, rows, columns, size, limit, ink, cursor, at, box]);
  /** @param {MouseEvent} event */
  const under = (event) => {
    const column = Math.floor(event.offsetX / cell);
    const row = Math.floor(event.offsetY / cell);
    return row < 0 || row >= rows || column < 0 || column >= columns ? -1 : row * columns + column;
  };
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    const step = stepOf(event.key);
    if (step) {
      const row = Math.min(rows - 1, Math.max(0, Math.floor(here / columns) + step[0]));
      const column = Math.min(columns - 1, Math.max(0, (here % columns) + step[1]));
      setAt(row * columns + column);
      point?.(row * columns + column);
    } else if (event.key === "Enter" || event.key === " ") pick(here);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<canvas
    ref=${canvas}
    class="map"
    data-stage=${stage}
    role="application"
    tabindex="0"
    aria-label=${label}
    onClick=${(/** @type {MouseEvent} */ event) => under(event) >= 0 && pick(under(event))}
    onPointerMove=${(/** @type {MouseEvent} */ event) => under(event) >= 0 && point?.(under(event))}
    onKeyDown=${key}
  ></canvas>`;
}
