// What the present search found: hits page by page, shared by the wall and the photo view.

import { api } from "./api.js";

const FIRST = 60;
const MORE = 120;
const EVERYTHING = "id:1..";
const SEARCH_NAMES = ["q", "sort", "cut", "copies", "like", "unlike", "picture"];

/** Pictures that were dropped on the page, by the number that the address bar holds. */
export const pictures = new Map();

/** The results that are on the page. */
export let current = null;

export function setCurrent(results) {
  current = results;
}

const listeners = new Set();

/** Call `listener` whenever there are more or other results. */
export function onResults(listener) {
  listeners.add(listener);
}

export function told() {
  for (const listener of listeners) listener();
}

/** Return the part of a state that decides what is found, as one string. */
export function keyOf(state) {
  return JSON.stringify(SEARCH_NAMES.map((name) => state[name] ?? ""));
}

export class Results {
  constructor(state) {
    this.state = state;
    this.key = keyOf(state);
    this.items = [];
    this.total = 0;
    this.done = false;
    this.loading = null;
    this.stop = new AbortController();
  }

  /** Load the next hits, once at a time; resolves to those that are new. */
  more() {
    this.loading ??= this.#load().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  indexOf(id) {
    return this.items.findIndex((item) => item.id === id);
  }

  cancel() {
    this.stop.abort();
  }

  async #load() {
    if (this.done) return [];
    const k = this.items.length ? MORE : FIRST;
    const found = await this.#ask(k, this.items.length);
    const known = new Set(this.items.map((item) => item.id));
    // The library may change between two pages; a photo is still shown once.
    const fresh = found.hits.filter((hit) => !known.has(hit.id)).map(named);
    this.items.push(...fresh);
    this.total = found.total;
    this.answer = {
      query: found.query,
      model: found.model,
      tookMs: found.took_ms,
      cut: found.cut ?? 0,
      calibration: found.calibration ?? null,
    };
    this.done = found.hits.length < k || this.items.length >= found.total;
    return fresh;
  }

  #ask(k, offset) {
    const { state } = this;
    const asked = {
      q: state.q,
      k,
      offset,
      sort: state.sort,
      min_relevance: state.cut === "all" ? "0" : state.cut,
      all_copies: state.copies ? "true" : undefined,
    };
    if (state.picture) {
      const form = new FormData();
      for (const [name, value] of Object.entries(asked))
        if (value !== undefined) form.append(name, value);
      form.append("image", pictures.get(state.picture).file, "picture");
      return api("/api/search", { form, signal: this.stop.signal });
    }
    return api("/api/search", {
      query: { ...asked, q: state.q || EVERYTHING, like: state.like, unlike: state.unlike },
      signal: this.stop.signal,
    });
  }
}

/** Return a hit with the name of its file. */
export function named(hit) {
  return { ...hit, name: hit.name ?? hit.path.split("/").at(-1) };
}
