// The lines of the reference that compute a number. The server reads them from the source.
import { html } from "./html.js";
import { about } from "./state.js";
import { t } from "./text.js";

/** @param {{name: string}} props */
export function Code({ name }) {
  const source = about.value?.sources[name];
  if (!source) return null;
  return html`<div class="code">
    <h3>${t("code_title")} <code>engine/reference.py</code>, <code>${source.name}</code></h3>
    <pre tabindex="0" aria-label=${t("code_label", { name: source.name })}><code>${source.lines.map(
      ([number, text, computes]) =>
        html`<span key=${number} class=${computes ? "computes" : ""}><span class="line-number">${computes ? "▶" : " "}${String(number).padStart(4)}</span>  ${text}${"\n"}</span>`,
    )}</code></pre>
    <p class="help">${t("code_help")}</p>
  </div>`;
}
