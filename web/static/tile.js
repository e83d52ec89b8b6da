// One photo of the wall, and what a person can do with it there.

import { thumbnailUrl } from "./api.js";
import { ask } from "./box.js";
import { button, h } from "./dom.js";
import { BANDS, bandMark, day } from "./format.js";
import { current } from "./results.js";
import * as router from "./router.js";

const AGAIN_MS = 1500;

/** Make the inside of a tile of the wall: the photo, a line under it, and what can be done. */
export function tile(item, _, { width, height }) {
  const when = day(item.taken_at);
  const size = Math.max(width, height) * Math.min(2, devicePixelRatio) > 400 ? 720 : 360;
  const label = [
    item.alt_text ?? item.name,
    when,
    item.band && BANDS[item.band],
    item.named && "its words match",
  ]
    .filter(Boolean)
    .join(", ");
  const link = h(
    "a",
    {
      class: "tile-photo",
      href: router.hrefWith({ photo: item.id }),
      data: { route: "" },
      title: item.name,
    },
    h("img", {
      src: thumbnailUrl(item.id, size),
      alt: label,
      width: Math.round(width),
      height: Math.round(height),
      decoding: "async",
      draggable: false,
      on: { error: broken },
    }),
  );
  return [
    link,
    h(
      "div",
      { class: "tile-line small" },
      h("span", { class: "truncate muted" }, when || item.name),
      item.named
        ? h(
            "span",
            {
              class: "tile-word",
              title: "Its name, folder, tags or alt text hold the words",
              role: "img",
              aria: { label: "Words match" },
            },
            "Aa",
          )
        : null,
      bandMark(item.band),
    ),
  ];
}

/** Put the buttons on a tile that the pointer or the focus has come to; most never need them. */
export function addTools(element, item) {
  if (!element || !item || element.querySelector(".tile-tools")) return;
  const act = (name, label, does) =>
    button(null, { kind: "icon", icon: name, label, tabIndex: -1, onClick: () => does(item) });
  const tools = h(
    "div",
    { class: "tile-tools" },
    act("similar", "Find similar photos", similar),
    canJudge() ? act("up", "More like this", like) : null,
    canJudge() ? act("down", "Less like this", unlike) : null,
  );
  element.querySelector(".tile-photo").after(tools);
}

/** Ask for a picture once more: a busy server makes some wait. Then show its name instead. */
function broken({ target }) {
  if (target.dataset.again) {
    target.closest(".tile")?.classList.add("tile-broken");
    return;
  }
  target.dataset.again = "1";
  setTimeout(() => {
    target.src = `${target.src}`;
  }, AGAIN_MS);
}

/** Whether there is a query in words that feedback can move. */
function canJudge() {
  return Boolean(current.state.q) && !current.state.picture;
}

function similar(item) {
  ask(`image:${item.id}`);
}

function like(item) {
  feedback("like", "unlike", item);
}

function unlike(item) {
  feedback("unlike", "like", item);
}

/** Move the query towards or away from a photo; once more takes that back. */
export function feedback(name, opposite, { id }) {
  const state = router.state();
  const list = (which) => (state[which] ?? "").split(",").filter(Boolean);
  const chosen = list(name).includes(String(id))
    ? list(name).filter((each) => each !== String(id))
    : [...list(name), String(id)];
  router.change({
    [name]: chosen.join(","),
    [opposite]: list(opposite)
      .filter((each) => each !== String(id))
      .join(","),
    cut: null,
    sort: null,
    photo: null,
  });
}

/** Do what a key asks of the photo that has the focus. */
export function onTileKey(event, item) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const does = { s: similar, u: like, d: unlike }[event.key];
  if (!does || !item || (does !== similar && !canJudge())) return;
  event.preventDefault();
  does(item);
}
