// Review one tag: the surest photos, the least sure ones, and the nearest that do not have it.

import { api } from "./api.js";
import { forget } from "./complete.js";
import { button, h } from "./dom.js";
import { count, plural } from "./format.js";
import { watch } from "./jobs.js";
import { describeKeys, isTyping } from "./keys.js";
import { announce, guarded } from "./notify.js";
import * as router from "./router.js";
import { parted, tagTiles } from "./archive-tiles.js";

const HALF = 18;
const STEP = 36;

export function reviewPanel() {
  const filter = h("input", { class: "field", type: "search", placeholder: "Find a tag", aria: { label: "Find a tag" }, on: { input: drawList } });
  const list = h("ul", { class: "tag-list" });
  const aside = h("nav", { class: "tag-side", aria: { label: "Tags" } }, filter, list);
  const name = h("h2", { class: "anywhere", tabIndex: -1 });
  const number = h("p", { class: "muted small number", role: "status" });
  const before = h("a", { class: "button-icon", role: "link", data: { route: "" } });
  const after = h("a", { class: "button-icon", role: "link", data: { route: "" } });
  const all = button("All tags", { icon: "tag", aria: { expanded: "false" }, onClick: () => openSide(!aside.classList.contains("open")) });
  all.classList.add("tag-all");
  const rows = h("div", { class: "stack review-rows" });
  const head = h("div", { class: "row review-head" }, all, h("div", { class: "grow" }, name, number), before, after);
  const main = h("div", { class: "stack review-main" }, head, rows);
  const none = h("div", { class: "empty", hidden: true }, h("h2", {}, "No tags yet"), h("p", { class: "muted" }, "Tag the library first; then each tag can be looked through here, and set right by hand."),
    h("a", { class: "button button-primary", href: router.href({ view: "archive" }), data: { route: "" } }, "Tag the library"));
  const body = h("div", { class: "review" }, aside, main);
  const element = h("section", {}, body, none);

  let tags = [];
  let current = null;
  let loaded = null;
  let stop = null;
  let wantsFocus = false;
  describeKeys("Review of a tag", [["← → ↑ ↓", "Move"], ["Space", "Give or take the tag"], ["Enter", "Open the photo"], ["n", "Next tag"], ["p", "Previous tag"]]);

  const address = (tag) => router.href({ view: "archive", tab: "review", tag });

  async function loadTags() {
    const fresh = (await api("/api/tags")).tags;
    if (JSON.stringify(fresh) === JSON.stringify(tags) && tags.length) return;
    tags = fresh;
    // Whoever takes the last photo from the last tag can still change their mind.
    none.hidden = tags.length > 0 || current !== null;
    body.hidden = !none.hidden;
    drawList();
  }

  function drawList() {
    const wanted = filter.value.trim().toLowerCase();
    const found = tags.filter(({ tag }) => tag.toLowerCase().includes(wanted));
    list.replaceChildren(...found.map(({ tag, photos }) =>
      h("li", {}, h("a", { href: address(tag), data: { route: "" }, aria: { current: tag === current ? "true" : null } }, h("span", { class: "anywhere" }, parted(tag)), h("span", { class: "muted small number" }, count(photos))))));
    if (!found.length) list.append(h("li", { class: "muted small tag-none" }, "No tag has these letters."));
    drawSteps();
  }

  function drawSteps() {
    const at = tags.findIndex(({ tag }) => tag === current);
    for (const [link, step, key, icons] of [[before, -1, "p", "left"], [after, 1, "n", "right"]]) {
      const there = at < 0 ? null : tags[at + step]?.tag;
      const label = step < 0 ? "Previous tag" : "Next tag";
      link.replaceChildren(h("span", { aria: { hidden: "true" } }, icons === "left" ? "‹" : "›"));
      link.setAttribute("aria-label", there ? `${label}: ${there}` : label);
      link.title = there ? `${label}: ${there} (${key})` : label;
      if (there) link.href = address(there);
      else link.removeAttribute("href");
      link.setAttribute("aria-disabled", String(!there));
    }
  }

  /** Scroll the list alone: the page stays where it is. */
  function reveal(link) {
    if (!link) return;
    const box = link.getBoundingClientRect();
    const frame = list.getBoundingClientRect();
    if (box.top < frame.top) list.scrollTop += box.top - frame.top;
    else if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom;
  }

  function openSide(open) {
    aside.classList.toggle("open", open);
    all.setAttribute("aria-expanded", String(open));
    if (open) filter.focus();
  }

  async function load(tag) {
    const page = (order, k, offset = 0) => api("/api/tag/photos", { query: { tag, order, k, offset } });
    rows.classList.add("waiting");
    try {
      const [best, least, without] = await Promise.all([page("best", HALF), page("borderline", HALF), missing(tag)]);
      if (current !== tag) return;
      loaded = tag;
      const { total } = best;
      // A small tag is all on the page: its surer half first, the rest from the least sure on.
      let sure = best.photos;
      let unsure = least.photos;
      if (total <= 2 * HALF) {
        const every = total > HALF ? [...best.photos, ...(await page("best", HALF, HALF)).photos] : best.photos;
        if (current !== tag) return;
        const half = Math.ceil(every.length / 2);
        sure = every.slice(0, half);
        unsure = every.slice(half).reverse();
      }
      name.replaceChildren(...parted(tag));
      number.textContent = plural(total, "photo");
      const tiles = tagTiles(tag, { onCount: (change) => { number.textContent = plural(total + change, "photo"); } });
      const more = (order, shown) => (total > 2 * HALF ? { next: (offset) => page(order, STEP, offset).then((answer) => answer.photos), shown, total } : null);
      rows.replaceChildren(
        tiles.row("Best", "The model is surest of these, after what was tagged by hand.", sure, more("best", sure.length)),
        tiles.row("Borderline", "They have the tag, and the model is least sure of them.", unsure, more("borderline", unsure.length)),
        tiles.row("Unlikely", "They do not have the tag, but come closest to its words.", without, null));
      tiles.ready();
      if (wantsFocus) tiles.focusFirst();
      wantsFocus = false;
      announce(`${tag}, ${plural(total, "photo")}`);
    } finally {
      rows.classList.remove("waiting");
    }
  }

  /** Find photos that look like the tag and do not have it. */
  async function missing(tag) {
    const words = tag.split("/").at(-1).replaceAll('"', " ").trim();
    const quoted = tag.replaceAll('"', "");
    if (!words || quoted !== tag) return [];
    const { hits } = await api("/api/search", { query: { q: `"${words}" -tag:"${quoted}"`, k: HALF, min_relevance: 0 } });
    return hits.map(({ id, name: file, width, height }) => ({ id, name: file, width, height, tag: null }));
  }

  function onKey(event) {
    if (isTyping(event) || document.querySelector("dialog[open]")) return;
    const link = { n: after, p: before }[event.key];
    if (link?.hasAttribute("href")) {
      event.preventDefault();
      wantsFocus = true;
      router.go(link.getAttribute("href"));
    } else if ((event.key === "ArrowDown" || event.key === "ArrowRight") && document.activeElement === document.body) {
      const first = rows.querySelector("button.tag-tile");
      if (first) {
        event.preventDefault();
        first.focus();
      }
    }
  }

  return {
    element,
    show(state, { first }) {
      if (first) {
        document.addEventListener("keydown", onKey);
        stop = watch({ onLibrary: () => guarded(loadTags) });
      }
      guarded(async () => {
        if (first) {
          current = null;
          forget();
          await loadTags();
        }
        if (!tags.length) return;
        const wanted = state.tag ?? tags[0].tag;
        if (wanted === current && wanted === loaded && !first) return;
        current = wanted;
        openSide(false);
        drawList();
        reveal(list.querySelector("[aria-current]"));
        await load(wanted);
      });
    },
    hide() {
      document.removeEventListener("keydown", onKey);
      stop?.();
      stop = null;
    },
  };
}
