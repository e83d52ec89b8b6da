// The queue of proposed captions: one photo at a time, decided by keys or buttons.

import { api, thumbnailUrl } from "./api.js";
import { button, h } from "./dom.js";
import { count } from "./format.js";
import { describeKeys, isTyping } from "./keys.js";
import { announce, guarded, toast } from "./notify.js";
import { meter } from "./progress.js";
import * as router from "./router.js";

const PAGE = 60;
const STATES = { accepted: "Accepted", edited: "Written by hand", rejected: "Rejected" };

/** Make the queue; `onLeft(number)` is told how many proposals wait for a decision. */
export function captionQueue({ onLeft }) {
  const picture = h("img", { class: "queue-picture", alt: "", decoding: "async" });
  const link = h("a", { class: "queue-frame", data: { route: "" } }, picture);
  const left = h("span", { class: "muted small number grow", role: "status" });
  const state = h("span", { class: "small queue-state" });
  const text = h("p", { class: "queue-text anywhere" });
  const field = h("textarea", { class: "field", maxLength: 1000, rows: 3, aria: { label: "Alt text" } });
  const form = h("form", { class: "stack", hidden: true }, field, h("div", { class: "row" }, button("Save the text", { kind: "primary", type: "submit" }), button("Cancel", { onClick: () => closeForm() }),
    h("span", { class: "muted small keys-hint" }, h("kbd", {}, "Enter"), " saves")));
  const sure = h("div", { class: "queue-margin" });
  const file = h("p", { class: "muted small anywhere" });
  const accept = keyed("Accept", "a", { kind: "primary", icon: "check", onClick: () => decide("accept") });
  const edit = keyed("Edit", "e", { icon: "edit", onClick: openForm });
  const reject = keyed("Reject", "r", { icon: "close", onClick: () => decide("reject") });
  const previous = keyed("Previous", "k", { kind: "plain", icon: "left", onClick: () => step(-1) });
  const next = keyed("Next", "j", { kind: "plain", icon: "right", onClick: () => step(1) });
  const undo = keyed("Undo", "z", { kind: "plain", icon: "undo", onClick: () => guarded(takeBack) });
  const acts = h("div", { class: "row queue-acts" }, accept, edit, reject);
  const card = h("section", { class: "queue card", tabIndex: -1, aria: { label: "Proposed caption" }, hidden: true },
    link, h("div", { class: "stack queue-side" }, h("div", { class: "row" }, left, state), text, form, sure, acts, h("div", { class: "row" }, previous, next, undo), file));
  describeKeys("Captions", [["a", "Accept the sentence"], ["e", "Edit it"], ["r", "Reject it"], ["j →", "Next photo"], ["k ←", "Previous photo"], ["z", "Undo the last decision"]]);

  let items = [];
  let total = 0;
  let at = 0;
  let loading = null;
  let busy = false;
  let done = [];
  const names = new Map();

  function keyed(label, key, props) {
    const made = button(label, { ...props, aria: { keyshortcuts: key } });
    made.append(h("kbd", { aria: { hidden: "true" } }, key));
    return made;
  }

  const waiting = () => items.filter((each) => !each.decided).length;

  /** Load the queue anew, and stay at the photo that is shown where it still waits. */
  async function load() {
    const here = items[at]?.photo_id;
    const answer = await api("/api/alt-text/proposals", { query: { k: PAGE } });
    ({ total } = answer);
    items = answer.proposals;
    done = [];
    at = Math.max(0, items.findIndex((each) => each.photo_id === here));
    draw();
  }

  /** Load more when the end of what is here comes near; what is decided is not in the list any more. */
  function loadMore() {
    if (loading || waiting() >= total || items.length - at > PAGE / 4) return loading;
    loading = guarded(async () => {
      const { proposals } = await api("/api/alt-text/proposals", { query: { k: PAGE, offset: waiting() } });
      const known = new Set(items.map((each) => each.photo_id));
      items.push(...proposals.filter((each) => !known.has(each.photo_id)));
    }).finally(() => { loading = null; });
    return loading;
  }

  function draw() {
    const item = items[at];
    onLeft(total);
    card.hidden = !item;
    if (!item) return;
    form.hidden = true;
    text.hidden = false;
    acts.hidden = false;
    link.href = router.hrefWith({ photo: item.photo_id });
    link.setAttribute("aria-label", `Open photo ${item.photo_id}`);
    if (picture.dataset.id !== String(item.photo_id)) {
      picture.dataset.id = item.photo_id;
      picture.src = thumbnailUrl(item.photo_id, 1440);
      picture.alt = `Photo ${item.photo_id}, without alt text yet`;
    }
    text.textContent = item.decided?.text ?? item.text;
    text.classList.toggle("queue-rejected", item.decided?.state === "rejected");
    state.textContent = item.decided ? STATES[item.decided.state] : "";
    state.hidden = !item.decided;
    left.textContent = total ? `${count(total)} left` : "All decided";
    const surest = Math.max(items[0].margin, item.margin, 1e-6);
    const ahead = item.margin.toFixed(3);
    sure.replaceChildren(meter(item.margin / surest, `Margin ${ahead}`), h("span", { class: "muted small number" }, `${ahead} ahead of the next best sentence (its margin, in cosine)`));
    previous.disabled = at === 0;
    next.disabled = at >= items.length - 1 && waiting() >= total;
    undo.disabled = !done.length;
    title(item.photo_id);
    for (const ahead of items.slice(at + 1, at + 3)) new Image().src = thumbnailUrl(ahead.photo_id, 1440);
  }

  async function title(id) {
    if (!names.has(id)) {
      file.textContent = " ";
      const found = await guarded(() => api(`/api/photos/${id}`));
      if (found) names.set(id, found.name);
    }
    if (items[at]?.photo_id === id) file.textContent = names.get(id) ?? "";
  }

  async function step(by) {
    if (by > 0) await loadMore();
    if (!items[at + by]) return;
    at += by;
    draw();
    say();
  }

  function say() {
    const item = items[at];
    announce(`${count(total)} left. ${item.decided?.text ?? item.text}`);
  }

  function openForm() {
    const item = items[at];
    field.value = item.decided?.state === "rejected" ? item.text : item.decided?.text ?? item.text;
    text.hidden = true;
    acts.hidden = true;
    form.hidden = false;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  function closeForm() {
    draw();
    card.focus({ preventScroll: true });
  }

  async function decide(what, written) {
    const item = items[at];
    if (!item || busy) return;
    busy = true;
    try {
      await guarded(async () => {
        const body = written === undefined ? { [what]: true } : { text: written };
        const answer = await api(`/api/photos/${item.photo_id}/alt-text`, { json: body });
        const was = item.decided;
        item.decided = what === "reject" && written === undefined ? { state: "rejected", text: item.text } : { state: answer.alt_text.state, text: answer.alt_text.text };
        done.push({ item, was });
        if (!was) total -= 1;
        await forward();
      });
    } finally {
      busy = false;
    }
  }

  /** Go to the next photo that waits, or stay where none does. */
  async function forward() {
    await loadMore();
    let following = items.findIndex((each, index) => index > at && !each.decided);
    if (following < 0) following = items.findIndex((each) => !each.decided);
    if (following >= 0) at = following;
    const lost = form.contains(document.activeElement);
    draw();
    if (lost) card.focus({ preventScroll: true });
    if (following >= 0) say();
    else announce("All captions are decided.");
  }

  async function takeBack() {
    const last = done.at(-1);
    if (!last || busy) return;
    busy = true;
    try {
      await reset(last.item.photo_id);
      if (last.was?.state === "rejected") await api(`/api/photos/${last.item.photo_id}/alt-text`, { json: { reject: true } });
      else if (last.was) await api(`/api/photos/${last.item.photo_id}/alt-text`, { json: { text: last.was.text } });
      done.pop();
      last.item.decided = last.was;
      if (!last.was) total += 1;
      at = Math.max(0, items.indexOf(last.item));
      draw();
      announce("The decision is taken back.");
      if (undo.disabled && document.activeElement === document.body) card.focus({ preventScroll: true });
    } finally {
      busy = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim()) decide("accept", field.value.trim());
    else toast("An alt text needs words; reject the sentence if none fits.", { kind: "error" });
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      closeForm();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  function onKey(event) {
    if (isTyping(event) || document.querySelector("dialog[open]") || card.hidden || !form.hidden) return;
    // A summary or a tab above has its own use for keys; the letters are ours everywhere.
    const does = { a: accept, e: edit, r: reject, j: next, k: previous, ArrowRight: next, ArrowLeft: previous, z: undo }[event.key];
    if (!does) return;
    event.preventDefault();
    if (!does.disabled) does.click();
  }

  return { element: card, load, onKey };
}

/** Forget what was decided about the alt text of a photo, so that it waits again. */
export function reset(id) {
  return api(`/api/photos/${id}/alt-text`, { json: { reset: true } });
}
