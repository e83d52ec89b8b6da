// What the Search view says when there is no wall of answers: at home, without answers, in trouble.

import { api } from "./api.js";
import { chip, chipList } from "./chips.js";
import { button, h, icon } from "./dom.js";
import { plural } from "./format.js";
import { guarded, undoable } from "./notify.js";
import { parse, write } from "./query.js";
import * as router from "./router.js";

const EXAMPLES = [
  "dog on a beach",
  "sunset over water",
  "food on a table",
  "people laughing -indoors",
  "orientation:portrait flowers",
  "snow after:2015",
];

/** Return the first page: examples, saved searches. */
export async function home() {
  const { saved } = await api("/api/saved");
  const query = (text) => router.href({ q: text });
  return h(
    "div",
    { class: "home" },
    h("p", { class: "home-title" }, "Which photo are you thinking of?"),
    chipList(
      EXAMPLES.map((text) => chip(text, { href: query(text) })),
      "Examples",
    ),
    saved.length
      ? h("div", { class: "row home-saved" }, chipList(saved.map(savedChip), "Saved searches"))
      : null,
    h("h2", { class: "home-latest" }, "Latest photos"),
  );
}

function savedChip(each) {
  const address = router.href({
    q: each.query,
    sort: each.sort === "date" ? "date" : null,
    cut: each.min_relevance === 0 ? "all" : each.min_relevance,
  });
  const path = `/api/saved/${encodeURIComponent(each.name)}`;
  const made = chip(each.name, {
    icon: "star",
    title: each.query,
    count: each.new || undefined,
    label: each.new ? `${each.name}, ${plural(each.new, "new photo")}` : undefined,
    onClick: () => {
      if (each.new) guarded(() => api(`${path}/new`, { method: "POST" })); // they are seen now
      router.go(address);
    },
    removeLabel: `Forget the search ${each.name}`,
    onRemove: () =>
      guarded(async () => {
        await api(path, { method: "DELETE" });
        const place = made.closest("li");
        place.hidden = true;
        undoable(`“${each.name}” is forgotten.`, async () => {
          await api("/api/saved", {
            json: {
              name: each.name,
              query: each.query,
              sort: each.sort,
              min_relevance: each.min_relevance,
            },
          });
          place.hidden = false;
        });
      }),
  });
  return made;
}

/** Return how to begin, if the library has no photos yet. */
export async function beginning() {
  const status = await api("/api/status");
  if (status.photos) return null;

  const more = status.skipped
    ? `${plural(status.skipped, "file")} could not be read; the Library view says why. `
    : "";
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "No photos yet"),
    h(
      "p",
      { class: "muted" },
      `${more}Tell clipsearch where your photos are. It reads them and leaves them as they are:`,
    ),
    h("pre", { class: "command" }, h("code", {}, "clipsearch index ~/Pictures")),
    h("p", { class: "muted small" }, "They appear here while they are read."),
    h(
      "a",
      { class: "button", href: router.href({ view: "library" }), data: { route: "" } },
      "Open the library",
    ),
  );
}

/** Return what to say where nothing answers, with a way out. */
export function empty({ state, answer }) {
  if (answer.cut) {
    return h(
      "div",
      { class: "empty" },
      h("h2", {}, "Nothing here is clearly that"),
      h(
        "p",
        { class: "muted" },
        `None of ${plural(answer.cut, "photo")} is close enough to call it an answer. The nearest may still be what you mean.`,
      ),
      button("Show the nearest photos", {
        kind: "primary",
        onClick: () => router.change({ cut: "all" }),
      }),
    );
  }
  const parts = parse(state.q ?? "") ?? [];
  const filters = parts.filter((part) => part.type === "filter");
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, filters.length ? "No photo passes these filters" : "There is nothing to show"),
    filters.length
      ? h("p", { class: "muted" }, filters.length === 1 ? "Leave it out:" : "Leave one out:")
      : null,
    filters.length
      ? chipList(
          filters.map((part) =>
            chip(`${part.negated ? "-" : ""}${part.raw}`, {
              icon: "close",
              label: `Leave out ${part.raw}`,
              href: router.hrefWith({ q: write(parts.filter((each) => each !== part)) }),
            }),
          ),
          "Filters",
        )
      : h("a", { class: "button", href: "/", data: { route: "" } }, "Show all photos"),
  );
}

export function trouble(title, sentence, onRetry = null) {
  const text = sentence.charAt(0).toUpperCase() + sentence.slice(1);
  return h(
    "div",
    { class: "empty", role: "alert" },
    h("h2", {}, title),
    h("p", {}, /[.!?]$/.test(text) ? text : `${text}.`),
    onRetry && button("Try again", { kind: "primary", onClick: onRetry }),
  );
}

/** Return the chip of a picture that was dropped, drawn small. */
export function pictureChip({ file, name }, onRemove) {
  const canvas = h("canvas", { class: "chip-photo", width: 48, height: 48 });
  createImageBitmap(file).then(
    (image) => {
      const side = Math.min(image.width, image.height);
      canvas
        .getContext("2d")
        .drawImage(
          image,
          (image.width - side) / 2,
          (image.height - side) / 2,
          side,
          side,
          0,
          0,
          48,
          48,
        );
    },
    () => canvas.replaceWith(icon("picture")),
  ); // a format that only the server can read
  return h(
    "li",
    { class: "chip chip-plus" },
    h("span", { class: "chip-text" }, canvas, h("span", { class: "truncate" }, name)),
    h(
      "button",
      {
        class: "chip-end",
        type: "button",
        aria: { label: "Forget the picture" },
        on: { click: onRemove },
      },
      icon("close"),
    ),
  );
}
