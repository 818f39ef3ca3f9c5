// Parts of the page that a teacher hides for a lesson: hide=pad,why in the address. style.css does the hiding.
import { effect, signal } from "@preact/signals";

export const PARTS = [
  "pad", "digits", "bars", "why", "loss", "backward", "layers", "inspector", "formula", "code", "nudge", "off", "nearest", "twins", "cards", "language", "theme", "help",
];

export const hidden = signal(/** @type {string[]} */ ([]));

/** @param {string} part */
export const isHidden = (part) => hidden.value.includes(part);

effect(() => {
  document.documentElement.dataset.hide = hidden.value.join(" ");
});
