// Light, dark, or as the system has it.
import { effect, signal } from "@preact/signals";
import { THEMES } from "./address.js";
import { html } from "./html.js";
import { t } from "./text.js";

export const theme = signal("system");
const system = matchMedia("(prefers-color-scheme: dark)");
/** What is shown: canvases that take colours from the style sheet read it, and are painted anew. */
export const dark = signal(system.matches);

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  dark.value = theme.value === "system" ? system.matches : theme.value === "dark";
});
system.addEventListener("change", () => (dark.value = theme.peek() === "system" ? system.matches : theme.peek() === "dark"));

export function ThemeButton() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
  const [sign] = { system: "◐", light: "☀", dark: "☾" }[theme.value] ?? "◐";
  return html`<button class="theme" title=${t(`theme_${theme.value}`)} aria-label=${t(`theme_${theme.value}`)} onClick=${() => (theme.value = next)}>${sign}</button>`;
}
