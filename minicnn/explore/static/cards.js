// Question cards: a question, one thing to do, and the answer, true for the network and the image that are shown.
import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { CARDS, defaults } from "./address.js";
import { findCard, netOf, notebookOf } from "./questions.js";
import { hidden } from "./hide.js";
import { html } from "./html.js";
import { apply } from "./share.js";
import { about, answer, card, chosenLabel, mode, open, selected, spoken, subject, tested } from "./state.js";
import { expanded } from "./digits.js";
import { language, t } from "./text.js";
import { theme } from "./theme.js";

const told = signal(false);
/** What was selected when the card was opened, to see that something has been done. */
const began = signal(/** @type {unknown[]} */ ([]));
const now = () => [selected.value?.name, selected.value?.place, mode.value, chosenLabel.value, subject.value, expanded.value];

/** Once there is the answer to the test image that is shown, with what a card looks at. @param {"forward" | "backward"} way */
const answered = (way) =>
  new Promise((goOn) => {
    const stop = answer.subscribe((found) => {
      const shown = subject.value;
      if (!found || shown.kind !== "digit" || (way === "backward" && !("d/image" in found.arrays))) return;
      if (shown.image.every((pixel, i) => pixel === found.arrays.image8[i])) setTimeout(() => (stop(), goOn(null)));
    });
  });

/** Show the page in the state that answers a question. @param {number} number */
export async function openCard(number) {
  const found = findCard(number);
  told.value = false;
  if (!found) {
    card.value = String(number);
    return;
  }
  const looks = { lang: language.value, theme: theme.value, hide: hidden.value };
  const missing = await apply({ ...defaults(), ...looks, card: String(number), image: 0, way: found.way ?? "forward" });
  if (missing.length === 0) await answered(found.way ?? "forward");
  const net = netOf(about.value, answer.value, tested.value);
  if (card.value !== String(number) || !net || !found.needs(net)) return;
  const loss = found.loss?.(net);
  if (loss !== undefined) await apply({ ...defaults(), ...looks, card: String(number), image: 0, loss });
  const at = found.at?.(net);
  if (at) open(at);
  if (found.gallery) expanded.value = true;
  began.value = now();
}

export const QuestionsButton = () =>
  html`<button class="questions" aria-pressed=${card.value !== ""} onClick=${() => (card.value = card.value === "" ? "list" : "")}>${t("questions")}</button>`;

export function Card() {
  const facts = useRef(/** @type {Record<string, Record<string, string | number>>} */ ({}));
  if (card.value === "") return null;
  if (card.value === "list") return html`<${List} />`;
  const number = Number(card.value);
  const found = findCard(number);
  const net = netOf(about.value, answer.value, tested.value);
  const here = found && net && found.needs(net);
  const known = here ? found.facts(net) : null;
  if (known) facts.current = { [card.value]: known };
  const filled = facts.current[card.value];
  const done = began.value.length > 0 && now().some((one, i) => one !== began.value[i]);
  const tell = () => {
    told.value = true;
    spoken.value = filled ? t(`card_tell_${number}`, filled) : "";
  };
  return html`<section class="card" aria-label=${t("card_label")} data-card=${number}>
    <div class="card-head">
      <h2>${number}. ${t(`card_ask_${number}`)}</h2>
      <span class="card-buttons">
        <button aria-label=${t("card_previous")} disabled=${number === 1} onClick=${() => openCard(number - 1)}>‹</button>
        <button onClick=${() => (card.value = "list")}>${t("card_all")}</button>
        <button aria-label=${t("card_next")} disabled=${number === CARDS} onClick=${() => openCard(number + 1)}>›</button>
        <button aria-label=${t("close")} onClick=${() => (card.value = "")}>✕</button>
      </span>
    </div>
    ${!found ? html`<p>${t("card_only_notebook")}</p>` : net && !here ? html`<p>${t("card_not_here")}</p>` : html`<p class="card-do">${t(`card_do_${number}`, filled ?? {})}</p>`}
    ${here && (told.value && filled
      ? html`<p class="card-tell">${t(`card_tell_${number}`, filled)}</p>`
      : html`<p><button class=${done ? "primary" : ""} disabled=${!filled} onClick=${tell}>${t("card_tell")}</button></p>`)}
    <p class="help"><${Notebook} number=${number} /></p>
  </section>`;
}

/** All 32, those that the page answers first to be seen. */
function List() {
  return html`<section class="card" aria-label=${t("questions")}>
    <div class="card-head">
      <h2>${t("cards_title")}</h2>
      <span class="card-buttons"><button aria-label=${t("close")} onClick=${() => (card.value = "")}>✕</button></span>
    </div>
    <ol class="card-list">
      ${Array.from({ length: CARDS }, (_, i) => i + 1).map((number) => html`<li key=${number} class=${findCard(number) ? "" : "elsewhere"}>
        <button class="link" onClick=${() => openCard(number)}>${number}. ${t(`card_ask_${number}`)}</button>
        ${!findCard(number) && html` <span class="help">${t("card_in_notebook", { notebook: notebookOf(number).slice(0, 2) })}</span>`}
      </li>`)}
    </ol>
  </section>`;
}

/** Where the course is on a site, a link to the notebook in the page's language; else its name. @param {{number: number}} props */
function Notebook({ number }) {
  const name = `${language.value === "zh" ? "zh_" : ""}${notebookOf(number)}`;
  const course = document.querySelector("meta[name=course]")?.getAttribute("content");
  const text = t("card_notebook", { number, notebook: `${name}.ipynb` });
  return course ? html`<a href=${`${course}${name}.html`}>${text}</a>` : text;
}
