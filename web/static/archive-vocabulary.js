// The labels to tag with: the shipped ones, or a text of one's own with line numbers.

import { api } from "./api.js";
import { button, debounce, h } from "./dom.js";
import { count, plural } from "./format.js";
import { sentence } from "./jobs.js";
import { announce, guarded, toast } from "./notify.js";

const DRAFT = "clipsearch.vocabulary";
const OWN = "clipsearch.vocabulary.own";
const LARGEST = 1_000_000;
const EXAMPLE = "dog = puppy, hound\ncat = kitten\nbeach = seaside\nbirthday party";

/** Find the line that an error of the server is about: it names a line, or a group of the file. */
export function lineOf(message, text) {
  const named = /\bline (\d+)/.exec(message);
  if (named) return Number(named[1]);
  const group = /\bgroup "([^"]+)"/.exec(message);
  if (!group) return null;
  const lines = text.split("\n");
  const at = lines.findIndex((line) => /^\s*\[/.test(line) && line.includes("group") && line.includes(group[1]));
  return at < 0 ? null : at + 1;
}

/** Make the choice of labels; `text()` is null for the shipped ones. */
export function vocabularyField({ onChange }) {
  let own = read(OWN) !== null;
  let shipped = null;

  const choices = [[false, "Shipped labels"], [true, "Your own"]].map(([value, text]) => h("button", { type: "button", on: { click: () => choose(value) } }, text));
  const area = h("textarea", { class: "field code", id: "vocabulary", value: read(DRAFT) ?? "", placeholder: EXAMPLE, spellcheck: false, autocapitalize: "none", wrap: "off", maxLength: LARGEST, aria: { describedby: "vocabulary-error vocabulary-hint" } });
  const gutter = h("div", { class: "gutter", aria: { hidden: "true" } });
  const gutterLines = h("div", { class: "gutter-lines" });
  gutter.append(gutterLines);
  const goTo = button(null, { kind: "plain", onClick: () => select(Number(goTo.dataset.line)) });
  const errorText = h("span", { class: "grow anywhere" });
  const error = h("div", { class: "notice notice-error row", id: "vocabulary-error", role: "alert", hidden: true }, errorText, goTo);
  const file = h("input", { class: "visually-hidden", type: "file", accept: ".toml,.txt,text/plain", tabIndex: -1, aria: { label: "File with labels" }, on: { change: open } });
  const about = h("div", { class: "stack" }, h("p", { class: "muted" }, " "));
  const editor = h("div", { class: "stack" },
    h("label", { class: "visually-hidden", htmlFor: "vocabulary" }, "Your labels"),
    h("div", { class: "code-box" }, gutter, area), error,
    h("p", { class: "muted small", id: "vocabulary-hint" }, "One label a line, with other names for it behind ", h("code", {}, "="), ". A slash makes a part: ", h("code", {}, "animal/dog"),
      ". A text with ", h("code", {}, "[group.name]"), " tables is read as TOML, like the shipped labels."),
    h("div", { class: "row" }, button("Open a file", { icon: "folder", onClick: () => file.click() }), button("Save as a file", { kind: "plain", onClick: save }),
      button("Start from the shipped labels", { kind: "plain", icon: "copy", onClick: copyShipped }), file));
  const element = h("section", { class: "card stack", aria: { label: "Labels" } },
    h("div", { class: "row" }, h("h2", { class: "grow" }, "Labels"), h("div", { class: "segments", role: "group", aria: { label: "Which labels" } }, choices)),
    about, editor);
  let badLine = null;

  function choose(value) {
    own = value;
    draw();
    keep(OWN, own ? "yes" : null);
    onChange();
    if (own) area.focus();
  }

  function draw() {
    choices.forEach((each, index) => each.setAttribute("aria-pressed", String(Boolean(index) === own)));
    about.hidden = own;
    editor.hidden = !own;
    if (own) number();
  }

  /** Number the lines; the one with a mistake stands out. */
  function number() {
    const lines = area.value.split("\n").length;
    const made = document.createDocumentFragment();
    if (badLine) made.append(`${range(1, badLine - 1)}`, h("mark", {}, String(badLine)), `\n${range(badLine + 1, lines)}`);
    else made.append(range(1, lines));
    gutterLines.replaceChildren(made);
    scroll();
  }

  function scroll() {
    gutterLines.style.transform = `translateY(${-area.scrollTop}px)`;
  }

  function select(line) {
    const lines = area.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    area.focus();
    area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    const height = parseFloat(getComputedStyle(area).lineHeight);
    area.scrollTop = Math.max(0, (line - 1) * height - area.clientHeight / 2);
    scroll();
  }

  function showError(message) {
    badLine = message === null ? null : lineOf(message, area.value);
    error.hidden = message === null || !own;
    errorText.textContent = message === null ? "" : sentence(message);
    goTo.hidden = badLine === null;
    goTo.dataset.line = String(badLine);
    goTo.textContent = `Go to line ${badLine}`;
    area.setAttribute("aria-invalid", String(message !== null));
    number();
    if (message !== null && !own) toast(sentence(message), { kind: "error" });
  }

  async function open() {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    if (chosen.size > LARGEST) {
      toast(`${chosen.name} is larger than a megabyte; that is no list of labels.`, { kind: "error" });
      return;
    }
    replace(await chosen.text());
    announce(`${chosen.name} is open.`);
  }

  function replace(text) {
    area.value = text;
    area.scrollTop = 0;
    showError(null);
    keep(DRAFT, text);
    onChange();
  }

  async function copyShipped() {
    const before = area.value;
    await guarded(async () => {
      replace((await loadShipped()).text);
      if (before.trim()) toast("Your text is replaced by the shipped labels.", { action: { label: "Undo", run: () => replace(before) } });
      area.focus();
      area.setSelectionRange(0, 0);
    });
  }

  function save() {
    const link = h("a", { href: URL.createObjectURL(new Blob([area.value], { type: "text/plain" })), download: /^\s*\[/m.test(area.value) ? "vocabulary.toml" : "vocabulary.txt" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function loadShipped() {
    shipped ??= await api("/api/vocabulary");
    return shipped;
  }

  async function describe() {
    const found = await loadShipped();
    const groups = groupsOf(found.text);
    about.replaceChildren(h("p", {}, `${plural(found.labels, "label")} for photos of people and places, of every day and of travels. All are words that the model looks for; none is learned from your photos.`),
      groups.length ? h("ul", { class: "chips", aria: { label: "Groups of labels" } }, groups.map(([name, labels]) => h("li", { class: "chip" }, h("span", {}, name, h("span", { class: "muted number" }, count(labels)))))) : null,
      h("div", {}, button("Edit a copy", { icon: "edit", onClick: async () => { await copyShipped(); choose(true); } })));
  }

  const typed = debounce(() => { keep(DRAFT, area.value); onChange(); }, 300);
  area.addEventListener("input", () => {
    if (badLine || !error.hidden) showError(null);
    number();
    typed();
  });
  area.addEventListener("scroll", scroll);
  draw();
  return { element, showError, load: () => guarded(describe), text: () => (own ? area.value : null), isEmpty: () => own && !area.value.trim(), isOwn: () => own };
}

function range(from, to) {
  let text = "";
  for (let line = from; line <= to; line += 1) text += `${line}\n`;
  return text;
}

/** Count the labels of each group in the server's own TOML, which has one label a line. */
function groupsOf(text) {
  const groups = [];
  for (const line of text.split("\n")) {
    const head = /^\[group\."?([^"\]]+)"?\]/.exec(line);
    if (head) groups.push([head[1], 0]);
    else if (groups.length && /^\s+["{]/.test(line)) groups.at(-1)[1] += 1;
  }
  return groups;
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key, text) {
  try {
    if (text === null) localStorage.removeItem(key);
    else localStorage.setItem(key, text);
  } catch {
    // Storage may be forbidden or full; the text then lasts as long as this page.
  }
}
