// Completions for the search box: keys, then tags, cameras and folders with their counts.

import { api } from "./api.js";
import { h } from "./dom.js";
import { CHOICES, KEYS, filterText, wordAt } from "./query.js";
import { count } from "./format.js";

const MOST = 9;
const COUNTED = { tag: "tags", camera: "cameras", folder: "folders" };

let known = null;

/** Forget what was counted: tags have changed. */
export function forget() {
  known = null;
}

/** Return tags with counts, the most frequent first. */
export async function tagCounts() {
  known ??= api("/api/complete", { query: { k: 1000 } });
  try {
    return (await known).tags;
  } catch (error) {
    known = null;
    throw error;
  }
}

async function values(key) {
  if (CHOICES[key]) return CHOICES[key].map((value) => ({ value }));
  if (!COUNTED[key]) return [];
  await tagCounts();
  return (await known)[COUNTED[key]];
}

/** Return what can stand in place of a word: `{text, label, hint, count, open}`. */
export async function completions(word) {
  const negative = word.startsWith("-") ? "-" : "";
  const text = word.slice(negative.length);
  const keyed = /^([a-z]+):"?(.*)$/is.exec(text);
  if (keyed) {
    const key = keyed[1].toLowerCase();
    const typed = keyed[2].split(",").at(-1).toLowerCase();
    if (!Object.hasOwn(KEYS, key) || keyed[2].includes(",")) return [];
    return ranked(await values(key), typed).map((each) => ({
      text: negative + filterText(key, each.value),
      label: each.value,
      count: each.count,
    }));
  }
  const typed = text.toLowerCase();
  if (!/^\p{L}+$/u.test(typed)) return [];
  const keys = Object.keys(KEYS)
    .filter((key) => key.startsWith(typed))
    .map((key) => ({ text: `${negative}${key}:`, label: `${key}:`, hint: KEYS[key], open: true }));
  if (typed.length < 2) return keys.slice(0, MOST);
  const tags = ranked(await values("tag"), typed, true).map((each) => ({
    text: negative + filterText("tag", each.value),
    label: `tag:${each.value}`,
    count: each.count,
  }));
  return [...keys, ...tags].slice(0, MOST);
}

function ranked(all, typed, onlyStart = false) {
  const starts = all.filter((each) => each.value.toLowerCase().startsWith(typed));
  const rest = onlyStart
    ? []
    : all.filter((each) => each.value.toLowerCase().includes(typed) && !starts.includes(each));
  return [...starts, ...rest].slice(0, MOST);
}

/**
 * Let an input complete what is typed. `offer(word)` resolves to completions, `pick(choice, word)`
 * puts one in; `isOpen()` tells whether keys belong to the list.
 */
export class Completer {
  constructor(
    input,
    list,
    { offer, pick, wordOf = (field) => wordAt(field.value, field.selectionStart) },
  ) {
    Object.assign(this, { input, list, offer, pick, wordOf, choices: [], active: -1, turn: 0 });
    input.addEventListener("input", () => this.update());
    input.addEventListener("keydown", (event) => this.#onKey(event));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.#choose(Number(option.dataset.index));
    });
  }

  isOpen() {
    return !this.list.hidden;
  }

  close() {
    this.turn += 1;
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  async update() {
    this.turn += 1;
    const word = this.wordOf(this.input);
    // What was offered for an earlier word must not be put in the place of this one.
    if (this.isOpen() && word.text !== this.word?.text) this.close();
    const { turn } = this;
    const choices = word.text ? await this.offer(word.text).catch(() => []) : [];
    if (turn !== this.turn) return;
    this.choices = choices;
    this.word = word;
    if (!choices.length || document.activeElement !== this.input) {
      this.close();
      return;
    }
    this.active = -1;
    this.list.replaceChildren(
      ...choices.map((choice, index) =>
        h(
          "li",
          {
            role: "option",
            id: `${this.list.id}-${index}`,
            data: { index },
            aria: { selected: "false" },
          },
          h("span", { class: "truncate" }, choice.label),
          choice.hint ? h("span", { class: "muted small truncate" }, choice.hint) : null,
          choice.count === undefined
            ? null
            : h("span", { class: "muted small number" }, count(choice.count)),
        ),
      ),
    );
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.input.removeAttribute("aria-activedescendant");
  }

  #onKey(event) {
    if (!this.isOpen()) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#activate(
        (this.active + step + this.choices.length + (this.active < 0 && step < 0 ? 1 : 0)) %
          this.choices.length,
      );
    } else if (event.key === "Enter" && this.active >= 0) {
      this.#choose(this.active);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  #activate(index) {
    this.active = index;
    [...this.list.children].forEach((option, at) =>
      option.setAttribute("aria-selected", String(at === index)),
    );
    this.list.children[index].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", this.list.children[index].id);
  }

  #choose(index) {
    const choice = this.choices[index];
    this.close();
    this.pick(choice, this.word);
    if (choice.open) this.update();
  }
}
