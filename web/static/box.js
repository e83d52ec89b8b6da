// The search box: what is typed, completed, dropped or pasted becomes the address of the page.

import { byId, debounce, h, icon } from "./dom.js";
import { Completer, completions } from "./complete.js";
import { toast } from "./notify.js";
import { withPart } from "./query.js";
import { pictures } from "./results.js";
import * as router from "./router.js";

let input;
let next = 1;

/** Set up the box; `onDown` is called when the focus should go from it to the photos. */
export function start({ onDown, onEdit }) {
  input = byId("query");
  byId("query-clear").append(icon("close"));
  byId("query-picture").append(icon("picture"));
  byId("query-picture").title = "Search by a picture: choose, drop or paste one";
  byId("search-form").querySelector(".box-go").append(icon("search"));
  const completer = new Completer(input, byId("completions"), {
    offer: completions,
    pick(choice, word) {
      const after = input.value.slice(word.start + word.text.length);
      const text = choice.text + (choice.open ? "" : " ");
      input.value = input.value.slice(0, word.start) + text + after.trimStart();
      input.setSelectionRange(word.start + text.length, word.start + text.length);
      edited();
      if (!choice.open) submit();
    },
  });
  const editedSoon = debounce(() => onEdit(input.value), 120);
  function edited() {
    byId("query-clear").hidden = !input.value;
    clearError();
    editedSoon();
  }
  input.addEventListener("input", edited);
  input.addEventListener("scroll", () => {
    byId("query-caret").scrollLeft = input.scrollLeft;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && !completer.isOpen()) {
      event.preventDefault();
      onDown();
    } else if (event.key === "/" && !input.value) {
      event.preventDefault(); // the key that leads here; no search begins with it
    } else if (event.key === "Escape") {
      input.blur();
    }
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    completer.close();
    submit();
  });
  byId("query-clear").addEventListener("click", () => {
    input.value = "";
    edited();
    input.focus();
    submit();
  });
  startPictures();
  if (matchMedia("(min-width: 48rem) and (hover: hover)").matches && !router.state().photo)
    input.focus({ preventScroll: true });
}

/** Show a query in the box, unless it is there already. */
export function setText(text) {
  if (input.value.trim() !== text.trim()) input.value = text;
  byId("query-clear").hidden = !input.value;
}

/** Select a part of the query, for a person to change it. */
export function select(start, end) {
  input.focus();
  input.setSelectionRange(start, end);
}

/** Underline the place in the query that an error is about; `position` counts code points. */
export function showError(position) {
  const characters = [...input.value];
  const before = characters.slice(0, position).join("");
  const rest = characters.slice(position).join("");
  const culprit = /^\S+/.exec(rest)?.[0] ?? " ";
  const mirror = byId("query-caret");
  mirror.replaceChildren(before, h("span", {}, culprit));
  mirror.hidden = false;
  mirror.scrollLeft = input.scrollLeft;
  input.setAttribute("aria-invalid", "true");
}

export function clearError() {
  byId("query-caret").hidden = true;
  input.removeAttribute("aria-invalid");
}

/** Search for a query: a new page in the history. Words start anew, without feedback. */
export function ask(query, changes = {}, options = {}) {
  const { sort, copies } = router.state();
  router.go(router.href({ q: query.trim(), sort, copies, ...changes }), options);
}

/** Return the address of the present search with one more filter. */
export function narrowed(filter) {
  const { q = "", sort, copies, view } = router.state();
  return router.href({ q: view ? filter : withPart(q, filter), sort, copies });
}

function submit() {
  const { picture, q = "" } = router.state();
  if (input.value.trim() === q.trim() && !router.state().view) {
    router.tell(); // a search that failed is tried again
    return;
  }
  ask(input.value, { picture });
}

/** Search by a picture that a person chose; the query's words stay. */
export function askPicture(file) {
  if (!file.type.startsWith("image/") && !/\.(heic|heif|avif|tiff?)$/i.test(file.name)) {
    toast(`${file.name} is no picture; choose a photo.`, { kind: "error" });
    return;
  }
  const number = String(next);
  next += 1;
  pictures.set(number, { file, name: file.name });
  ask(input.value, { picture: number });
}

function startPictures() {
  const chooser = byId("picture-file");
  byId("query-picture").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    if (chooser.files[0]) askPicture(chooser.files[0]);
    chooser.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) =>
      each.type.startsWith("image/"),
    );
    if (!file || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    askPicture(file);
  });
  const target = h(
    "div",
    { class: "drop", hidden: true },
    h("p", {}, icon("picture"), "Drop the picture to find photos like it"),
  );
  document.body.append(target);
  const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let inside = 0;
  document.addEventListener("dragenter", (event) => {
    if (!carriesFile(event)) return;
    inside += 1;
    target.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFile(event)) return;
    inside -= 1;
    if (inside <= 0) target.hidden = true;
  });
  document.addEventListener("dragover", (event) => {
    if (carriesFile(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    inside = 0;
    target.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file && !document.querySelector("dialog[open]")) askPicture(file);
  });
}
