// Saved searches, with what is new in each.

import { api } from "./api.js";
import { button, h, icon } from "./dom.js";
import { count, plural } from "./format.js";
import { guarded, toast, undoable } from "./notify.js";
import * as router from "./router.js";

export function savedCard() {
  const list = h("ul", { class: "saved" });
  const none = h("p", { class: "muted" }, "None yet. Search for something and press Save; then new photos that answer it are counted here.");
  const element = h("section", { class: "card stack", aria: { label: "Saved searches" } }, h("h2", { tabIndex: -1 }, "Saved searches"), none, list);

  let marking = null;

  async function load() {
    await marking;
    const { saved } = await api("/api/saved");
    none.hidden = saved.length > 0;
    list.hidden = !saved.length;
    list.replaceChildren(...saved.map(row));
  }

  function row(search) {
    const path = `/api/saved/${encodeURIComponent(search.name)}`;
    const cut = search.min_relevance === 0 ? "all" : null;
    const link = h("a", { class: "grow saved-link", href: router.href({ q: search.query, sort: search.sort === "date" ? "date" : null, cut }), data: { route: "" }, on: { click: () => { marking = guarded(() => api(`${path}/new`, { method: "POST" })); } } },
      h("span", { class: "saved-name anywhere" }, search.name), h("span", { class: "muted small anywhere" }, search.query));
    const fresh = search.new === null
      ? h("span", { class: "saved-new muted small" }, "cannot be answered any more")
      : search.new ? h("span", { class: "saved-new saved-some number" }, `${count(search.new)} new`) : h("span", { class: "saved-new muted small" }, "nothing new");
    return h("li", { class: "row saved-row" }, icon("star"), link, fresh,
      button(null, { kind: "icon", icon: "close", label: `Remove ${search.name}`, onClick: () => guarded(() => remove(search, path)) }));
  }

  async function remove(search, path) {
    await api(path, { method: "DELETE" });
    await load();
    element.querySelector("h2").focus();
    const lost = search.new ? ` ${plural(search.new, "new photo")} count as seen then.` : "";
    undoable(`“${search.name}” is removed.`, async () => {
      await api("/api/saved", { json: { name: search.name, query: search.query, sort: search.sort, min_relevance: search.min_relevance } });
      await load();
      toast(`“${search.name}” is back.${lost}`);
    });
  }

  return { element, load: () => guarded(load) };
}
