// Which photos a job of the Archive is about: all, or those that answer a query.

import { api } from "./api.js";
import { debounce, h } from "./dom.js";
import { plural } from "./format.js";
import { sentence } from "./jobs.js";

/**
 * Make a field that narrows the photos down by a query and says how many there are.
 *
 * `onCount(photos)` is told the number, or null where the query cannot be read.
 */
export function scopeField({ onCount }) {
  const input = h("input", { class: "field", type: "text", placeholder: "All photos", maxLength: 10000, spellcheck: false, autocapitalize: "none", autocomplete: "off" });
  const says = h("span", { class: "small muted number scope-count", role: "status" }, " ");
  const element = h("label", { class: "label" }, h("span", { class: "row scope-head" }, h("span", { class: "grow" }, "Only photos that answer this search"), says), input);
  let asked = 0;

  async function update() {
    const mine = (asked += 1);
    let photos = null;
    let text;
    try {
      ({ photos } = await api("/api/facets", { query: { q: input.value.trim() } }));
      text = plural(photos, "photo");
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      text = sentence(error.message);
    }
    if (mine !== asked) return;
    says.textContent = text;
    says.classList.toggle("scope-error", photos === null);
    input.setAttribute("aria-invalid", String(photos === null));
    onCount(photos);
  }

  input.addEventListener("input", debounce(update, 250));
  return { element, update, query: () => input.value.trim() || null };
}
