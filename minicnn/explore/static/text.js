// The language of the page: every text is in en.js and zh.js under the same name.
import { effect, signal } from "@preact/signals";
import cardsEn from "./cards_en.js";
import cardsZh from "./cards_zh.js";
import en from "./en.js";
import zh from "./zh.js";

/** @type {Record<string, Record<string, string>>} */
const LANGUAGES = { en: { ...en, ...cardsEn }, zh: { ...zh, ...cardsZh } };

const wish = new URLSearchParams(location.search).get("lang") ?? navigator.language.slice(0, 2);
export const language = signal(wish in LANGUAGES ? wish : "en");

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-Hans" : "en";
  document.title = t("title");
});

/**
 * The text called `name`, with {facts} filled in.
 * @param {string} name
 * @param {Record<string, string | number>} [facts]
 */
export function t(name, facts = {}) {
  const text = LANGUAGES[language.value][name];
  if (text === undefined) throw new Error(`no text called ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, fact) => String(facts[fact]));
}

export const otherLanguage = () => (language.value === "en" ? "zh" : "en");
