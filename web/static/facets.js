// The panel beside the wall: how the answers spread over time, cameras, folders and tags.

import { api } from "./api.js";
import { h } from "./dom.js";
import { count, monthName } from "./format.js";
import { guarded } from "./notify.js";
import { filterText } from "./query.js";

const SHOWN = 8;
const KEY = "clipsearch.panel";

const SECTIONS = [
  { name: "years", title: "Years", key: "on" },
  {
    name: "months",
    title: "Months",
    key: "on",
    text: (value) => `${monthName(value)} ${value.slice(0, 4)}`,
  },
  { name: "tags", title: "Tags", key: "tag" },
  { name: "cameras", title: "Cameras", key: "camera" },
  {
    name: "folders",
    title: "Folders",
    key: "folder",
    text: (value) => value.split("/").slice(-2).join("/"),
  },
];

/**
 * Let `toggle` open and close `panel`. `update(q, minRelevance)` tells what is searched for; it is
 * counted only while the panel is open.
 */
export function facetPanel(toggle, panel, onPick) {
  let wanted = null;
  let stop = null;

  async function fill() {
    stop?.abort();
    stop = new AbortController();
    if (wanted) await guarded(() => showFacets(panel, { ...wanted, signal: stop.signal }, onPick));
  }

  function open(opened) {
    panel.hidden = !opened;
    toggle.setAttribute("aria-expanded", String(opened));
    toggle.setAttribute("aria-pressed", String(opened));
    if (opened) fill();
  }

  toggle.setAttribute("aria-controls", panel.id);
  toggle.addEventListener("click", () => {
    remember(panel.hidden);
    open(panel.hidden);
  });
  open(remembered());
  return {
    update(q, minRelevance) {
      wanted = { q, min_relevance: minRelevance };
      if (!panel.hidden) fill();
    },
  };
}

function remember(opened) {
  try {
    localStorage.setItem(KEY, opened ? "open" : "");
  } catch {
    // Storage may be forbidden; the panel is closed at the next visit then.
  }
}

function remembered() {
  try {
    return localStorage.getItem(KEY) === "open" && matchMedia("(min-width: 64rem)").matches;
  } catch {
    return false;
  }
}

/** Fill `panel` with what answers a search; `onPick(filter)` gets the text of a filter. */
async function showFacets(panel, { q, min_relevance, signal }, onPick) {
  const found = await api("/api/facets", { query: { q, min_relevance }, signal });
  const sections = SECTIONS.map(({ name, title, key, text = (value) => value }) => {
    const values = found[name];
    // One value that all photos share cannot narrow anything down.
    if (!values.length || (values.length === 1 && values[0].count === found.photos)) return null;
    const most = Math.max(...values.map((value) => value.count));
    const item = (each) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "facet",
            title: each.value,
            on: { click: () => onPick(filterText(key, each.value)) },
            style: { "--share": String(each.count / most) },
          },
          h("span", { class: "truncate" }, text(each.value)),
          h("span", { class: "number muted" }, count(each.count)),
        ),
      );
    const list = h("ul", {}, values.slice(0, SHOWN).map(item));
    const rest = values.slice(SHOWN);
    const more = rest.length
      ? h(
          "button",
          {
            type: "button",
            class: "button-plain small",
            on: {
              click: () => {
                list.append(...rest.map(item));
                more.remove();
              },
            },
          },
          `${count(rest.length)} more`,
        )
      : null;
    return h(
      "details",
      { open: name !== "folders" && name !== "months" },
      h("summary", {}, title),
      list,
      more,
    );
  }).filter(Boolean);
  panel.replaceChildren(
    ...(sections.length
      ? sections
      : [
          h(
            "p",
            { class: "muted small" },
            "These photos have no dates, cameras or tags to tell them apart.",
          ),
        ]),
  );
}
