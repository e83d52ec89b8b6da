// The Archive view: tag the library, review tags and alt text, take runs back, take results along.

import { h, loadStyle } from "./dom.js";
import * as router from "./router.js";
import { captionsPanel } from "./archive-captions.js";
import { exportPanel } from "./archive-export.js";
import { reviewPanel } from "./archive-review.js";
import { runsPanel } from "./archive-runs.js";
import { tagPanel } from "./archive-tag.js";

export const title = "Archive";

const TABS = {
  tag: ["Tag", tagPanel],
  review: ["Review", reviewPanel],
  captions: ["Captions", captionsPanel],
  runs: ["Runs", runsPanel],
  export: ["Export", exportPanel],
};

const panels = new Map();
const links = new Map();
let container;
let shown = null;

export async function mount(section) {
  await loadStyle("archive.css");
  for (const [name, [text]] of Object.entries(TABS)) {
    links.set(name, h("a", { href: router.href({ view: "archive", tab: name === "tag" ? null : name }), data: { route: "" } }, text));
  }
  container = h("div", { class: "page archive" }, h("h1", { class: "visually-hidden" }, "Archive"),
    h("nav", { class: "subtabs", aria: { label: "Archive" } }, [...links.values()]));
  section.append(container);
}

export function show(state) {
  const name = TABS[state.tab] ? state.tab : "tag";
  if (!panels.has(name)) {
    const panel = TABS[name][1]();
    panel.element.setAttribute("role", "region");
    panel.element.setAttribute("aria-label", TABS[name][0]);
    panels.set(name, panel);
    container.append(panel.element);
  }
  for (const [each, link] of links) {
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown !== name) hide();
  for (const [each, panel] of panels) panel.element.hidden = each !== name;
  const first = shown !== name;
  shown = name;
  panels.get(name).show(state, { first });
}

export function hide() {
  if (shown) panels.get(shown).hide?.();
  shown = null;
}
