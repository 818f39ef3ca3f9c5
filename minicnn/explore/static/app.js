// The page: what is drawn on the left, all layers in the middle, one number on the right.
import { signal } from "@preact/signals";
import { render } from "preact";
import * as api from "./api.js";
import { Bars } from "./bars.js";
import { Card, openCard, QuestionsButton } from "./cards.js";
import { Digits } from "./digits.js";
import { isHidden } from "./hide.js";
import { html } from "./html.js";
import { follow, Inspector, leave } from "./inspector.js";
import { percent, short } from "./numbers.js";
import { Pad } from "./pad.js";
import {
  about, back, compiling, connected, hear, mode, problem, refresh, selected, spoken, tested, training, turn, waiting,
} from "./state.js";
import { keep, Notice, restore, ShareButton } from "./share.js";
import { Strip } from "./strip.js";
import { switchOf, toggle } from "./switches.js";
import { language, otherLanguage, t } from "./text.js";
import { ThemeButton } from "./theme.js";
import { Twins } from "./twins.js";
import { breaking } from "./twins-state.js";

const helping = signal(false);

function App() {
  if (!about.value) return html`<p class="help">${problem.value || t("loading")}</p>`;
  return html`<a class="skip" href="#strip">${t("skip")}</a>
    <${Header} />
    <${Notice} />
    <${Card} />
    <main class=${breaking.value ? "breaking" : mode.value}>
      <div class="input">
        <${Pad} />
        <${Digits} />
      </div>
      ${breaking.value
        ? html`<div id="strip" tabindex="-1"><${Twins} /></div>`
        : html`<${Bars} />
          <div id="strip" tabindex="-1"><${Strip} /></div>
          <${Inspector} />`}
    </main>
    <p class="visually-hidden" role="status" aria-live="polite">${spoken.value}</p>
    ${helping.value && html`<${Help} />`}`;
}

function Header() {
  return html`<header>
    <h1>minicnn <span>explore</span></h1>
    <p class="status" role="status" title=${status()}>${status()}</p>
    ${problem.value && html`<p class="problem" role="alert">${problem.value}</p>`}
    ${about.value?.twins && html`<button class="break-it" aria-pressed=${breaking.value} onClick=${() => (breaking.value = !breaking.value)}>${t("break_it")} <kbd>T</kbd></button>`}
    <div class="switch direction" role="group" aria-label=${t("direction")}>
      <button aria-pressed=${!breaking.value && mode.value === "forward"} onClick=${() => face("forward")}>${t("forward")}</button>
      <button aria-pressed=${!breaking.value && mode.value === "backward"} onClick=${() => face("backward")}>${t("backward")} <kbd>B</kbd></button>
    </div>
    <${QuestionsButton} />
    <${ShareButton} />
    <${ThemeButton} />
    <button class="help-button" onClick=${() => (helping.value = true)} >? <span class="wide-only">${t("help_short")}</span></button>
    <button class="language" lang=${otherLanguage() === "zh" ? "zh-Hans" : "en"} onClick=${() => (language.value = otherLanguage())}>${t("other_language")}</button>
    <span class=${`progress ${waiting.value ? "busy" : ""}`} aria-hidden="true"></span>
  </header>`;
}

/** Show the layers in this direction. @param {"forward" | "backward"} direction */
function face(direction) {
  breaking.value = false;
  turn(direction);
}

function status() {
  if (!connected.value) return t("disconnected");
  if (compiling.value) return t("status_compiling");
  const now = training.value;
  const { name = "", steps = 0 } = about.value ?? {};
  if (now) return t("status_training", { step: now.step, steps, loss: short(now.loss) });
  const result = tested.value;
  if (result) return t("status_tested", { name, accuracy: percent(result.correct / result.total), wrong: result.total - result.correct });
  return about.value?.training ? t("status_starting") : t("status_testing", { name });
}

function Help() {
  const keys = ["draw", "stages", "maps", "enter", "follow", "back", "off", "turn", "break", "escape"];
  /** @param {HTMLDialogElement | null} dialog */
  const show = (dialog) => {
    if (dialog && !dialog.open) dialog.showModal();
  };
  return html`<dialog ref=${show} onClose=${() => (helping.value = false)} aria-labelledby="help-title">
    <h2 id="help-title">${t("help_title")}</h2>
    <p>${t("help_1")}</p>
    <p>${t(about.value?.news ? "help_2_exported" : "help_2")}</p>
    <p>${t("help_3")}</p>
    <h3>${t("colours_title")}</h3>
    <p><span class="ramp"></span> ${t("colours_help")}</p>
    <h3>${t("keys_title")}</h3>
    <dl class="keys">${keys.map((key) => html`<dt key=${key}>${t(`key_${key}`)}</dt><dd>${t(`key_${key}_does`)}</dd>`)}</dl>
    <h3>${t("where_title")}</h3>
    <p>${t(about.value?.news ? "help_4_exported" : "help_4")}</p>
    <form method="dialog"><button autofocus>${t("close")}</button></form>
  </dialog>`;
}

/** Keys that work everywhere. @param {KeyboardEvent} event */
function key(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
  if ((event.key === "t" || event.key === "T") && about.value?.twins && !isHidden("twins")) breaking.value = !breaking.value;
  else if (breaking.value && !"lL?".includes(event.key)) return;
  else if ((event.key === "b" || event.key === "B") && !isHidden("backward")) turn(mode.value === "forward" ? "backward" : "forward");
  else if ((event.key === "f" || event.key === "F") && selected.value) follow();
  else if (event.key === "u" || event.key === "U") back();
  else if ((event.key === "o" || event.key === "O") && !isHidden("off") && switchOf(selected.value)) toggle(/** @type {string} */ (switchOf(selected.value)));
  else if ((event.key === "l" || event.key === "L") && !isHidden("language")) language.value = otherLanguage();
  else if (event.key === "?" && !isHidden("help")) helping.value = true;
  else if (event.key === "Escape" && selected.value) leave();
  else return;
  event.preventDefault();
}

async function start() {
  render(html`<${App} />`, document.body);
  addEventListener("keydown", key);
  try {
    about.value = await api.about();
  } catch (error) {
    problem.value = String(/** @type {Error} */ (error).message);
    return;
  }
  const state = await restore();
  keep();
  api.listen(hear, (now) => {
    const returned = now && !connected.value;
    connected.value = now;
    if (returned) refresh();
  });
  const alone = state.image === null && state.train === null && !state.strokes.length && !state.at.length;
  if (alone && Number(state.card)) void openCard(Number(state.card));
}

void start();
