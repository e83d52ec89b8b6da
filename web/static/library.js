// The Library view: what it holds, bringing it up to date, skipped files, models, saved searches.

import { api } from "./api.js";
import { forget } from "./complete.js";
import { button, debounce, h, icon, loadStyle } from "./dom.js";
import { count, plural } from "./format.js";
import { jobPanel, sentence, watch } from "./jobs.js";
import { guarded, toast } from "./notify.js";
import { modelsCard } from "./library-models.js";
import { savedCard } from "./library-saved.js";
import { skippedCard } from "./library-skipped.js";

export const title = "Library";

const COMMAND = "clipsearch index ~/Pictures";
const parts = {};
let stop = null;
let status = null;
let busy = false;

export async function mount(container) {
  await loadStyle("library.css");
  parts.facts = h("dl", { class: "facts" });
  parts.roots = h("ul", { class: "roots" });
  parts.refresh = button("Look for changes", { kind: "primary", icon: "folder", onClick: () => refresh() });
  parts.index = jobPanel({ kinds: ["index"], label: "Looking for changes", stages: { walk: "Looking through the folders", embed: "Looking at new photos" }, onState: setBusy, ending: indexed, onDone: changed });
  parts.models = modelsCard({ onState: setBusy, onDone: changed });
  parts.skipped = skippedCard();
  parts.saved = savedCard();
  parts.full = h("div", { class: "page library" },
    h("section", { class: "card stack", aria: { label: "Folders" } },
      parts.facts,
      h("div", { class: "row" }, h("h2", { class: "grow" }, "Folders"), parts.refresh),
      parts.roots, parts.index.element,
      h("p", { class: "muted small" }, "To follow another folder, run ", h("code", {}, "clipsearch index FOLDER"), " in a terminal; the photos stay where they are.")),
    parts.saved.element, parts.models.element, parts.skipped.element);
  parts.full.hidden = true;
  parts.empty = emptyLibrary();
  container.append(h("h1", { class: "visually-hidden" }, "Library"), parts.empty, parts.full);
}

export function show() {
  if (stop) return;
  stop = watch({
    onJob(job) {
      parts.index.onJob(job);
      parts.models.onJob(job);
    },
    onLibrary({ revision }) {
      if (status && revision !== status.revision) changed();
    },
  });
  load();
  parts.saved.load();
}

export function hide() {
  stop?.();
  stop = null;
}

/** Somebody changed the library: this page, or another process. */
const changed = debounce(() => {
  forget();
  load();
  parts.saved.load();
}, 250);

function load() {
  return guarded(async () => {
    status = await api("/api/status");
    const { photos, skipped, roots, model, dimensions, revision, version } = status;
    parts.empty.hidden = roots.length > 0;
    parts.full.hidden = !roots.length;
    parts.facts.replaceChildren(...[
      ["Photos", count(photos)],
      ["Model", model ?? "none yet"],
      ["Dimensions", dimensions === null ? "–" : count(dimensions)],
      ["Revision", count(revision)],
      ["clipsearch", version],
    ].map(([name, value]) => h("div", { class: "fact" }, h("dt", { class: "muted small" }, name), h("dd", { class: "number anywhere" }, value))));
    parts.roots.replaceChildren(...roots.map((root) => h("li", { class: "row root" }, icon("folder"), h("span", { class: "grow anywhere" }, root),
      button("Look here", { kind: "plain", disabled: busy, aria: { label: `Look for changes in ${root}` }, onClick: () => refresh([root]) }))));
    await Promise.all([parts.models.load(status), parts.skipped.load(skipped)]);
  });
}

function setBusy(state) {
  busy = state;
  parts.refresh.disabled = busy;
  parts.models.setBusy(busy);
  for (const each of parts.roots.querySelectorAll("button")) each.disabled = busy;
}

async function refresh(roots) {
  try {
    await parts.index.start("/api/index", roots ? { roots } : {});
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(sentence(error.message), { kind: "error" });
  }
}

function indexed({ result }) {
  const changes = [["added", "added"], ["updated", "changed"], ["moved", "moved"], ["removed", "gone"]].filter(([name]) => result[name]).map(([name, says]) => `${count(result[name])} ${says}`);
  const took = result.seconds < 1 ? "in less than a second" : `in ${plural(Math.round(result.seconds), "second")}`;
  return {
    text: `${changes.length ? `${changes.join(", ")}; ${count(result.unchanged)} as before` : `Nothing has changed: ${plural(result.unchanged, "photo")} as before`}, ${took}.${result.skipped ? ` ${plural(result.skipped, "file")} skipped.` : ""}`,
    notes: result.notices,
  };
}

function emptyLibrary() {
  const copy = button("Copy", { icon: "copy", onClick: () => guarded(async () => {
    await navigator.clipboard.writeText(COMMAND);
    toast("The command is copied.");
  }) });
  return h("div", { class: "empty", hidden: true }, h("h2", {}, "This library is empty"),
    h("p", { class: "muted" }, "Run this in a terminal, with the folder of your photos. They stay where they are, and this page fills by itself while they are looked at."),
    h("div", { class: "row command" }, h("code", {}, COMMAND), navigator.clipboard ? copy : null));
}
