// The Search view: chips, the wall, and what to say when there is nothing to show.

import { ApiError, api } from "./api.js";
import * as box from "./box.js";
import { asked } from "./dialog.js";
import { button, h } from "./dom.js";
import { facetPanel } from "./facets.js";
import { count, plural } from "./format.js";
import { describeKeys, isTyping } from "./keys.js";
import { announce, guarded, toast, undoable } from "./notify.js";
import { withPart } from "./query.js";
import { showChips } from "./querychips.js";
import { Results, current, keyOf, pictures, setCurrent, told } from "./results.js";
import * as router from "./router.js";
import { beginning, empty, home, trouble } from "./states.js";
import { addTools, onTileKey, tile } from "./tile.js";
import { Wall } from "./wall.js";

export const title = "Search";

const KEPT = 8;
const BEGIN_MS = 2000;
const parts = {};
const kept = new Map();
let wall;
let panel;

export function mount(container) {
  parts.chips = h("ul", { class: "chips", aria: { label: "What is searched for" } });
  parts.summary = h("p", { class: "summary muted small number", role: "status" });
  parts.cut = choice(
    "How many",
    [
      ["", "Relevant"],
      ["all", "All"],
    ],
    (value) => router.change({ cut: value }),
  );
  parts.sort = choice(
    "Order",
    [
      ["", "Best"],
      ["date", "Latest"],
    ],
    (value) => router.change({ sort: value }),
  );
  parts.copies = button("Copies", {
    kind: "plain",
    title: "Show photos with the same content each",
    onClick: () => router.change({ copies: router.state().copies ? null : "1" }),
  });
  parts.save = button(h("span", {}, "Save"), {
    kind: "plain",
    icon: "star",
    title: "Keep this search by name",
    onClick: save,
  });
  parts.toggle = button(h("span", {}, "Narrow down"), {
    kind: "plain",
    icon: "panel",
  });
  parts.tools = h(
    "div",
    { class: "search-tools" },
    parts.toggle,
    parts.summary,
    h(
      "div",
      { class: "search-choices" },
      parts.cut.element,
      parts.sort.element,
      parts.copies,
      parts.save,
    ),
  );
  parts.before = h("div", { class: "search-before" });
  parts.results = h("div", { class: "search-results" });
  parts.after = h("div", { class: "search-after" });
  parts.panel = h("aside", {
    class: "facets",
    id: "facets",
    aria: { label: "Narrow down" },
    hidden: true,
  });
  container.append(
    h("h1", { class: "visually-hidden" }, "Search"),
    parts.chips,
    parts.tools,
    h(
      "div",
      { class: "search-body" },
      parts.panel,
      h("div", { class: "search-column" }, parts.before, parts.results, parts.after),
    ),
  );
  wall = new Wall(parts.results, {
    tile,
    onNear: more,
    label: "Photos",
    total: () => current?.total ?? 0,
  });
  wall.list.addEventListener("keydown", (event) => onTileKey(event, wall.items[wall.current]));
  for (const event of ["pointerover", "focusin"]) {
    wall.list.addEventListener(event, ({ target }) => {
      const element = target.closest(".tile");
      addTools(element, wall.items[element?.dataset.index]);
    });
  }
  box.start({ onDown: () => wall.items.length && wall.focus(wall.current), onEdit: chips });
  panel = facetPanel(parts.toggle, parts.panel, add);
  describeKeys("Photos", [
    ["← → ↑ ↓", "Move"],
    ["Enter", "Open"],
    ["s", "Find similar photos"],
    ["u", "More like this"],
    ["d", "Less like this"],
  ]);
  document.addEventListener("keydown", (event) => {
    if (
      !isTyping(event) &&
      event.key === "ArrowDown" &&
      document.activeElement === document.body &&
      wall.items.length &&
      !document.querySelector("dialog[open]")
    ) {
      event.preventDefault();
      wall.focus(wall.current);
    }
  });
}

export function show(state, { pop = false } = {}) {
  const key = keyOf(state);
  if (current?.key === key) {
    current.state = state;
    return;
  }
  const place = document.activeElement?.closest(".tile")?.dataset.index;
  if (current) keep(current);
  current?.cancel();
  box.setText(state.q ?? "");
  box.clearError();
  chips(state.q ?? "");
  if (state.picture && !pictures.has(state.picture)) {
    setCurrent({ key, items: [], total: 0, done: true, cancel() {}, indexOf: () => -1 });
    present(
      trouble(
        "That picture is not here any more",
        "A picture that you search by stays in the page only until it is loaded again. Choose it once more.",
      ),
    );
    return;
  }
  const before = kept.get(key);
  if (before && pop) {
    setCurrent(before.results);
    restore(current, before.scroll);
  } else {
    setCurrent(new Results(state));
    search(current, place);
  }
}

export function hide() {
  if (current) keep(current);
}

/** Bring the tile of a photo into sight, and give it the focus. */
export function focusPhoto(id) {
  const index = current?.indexOf(id) ?? -1;
  if (index >= 0) wall.focus(index);
}

function keep(results) {
  kept.delete(results.key);
  kept.set(results.key, { results, scroll: scrollY });
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}

/** Show results again that a person comes back to, where they were left. */
async function restore(results, scroll) {
  const about = isHome(results.state)
    ? await guarded(home)
    : results.items.length
      ? null
      : empty(results);
  if (results !== current) return;
  present(about);
  wall.reset(results.items);
  finish();
  scrollTo(0, scroll);
}

/** Show the first answers; the focus stays at the `place` that it had in the wall, if it had. */
async function search(results, place) {
  parts.results.classList.add("waiting");
  try {
    const [items, about] = await Promise.all([
      results.more(),
      isHome(results.state) ? home() : null,
    ]);
    if (results !== current) return;
    // Only while nobody scrolled through the old results is the top where people are.
    present(about ?? (items.length ? null : empty(results)));
    scrollTo(0, 0);
    wall.reset(items);
    finish();
    if (place !== undefined && items.length && document.activeElement === document.body)
      wall.focus(Math.min(Number(place), items.length - 1));
  } catch (error) {
    if (results !== current || error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (error.position !== undefined && error.status === 400) box.showError(error.position);
    results.done = true;
    results.key = null;
    const begin =
      error.status === 400 && error.position === undefined
        ? await beginning().catch(() => null)
        : null;
    if (begin) waitForPhotos(results);
    present(
      begin ??
        trouble(
          error.status === 400 ? "This search cannot be read" : "The search failed",
          error.message,
          error.status === 400 ? null : () => router.tell(),
        ),
    );
    if (!begin) announce(error.message);
  } finally {
    if (results === current) parts.results.classList.remove("waiting");
  }
}

/** Put hits into the wall that were loaded elsewhere. */
export function grown(fresh) {
  wall.append(fresh);
  told();
  parts.after.replaceChildren(...ending(current));
}

/** Search again when the first photos have come. */
function waitForPhotos(results) {
  setTimeout(async () => {
    if (results !== current) return;
    const status = await api("/api/status").catch(() => null);
    if (results !== current) return;
    if (status?.photos) router.tell();
    else waitForPhotos(results);
  }, BEGIN_MS);
}

async function more() {
  const results = current;
  if (!results || results.done || results.loading || !results.items.length) return;
  const fresh = await guarded(() => results.more());
  if (results === current && fresh) grown(fresh);
}

/** Show what is above the wall, and an empty wall. */
function present(before = null) {
  parts.before.replaceChildren(...(before ? [before] : []));
  parts.after.replaceChildren();
  wall.reset([]);
  parts.tools.hidden = true;
}

function finish() {
  const { state, answer, total } = current;
  const atHome = isHome(state);
  parts.tools.hidden = atHome ? !total : false;
  const judged = Boolean(answer.calibration);
  parts.cut.element.hidden = !judged;
  parts.sort.element.hidden = !judged || !total;
  parts.cut.set(state.cut === "all" ? "all" : "");
  parts.sort.set(state.sort ?? "");
  parts.copies.setAttribute("aria-pressed", String(Boolean(state.copies)));
  parts.copies.hidden = !total;
  parts.save.hidden = atHome || Boolean(state.picture || state.like || state.unlike);
  const took = answer.tookMs < 1 ? "under 1 ms" : `${count(Math.round(answer.tookMs))} ms`;
  parts.summary.textContent = atHome
    ? plural(total, "photo")
    : `${plural(total, "photo")} in ${took}`;
  parts.after.replaceChildren(...ending(current));
  panel.update(state.q, state.cut === "all" && judged ? "0" : undefined);
  told();
}

/** What stands under the last photo. */
function ending(results) {
  if (!results.items.length) return [];
  if (!results.done)
    return [h("p", { class: "muted small", aria: { hidden: "true" } }, "Loading more photos…")];
  const { cut, calibration } = results.answer;
  if (!calibration || !cut || results.state.cut === "all") return [];
  return [
    h("p", { class: "muted small" }, `${plural(cut, "more photo")} are less like it.`),
    button("Show them too", { onClick: () => router.change({ cut: "all" }) }),
  ];
}

function isHome(state) {
  return !state.q && !state.picture;
}

function chips(query) {
  showChips(parts.chips, query, { onPreview: preview });
}

/** Show what a weight does while its slider is dragged: the address changes when it is let go. */
async function preview(text) {
  const { state } = current;
  const trial = new Results({ ...state, q: text });
  try {
    const items = await trial.more();
    if (current.state !== state) return;
    wall.reset(items);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
  }
}

/** Add a filter or a term to the query of the page. */
export function add(text) {
  const state = router.state();
  box.ask(withPart(state.q ?? "", text), {
    like: state.like,
    unlike: state.unlike,
    picture: state.picture,
  });
}

async function save() {
  const { state } = current;
  const name = await asked("Save this search", {
    label: "Name",
    value: state.q.slice(0, 60),
    hint: "It is on the first page then, with a count of new photos.",
  });
  if (!name) return;
  await guarded(async () => {
    await api("/api/saved", {
      json: {
        name,
        query: state.q,
        sort: state.sort ?? "relevance",
        min_relevance: state.cut === "all" ? 0 : null,
      },
    });
    undoable(`Saved as “${name}”.`, async () => {
      await api(`/api/saved/${encodeURIComponent(name)}`, { method: "DELETE" });
      toast("The search is not saved any more.");
    });
  });
}

function choice(label, values, onChoose) {
  const buttons = values.map(([value, text]) =>
    h("button", { type: "button", on: { click: () => onChoose(value) } }, text),
  );
  return {
    element: h("div", { class: "segments", role: "group", aria: { label } }, buttons),
    set: (wanted) =>
      buttons.forEach((each, index) =>
        each.setAttribute("aria-pressed", String(values[index][0] === wanted)),
      ),
  };
}
