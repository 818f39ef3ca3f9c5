// The state of the page as the part of its address behind "?", and back: everything in it is checked.
//
//   lang=zh  theme=dark  hide=pad,why        how the page looks
//   card=12                                  a question card, or card=list
//   image=5, train=5, or draw=STROKES        a test image, one of training, or a drawing; centre=0
//   ground=5, trainground=5                  the image under a drawing
//   twins=1                                  "Break it" is open
//   way=back  loss=3  off=conv1.3,fc1.20     direction, label of the loss, what is switched off
//   at=softmax:7,fc2:7,d:fc1:20,why:7.1      the trail of numbers: name and indices, "d:" for a gradient
import { PARTS } from "./hide.js";
import { indicesIn, placeOf } from "./places.js";

/** @typedef {import("./answers.js").About} About */
/** @typedef {import("./answers.js").Selection} Selection */
/** @typedef {{points: number[][], rubs: boolean}} Stroke points are integers */
/**
 * @typedef {{lang: string, theme: string, hide: string[], card: string, image: number | null, train: number | null, strokes: Stroke[], ground: number | null, trainground: number | null, twins: boolean,
 *   centre: boolean, way: "forward" | "backward", loss: number | null, off: string[], at: Selection[]}} State
 */

export const [LANGUAGES, THEMES, CARDS] = [["en", "zh"], ["system", "light", "dark"], 32];
export const [MOST_POINTS, MOST_NUMBERS, MOST_OFF, MOST_LETTERS] = [3000, 500, 500, 60_000];

/** @returns {State} */
export const defaults = () => ({
  lang: "en", theme: "system", hide: [], card: "", image: null, train: null, strokes: [], ground: null, trainground: null, twins: false, centre: true, way: "forward", loss: null, off: [], at: [],
});

// --- out -------------------------------------------------------------------------------------------

/** The query of an address, without "?". @param {State} state @param {About} about */
export function write(state, about) {
  /** @type {[string, string][]} */
  const parts = [["lang", state.lang]];
  /** @param {string} name @param {string | number | null | false} value */
  const put = (name, value) => value !== "" && value !== null && value !== false && parts.push([name, String(value)]);
  put("theme", state.theme !== "system" && state.theme);
  put("hide", state.hide.join(","));
  put("card", state.card);
  put("twins", state.twins && 1);
  put("image", state.image);
  put("train", state.train);
  if (state.image === null && state.train === null && pointsOf(state.strokes) <= MOST_POINTS) {
    put("draw", state.strokes.map(inLetters).join("."));
    put("ground", state.strokes.length > 0 && state.ground);
    put("trainground", state.strokes.length > 0 && state.trainground);
  }
  put("centre", !state.centre && 0);
  put("way", state.way === "backward" && state.at.length === 0 && "back");
  put("loss", state.loss);
  put("off", state.off.slice(0, MOST_OFF).join(","));
  put("at", state.at.slice(-MOST_NUMBERS).map((number) => inWords(number, about)).join(","));
  return parts.map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(3A|2C)/g, decodeURIComponent)}`).join("&");
}

/** @param {Stroke[]} strokes */
export const pointsOf = (strokes) => strokes.reduce((sum, stroke) => sum + stroke.points.length, 0);

/** @param {Selection} number @param {About} about */
function inWords({ what, name, place }, about) {
  if (what === "lead") return `why:${Math.floor(place / 10)}.${place % 10}`;
  return [...(what === "gradient" ? ["d"] : []), name, ...(name === "loss" ? [] : [indicesIn(place, shapeIn(about, name) ?? []).join(".")])].join(":");
}

// --- in --------------------------------------------------------------------------------------------

/**
 * The state that an address asks for, and what in it makes no sense: there the default stands.
 * @param {string} search @param {About} about @returns {{state: State, odd: string[]}}
 */
export function read(search, about) {
  const state = defaults();
  /** @type {string[]} */
  const odd = [];
  if (search.length > MOST_LETTERS) return { state, odd: [`${search.slice(0, 40)}…`] };
  const given = new Map(new URLSearchParams(search));
  /** Keep what `understand` makes of a value, unless that is undefined. @param {string} name @param {(value: string) => any} understand */
  const take = (name, understand) => {
    const value = given.get(name);
    given.delete(name);
    if (value === undefined) return;
    const found = understand(value);
    if (found === undefined) odd.push(`${name}=${value.length > 40 ? `${value.slice(0, 40)}…` : value}`);
    else Object.assign(state, found);
  };
  take("lang", (lang) => (LANGUAGES.includes(lang) ? { lang } : undefined));
  take("theme", (theme) => (THEMES.includes(theme) ? { theme } : undefined));
  take("hide", (names) => all(names, (name) => (PARTS.includes(name) ? name : undefined), "hide"));
  take("card", (card) => (card === "list" || (number(card, CARDS) ?? 0) >= 1 ? { card } : undefined));
  take("image", (image) => named("image", number(image, about.test_images - 1)));
  take("train", (train) => named("train", number(train, about.training_images - 1)));
  take("draw", (text) => drawn(text));
  take("ground", (ground) => named("ground", number(ground, about.test_images - 1)));
  take("trainground", (ground) => named("trainground", number(ground, about.training_images - 1)));
  take("twins", (open) => (open === "1" && about.twins ? { twins: true } : open === "0" ? {} : undefined));
  if (state.image !== null) state.train = null;
  if (state.image !== null || state.train !== null) state.strokes = [];
  if (state.strokes.length === 0) state.ground = state.trainground = null;
  if (state.ground !== null) state.trainground = null;
  take("centre", (centre) => (centre === "0" || centre === "1" ? { centre: centre === "1" } : undefined));
  take("way", (way) => (way === "back" ? { way: "backward" } : way === "forward" ? { way } : undefined));
  take("loss", (loss) => named("loss", number(loss, 9)));
  take("off", (names) => (names.split(",").length > MOST_OFF ? undefined : all(names, (name) => (canBeOff(name, about) ? name : undefined), "off")));
  take("at", (numbers) => (numbers.split(",").length > MOST_NUMBERS ? undefined : all(numbers, (text) => selection(text, about), "at")));
  const last = state.at.at(-1);
  if (last) state.way = last.what === "value" || last.what === "lead" ? "forward" : "backward";
  for (const name of given.keys()) odd.push(name.slice(0, 40));
  return { state, odd };
}

/** A list, if every part of it makes sense. @param {string} text @param {(part: string) => any} understand @param {string} name */
function all(text, understand, name) {
  const found = text.split(",").map(understand);
  return found.includes(undefined) ? undefined : { [name]: name === "at" ? found : [...new Set(found)] };
}

/** @param {string} name @param {number | undefined} value */
const named = (name, value) => (value === undefined ? undefined : { [name]: value });

/** @param {string | undefined} text @param {number} most */
const number = (text, most) => (text !== undefined && /^\d{1,7}$/.test(text) && Number(text) <= most ? Number(text) : undefined);

/** @param {About} about @param {string} name @returns {number[] | undefined} */
function shapeIn(about, name) {
  if (name === "softmax") return [10];
  return about.stages.find((stage) => stage.name === name)?.shape ?? (Object.hasOwn(about.parameters, name) ? about.parameters[name] : undefined);
}

/** @param {string} text @param {About} about @returns {Selection | undefined} */
function selection(text, about) {
  const parts = text.split(":");
  if (text === "loss") return { what: "value", name: "loss", place: 0 };
  const gradient = parts[0] === "d" && parts.length === 3;
  const [name, at = ""] = gradient ? parts.slice(1) : parts;
  if (parts.length !== (gradient ? 3 : 2)) return undefined;
  const index = at.split(".").map((one) => number(one, 1e6));
  if (name === "why" && !gradient) {
    const [a, b] = index;
    if (index.length !== 2 || a === undefined || b === undefined || a > 9 || b > 9) return undefined;
    return { what: "lead", name: about.stages[about.stages.length - 1].name, place: 10 * a + b };
  }
  const shape = shapeIn(about, name);
  if (!shape || shape.length !== index.length || index.some((i, axis) => i === undefined || i >= shape[axis])) return undefined;
  const isStage = about.stages.some((stage) => stage.name === name);
  if (gradient && !isStage) return undefined;
  return { what: gradient ? "gradient" : isStage || name === "softmax" ? "value" : "parameter", name, place: placeOf(/** @type {number[]} */ (index), shape) };
}

/** Whether a filter or a unit can be switched off. @param {string} text @param {About} about */
function canBeOff(text, about) {
  const at = text.lastIndexOf(".");
  const stage = about.stages.slice(0, -1).find((one) => one.weight !== undefined && one.name === text.slice(0, at));
  const unit = number(text.slice(at + 1), 1e6);
  return stage !== undefined && unit !== undefined && unit < (stage.shape.at(-1) ?? 0) && text === `${stage.name}.${unit}`;
}

// --- strokes: two letters for each coordinate, "~" before one of the rubber -----------------------------

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BEYOND = 1000; // a pen may leave the pad

/** @param {Stroke} stroke */
const inLetters = ({ points, rubs }) =>
  (rubs ? "~" : "") + points.flat().map((n) => ALPHABET[(n + BEYOND) >> 6] + ALPHABET[(n + BEYOND) & 63]).join("");

/** @param {string} text */
function drawn(text) {
  const strokes = text.split(".").map((part) => {
    const rubs = part.startsWith("~");
    const letters = rubs ? part.slice(1) : part;
    const digits = Array.from(letters, (letter) => ALPHABET.indexOf(letter));
    if (letters.length === 0 || letters.length % 4 || digits.includes(-1)) return undefined;
    const points = Array.from({ length: letters.length / 4 }, (_, i) => [0, 2].map((k) => 64 * digits[4 * i + k] + digits[4 * i + k + 1] - BEYOND));
    return { points, rubs };
  });
  const known = strokes.filter((stroke) => stroke !== undefined);
  return known.length < strokes.length || pointsOf(known) > MOST_POINTS ? undefined : { strokes: known };
}
