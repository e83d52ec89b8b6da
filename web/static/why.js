// Why a photo is where it is: what each term, filter and piece of evidence makes of it.

import { api } from "./api.js";
import { h, icon } from "./dom.js";
import { BANDS, bandMark, percent } from "./format.js";
import { current } from "./results.js";

const EVIDENCE = {
  intercept: [
    "Few photos answer any one phrase",
    "Where every photo begins, before the phrase is looked at.",
  ],
  level: [
    "How well it fits the words",
    "The likeness of photo and phrase, against what this phrase has with any photo.",
  ],
  "stands out": ["How it stands out here", "The same, against the best of what your library has."],
};

/** Return a section that fills itself with the explanation of a photo's place. */
export function why(id, state) {
  const body = h("div", { class: "stack" }, h("p", { class: "muted small" }, "…"));
  fill(body, id, state);
  return h("section", { class: "photo-section" }, h("h3", {}, "Why it is here"), body);
}

async function fill(body, id, state) {
  if (state.picture) {
    const hit = current?.items.find((each) => each.id === id);
    body.replaceChildren(
      h(
        "p",
        { class: "small" },
        hit
          ? `Its cosine with the picture that you gave${state.q ? " and the words" : ""} is ${signed(hit.score)}.`
          : "It is not among the photos that were found.",
      ),
    );
    return;
  }
  try {
    body.replaceChildren(
      ...explained(
        await api("/api/explain", {
          query: { q: state.q, id, like: state.like, unlike: state.unlike },
        }),
      ),
    );
  } catch (error) {
    body.replaceChildren(h("p", { class: "small notice" }, error.message));
  }
}

function explained(found) {
  return [
    found.relevance === null
      ? null
      : h(
          "p",
          { class: "row" },
          bandMark(found.band),
          h("strong", {}, found.band ? BANDS[found.band] : "Below the cut"),
          h(
            "span",
            { class: "muted small number" },
            `${percent(found.relevance)} likely to be what you mean`,
          ),
        ),
    found.terms.length ? terms(found) : null,
    found.filters.length ? filters(found.filters) : null,
    found.words.length
      ? h(
          "p",
          { class: "small" },
          found.named
            ? `Its name, folder, tags or alt text hold the words: ${found.words.join(", ")}.`
            : `Looked for in names, folders, tags and alt text, and not all found: ${found.words.join(", ")}.`,
        )
      : null,
    found.evidence.length ? evidence(found) : null,
  ].filter(Boolean);
}

function terms({ terms: all, score }) {
  const most = scale([...all.map((term) => term.contribution), score]);
  return h(
    "table",
    { class: "why" },
    h("caption", { class: "small muted" }, "What each term adds to the score"),
    h(
      "tbody",
      {},
      all.map((term) =>
        row(
          term.term,
          term.contribution,
          most,
          `weight ${term.weight}, cosine ${signed(term.cosine)}`,
        ),
      ),
      row("Score", score, most, "the cosine of photo and search", "why-total"),
    ),
  );
}

function evidence({ evidence: all, calibration }) {
  const most = scale(all.map((part) => part.logit));
  return h(
    "details",
    {},
    h("summary", { class: "small" }, "Where the likelihood comes from"),
    h(
      "div",
      { class: "stack" },
      h(
        "table",
        { class: "why" },
        h("caption", { class: "small muted" }, "What speaks for and against it, in log-odds"),
        h(
          "tbody",
          {},
          all.map((part) =>
            row(
              EVIDENCE[part.name]?.[0] ?? part.name,
              part.logit,
              most,
              EVIDENCE[part.name]?.[1] ?? "",
            ),
          ),
        ),
      ),
      calibration === "general"
        ? h(
            "p",
            { class: "small muted" },
            "This is a general estimate: it was not fitted to the model in use.",
          )
        : null,
    ),
  );
}

function row(name, value, { most, both }, about, kind = "") {
  const bar = h("span", {
    class: value < 0 ? "why-bar why-against" : "why-bar",
    style: { "--zero": both ? "0.5" : "0" },
  });
  bar.style.setProperty("--size", String(Math.abs(value) / most));
  return h(
    "tr",
    { class: kind },
    h(
      "th",
      { scope: "row", title: about },
      h("span", { class: "anywhere" }, name),
      h("span", { class: "small muted" }, about),
    ),
    h("td", { class: "number" }, signed(value)),
    h("td", { class: "why-cell", aria: { hidden: "true" } }, bar),
  );
}

/** Return the largest of some numbers, and whether there are negative ones among them. */
function scale(numbers) {
  return {
    most: Math.max(...numbers.map(Math.abs), 1e-9),
    both: numbers.some((number) => number < 0),
  };
}

function filters(all) {
  return h(
    "ul",
    { class: "why-filters small" },
    all.map((each) =>
      h(
        "li",
        {},
        icon(each.passes ? "check" : "close"),
        h(
          "span",
          {},
          h("code", {}, each.filter),
          each.passes ? " holds" : " does not hold",
          each.facts.length ? `: ${each.facts.slice(0, 6).join(", ")}` : "",
        ),
      ),
    ),
  );
}

export function signed(number) {
  if (number === null || number === undefined) return "–";
  return `${number < 0 ? "−" : ""}${Math.abs(number).toFixed(3)}`;
}
