// The photo view: one photo over the page, with all that is known of it.

import { about } from "./about.js";
import { ApiError, api, originalUrl, thumbnailUrl } from "./api.js";
import { ask } from "./box.js";
import { rescue } from "./dialog.js";
import { button, h, loadStyle } from "./dom.js";
import { explainer } from "./explain.js";
import { count } from "./format.js";
import { describeKeys, isTyping, showKeys } from "./keys.js";
import { announce, guarded } from "./notify.js";
import { current, onResults } from "./results.js";
import * as router from "./router.js";
import * as search from "./search.js";

const NAMES = ["photo", "explain"];
const SWIPE = 50; // pixels

describeKeys("Open photo", [
  ["← →", "Previous, next photo"],
  ["e", "Ask the model about it"],
  ["s", "Find similar photos"],
  ["Esc", "Back to the photos"],
]);

let view = null;
onResults(() => view && showPlace());

/** Show the photo of a state, or close the view where the state has none. */
export async function show(state) {
  const id = Number(state.photo);
  if (!state.photo) {
    view?.element.close();
    return;
  }
  await loadStyle("photo.css");
  if (router.state().photo !== state.photo) return;
  view ??= open();
  if (view.id !== id) load(id);
  view.pane(state.explain ? "explain" : "about");
}

function open() {
  const image = h("img", { class: "photo-image", alt: "" });
  const before = button(null, {
    kind: "icon",
    icon: "left",
    label: "Previous photo",
    onClick: () => step(-1),
  });
  const after = button(null, {
    kind: "icon",
    icon: "right",
    label: "Next photo",
    onClick: () => step(1),
  });
  before.classList.add("photo-before");
  after.classList.add("photo-after");
  const title = h("h2", { class: "photo-title", id: "photo-title" });
  const panes = [
    ["about", "About", null],
    ["explain", "Ask the model", "1"],
  ].map(([name, text, value]) => ({
    name,
    tab: h(
      "button",
      { type: "button", on: { click: () => router.change({ explain: value }, { replace: true }) } },
      text,
    ),
    body: h("div", { class: "photo-pane", hidden: true }),
  }));
  const place = h("span", { class: "small muted number" });
  const side = h(
    "div",
    { class: "photo-side" },
    h(
      "div",
      { class: "photo-head" },
      h(
        "div",
        { class: "segments", role: "group", aria: { label: "What to show" } },
        panes.map((each) => each.tab),
      ),
      place,
      button(null, { kind: "icon", icon: "close", label: "Close the photo", onClick: close }),
    ),
    ...panes.map((each) => each.body),
  );
  const element = h(
    "dialog",
    { class: "photo", aria: { labelledby: "photo-title" } },
    h("figure", { class: "photo-stage" }, image, before, after),
    side,
  );
  const made = {
    element,
    image,
    before,
    after,
    title,
    place,
    panes,
    id: null,
    photo: null,
    pane(wanted) {
      if (made.wanted === wanted && made.drawn) return;
      made.wanted = wanted;
      for (const { name, tab, body } of panes) {
        tab.setAttribute("aria-pressed", String(name === wanted));
        body.hidden = name !== wanted;
      }
      if (wanted === "explain" && made.photo && !panes[1].body.firstChild)
        panes[1].body.replaceChildren(explainer(made.photo));
    },
  };
  element.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  element.addEventListener("keydown", onKey);
  swipes(image, (by) => step(by));
  element.addEventListener("close", () => {
    const { id } = made;
    view = null;
    rescue(element);
    element.remove();
    document.body.classList.remove("photo-open");
    search.focusPhoto(id);
  });
  document.body.append(element);
  document.body.classList.add("photo-open");
  element.showModal();
  element.focus();
  return made;
}

/** Call `onSwipe` with 1 or -1 when a finger moves far enough to the left or the right. */
function swipes(target, onSwipe) {
  let from = null;
  target.addEventListener(
    "touchstart",
    (event) => {
      from = event.touches.length === 1 ? event.touches[0] : null;
    },
    { passive: true },
  );
  target.addEventListener(
    "touchend",
    (event) => {
      if (!from) return;
      const [to] = event.changedTouches;
      const [across, down] = [to.clientX - from.clientX, to.clientY - from.clientY];
      if (Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(down))
        onSwipe(across < 0 ? 1 : -1);
      from = null;
    },
    { passive: true },
  );
}

function close() {
  router.leave(NAMES);
}

async function load(id) {
  const { image, panes } = view;
  view.id = id;
  view.photo = null;
  // The small picture is there already: it stands in until the large one has come.
  image.style.backgroundImage = `url("${thumbnailUrl(id, 360)}")`;
  image.classList.remove("photo-missing");
  image.removeAttribute("src");
  for (const { body } of panes) body.replaceChildren();
  showPlace();
  try {
    const photo = await api(`/api/photos/${id}`);
    if (view?.id !== id) return;
    view.photo = photo;
    showImage(photo);
    panes[0].body.replaceChildren(...about(photo, view.title));
    if (view.wanted === "explain") panes[1].body.replaceChildren(explainer(photo));
    announce(`${photo.name}${photo.alt_text ? `: ${photo.alt_text.text}` : ""}`);
  } catch (error) {
    if (view?.id !== id) return;
    image.classList.add("photo-missing");
    panes[0].body.replaceChildren(h("p", { class: "notice notice-error" }, error.message));
    if (!(error instanceof ApiError)) throw error;
  }
}

function showImage(photo) {
  const { image } = view;
  const { width, height } = photo.facts;
  // The largest that can be had: of a file that is away, what the wall has shown.
  const sources = [1440, 720, 360].map((size) => thumbnailUrl(photo.id, size));
  if (photo.there && photo.inline) sources.unshift(originalUrl(photo.id));
  image.width = width;
  image.height = height;
  image.parentElement.style.setProperty("--ratio", String(width / height));
  image.alt = photo.alt_text?.text ?? photo.name;
  image.onload = () => {
    image.style.backgroundImage = "";
  };
  image.onerror = () => {
    const next = sources.shift();
    if (next) image.src = next;
    else image.classList.add("photo-missing");
  };
  image.src = sources.shift();
}

/** Return the place of the photo among the results of the Search view, or -1. */
function placeAmongResults() {
  return router.state().view ? -1 : (current?.indexOf(view.id) ?? -1);
}

function showPlace() {
  const at = placeAmongResults();
  view.place.textContent = at < 0 ? "" : `${count(at + 1)} of ${count(current.total)}`;
  view.before.disabled = at <= 0;
  view.after.disabled = at < 0 || (at + 1 >= current.items.length && current.done);
}

async function step(by) {
  const at = placeAmongResults();
  if (at < 0) return;
  if (at + by >= current.items.length && !current.done) {
    const { id } = view;
    await guarded(() => current.more().then((fresh) => search.grown(fresh)));
    if (view?.id !== id) return;
  }
  const next = current.items[at + by];
  if (!next) return;
  router.change({ photo: next.id }, { replace: true });
  const beyond = current.items[at + 2 * by];
  if (beyond) new Image().src = thumbnailUrl(beyond.id, 360);
}

function onKey(event) {
  if (isTyping(event)) return;
  const does = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    e: () => router.change({ explain: router.state().explain ? null : "1" }, { replace: true }),
    s: () => ask(`image:${view.id}`),
    "?": showKeys,
  }[event.key];
  if (!does || (event.key.startsWith("Arrow") && event.target.matches("input"))) return;
  event.preventDefault();
  does();
}
