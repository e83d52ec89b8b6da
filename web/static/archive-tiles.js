// Photos with and without a tag, as buttons that give or take it.

import { api, thumbnailUrl } from "./api.js";
import { forget } from "./complete.js";
import { button, h, icon } from "./dom.js";
import { percent } from "./format.js";
import { guarded, undoable } from "./notify.js";
import * as router from "./router.js";

const FROM = { hand: "by hand", file: "from the file" };

/**
 * Make rows of photos for a tag; `onCount(change)` is told by how many photos the tag grew or shrank.
 *
 * A photo is `{id, name, tag: {label, origin, score} | null}`.
 */
export function tagTiles(label, { onCount }) {
  const root = () => document.querySelector(".review-rows");
  const below = (tag) => tag.label === label || tag.label.startsWith(`${label}/`);
  let changed = 0;
  let hideToast = null;

  function row(title, about, photos, more) {
    const grid = h("ul", { class: "tag-grid", aria: { label: title } }, photos.map(tile));
    const empty = h("p", { class: "muted small" }, "None.");
    const section = h("section", { class: "tag-row stack", aria: { label: title } },
      h("div", { class: "tag-row-head" }, h("h3", {}, title), h("p", { class: "muted small" }, about)), photos.length ? grid : empty);
    if (more && more.shown < more.total) section.append(moreButton(grid, more));
    return section;
  }

  function moreButton(grid, { next, shown, total }) {
    let offset = shown;
    const here = new Set([...grid.querySelectorAll(".tag-tile")].map((each) => each.dataset.id));
    const made = button("Show more", { kind: "plain", onClick: () => guarded(async () => {
      made.disabled = true;
      const fresh = await next(offset).finally(() => { made.disabled = false; });
      offset += fresh.length;
      const added = fresh.filter(({ id }) => !here.has(String(id)));
      for (const { id } of added) here.add(String(id));
      const tiles = added.map(tile);
      grid.append(...tiles);
      if (offset >= total || !fresh.length) made.remove();
      tiles[0]?.firstElementChild.focus();
    }) });
    return h("div", {}, made);
  }

  function tile(photo) {
    const first = { holds: photo.tag !== null, origin: photo.tag?.origin ?? null, labels: photo.tag ? [photo.tag.label] : [] };
    const says = h("span", { class: "small muted number truncate" });
    const mark = h("span", { class: "tag-mark", aria: { hidden: "true" } });
    const made = h("button", { type: "button", class: "tag-tile", data: { id: photo.id }, tabIndex: -1, title: photo.name },
      h("span", { class: "tag-photo" }, h("img", { src: thumbnailUrl(photo.id, 360), alt: "", width: 160, height: 160, loading: "lazy", decoding: "async", draggable: false, on: { error: (event) => event.target.closest(".tag-photo").classList.add("tag-broken") } }), mark), says);
    let holds = first.holds;
    let busy = false;
    draw();

    function draw() {
      const score = photo.tag?.score;
      const origin = holds === first.holds ? (photo.tag ? (score === null ? FROM[photo.tag.origin] : percent(score)) : "without") : holds ? "added" : "removed";
      made.setAttribute("aria-pressed", String(holds));
      made.setAttribute("aria-label", `${photo.name}, ${origin}`);
      says.textContent = origin;
      mark.replaceChildren(...(holds ? [icon("check")] : []));
    }

    async function set(wanted) {
      if (busy) return;
      busy = true;
      const was = holds;
      holds = wanted;
      draw();
      try {
        holds = await decide(photo.id, wanted, first);
        forget();
      } catch (error) {
        holds = was;
        throw error;
      } finally {
        busy = false;
        draw();
      }
      changed += Number(holds) - Number(was);
      onCount(changed);
      hideToast?.();
      hideToast = undoable(holds ? `“${label}” is given to ${photo.name}.` : `“${label}” is taken from ${photo.name}.`, () => set(was));
    }

    made.addEventListener("click", () => guarded(() => set(!holds)));
    made.addEventListener("focus", () => makeCurrent(made));
    made.addEventListener("keydown", (event) => onKey(event, made, photo));
    return h("li", {}, made);
  }

  /** Decide by hand, or give the decision back where it comes to what was there before. */
  async function decide(id, wanted, first) {
    const change = async (json) => (await api(`/api/photos/${id}/tags`, { json })).tags.filter(below);
    if (!wanted) {
      let left = await change({ remove: [label] });
      first.labels = [...new Set([...first.labels, ...left.map((tag) => tag.label)])];
      if (left.length) left = await change({ remove: left.map((tag) => tag.label) });
      return left.length > 0;
    }
    if (first.holds && first.origin !== "hand") {
      const back = await change({ reset: [...new Set([label, ...first.labels])] });
      if (back.length) return true;
    }
    return (await change({ add: first.holds && first.labels.length ? first.labels : [label] })).length > 0;
  }

  function onKey(event, made, photo) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter") {
      event.preventDefault();
      router.change({ photo: photo.id });
      return;
    }
    const all = [...root().querySelectorAll(".tag-tile")];
    const at = all.indexOf(made);
    const next = { ArrowLeft: all[at - 1], ArrowRight: all[at + 1], Home: all[0], End: all.at(-1), ArrowUp: beside(all, made, -1), ArrowDown: beside(all, made, 1) }[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  function makeCurrent(made) {
    const all = [...(root()?.querySelectorAll(".tag-tile") ?? [])];
    for (const each of all) each.tabIndex = each === made ? 0 : -1;
  }

  return {
    row,
    /** Let the first photo be where the tab key goes. */
    ready: () => makeCurrent(root().querySelector(".tag-tile")),
    focusFirst: () => root().querySelector(".tag-tile")?.focus(),
  };
}

/** Return a tag in parts that may stand on lines of their own: it breaks at slashes first. */
export function parted(label) {
  return label.split("/").flatMap((part, index) => (index ? ["/", document.createElement("wbr"), part] : [part]));
}

/** Return the tile above or below: the nearest in the next line of tiles, over the gap of a row too. */
function beside(all, made, step) {
  const here = made.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const lines = all.map((each) => [each, each.getBoundingClientRect()]).filter(([, box]) => (step < 0 ? box.bottom <= here.top + 1 : box.top >= here.bottom - 1));
  if (!lines.length) return undefined;
  const top = step < 0 ? Math.max(...lines.map(([, box]) => box.top)) : Math.min(...lines.map(([, box]) => box.top));
  const line = lines.filter(([, box]) => Math.abs(box.top - top) < 2);
  return line.reduce((best, each) => (Math.abs(each[1].left + each[1].width / 2 - middle) < Math.abs(best[1].left + best[1].width / 2 - middle) ? each : best))[0];
}
