// The shell: which view is shown, keys that hold everywhere.

import { byId, h, icon } from "./dom.js";
import { describeKeys, isTyping, showKeys } from "./keys.js";
import * as router from "./router.js";
import * as search from "./search.js";
import * as theme from "./theme.js";

/**
 * A view is a module with `title`, `mount(container)` (once), `show(state)` (whenever the address
 * changes while it is shown) and, if it needs it, `hide()`. All but the first are loaded when
 * they are needed.
 */
const VIEWS = {
  search: async () => search,
  archive: () => import("./archive.js"),
  library: () => import("./library.js"),
};

let shown = null;
let wanted = null;
const mounted = new Map();

async function show(state, { pop }) {
  const name = VIEWS[state.view] ? state.view : "search";
  wanted = name;
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  const container = byId(`view-${name}`);
  if (!mounted.has(name)) mounted.set(name, open(name, container));
  const view = await mounted.get(name);
  if (wanted !== name) return;
  if (shown && shown.name !== name) {
    shown.view?.hide?.();
    byId(`view-${shown.name}`).hidden = true;
    scrollTo(0, 0);
  }
  container.hidden = false;
  shown = { name, view };
  if (view) {
    document.title = view.title === "Search" ? "clipsearch" : `${view.title} · clipsearch`;
    view.show(router.state(), { pop });
  }
}

async function open(name, container) {
  try {
    const view = await VIEWS[name]();
    await view.mount(container);
    return view;
  } catch (error) {
    console.error(error);
    mounted.delete(name);
    container.replaceChildren(
      h(
        "p",
        { class: "notice notice-error" },
        "This view cannot be loaded. Reload the page, and restart the server if that does not help.",
      ),
    );
    return null;
  }
}

function onKey(event) {
  if (isTyping(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("query").focus();
    byId("query").select();
  } else if (event.key === "?") {
    showKeys();
  }
}

describeKeys("Everywhere", [
  ["/", "Write a search"],
  ["?", "Show these keys"],
  ["Esc", "Close, or leave the field"],
]);
byId("show-keys").append(icon("keys"));
byId("show-keys").title = "Keys";
byId("show-keys").addEventListener("click", showKeys);
document.addEventListener("keydown", onKey);
theme.start();
router.onChange(show);
router.onChange(async (state) => {
  if (state.photo || document.querySelector("dialog.photo"))
    (await import("./photo.js")).show(router.state());
});
router.start();
