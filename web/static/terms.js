// The query as chips. Its text is the only truth: a chip that is changed rewrites the text.

import { thumbnailUrl } from "./api.js";
import { debounce, h, icon } from "./dom.js";
import { parse, replaced } from "./query.js";

const LIGHTEST = 0.1;
const HEAVIEST = 3;

/**
 * Make the chips of a query. `onChange(text, {final})` gets the changed query, not `final` while a
 * slider is dragged, `slid` when it is let go; `onSelect(start, end)` is asked to show a part in
 * the box.
 */
export function termChips(query, { onChange, onSelect }) {
  const parts = parse(query) ?? [];
  const terms = parts.filter((part) => part.type !== "filter").length;
  return parts.map((part, index) => {
    const change = (changed, { final = true, slid = false } = {}) =>
      onChange(replaced(query, index, changed), { final, slid });
    return part.type === "filter"
      ? filterChip(part, change, onSelect)
      : termChip(part, terms > 1, change, onSelect);
  });
}

function termChip(part, weighable, change, onSelect) {
  const minus = part.weight < 0;
  const name = part.type === "image" ? `photo ${part.value}` : part.value;
  const sign = h(
    "button",
    {
      class: "chip-start",
      type: "button",
      title: minus ? "Avoided: click to look for it" : "Looked for: click to avoid it",
      aria: {
        label: minus ? `${name} is avoided; look for it` : `${name} is looked for; avoid it`,
      },
      on: { click: () => change({ ...part, bare: part.bare && minus, weight: -part.weight }) },
    },
    icon(minus ? "minus" : "plus"),
  );
  const inside =
    part.type === "image"
      ? [
          h("img", { class: "chip-photo", src: thumbnailUrl(part.value, 160), alt: "" }),
          "like this photo",
        ]
      : [part.value];
  const text = h(
    "button",
    {
      class: "chip-text",
      type: "button",
      title: "Edit in the box",
      on: { click: () => onSelect(...part.spans[0].toSpliced(1, 1, part.spans.at(-1)[1])) },
    },
    ...inside.map((each) =>
      typeof each === "string" ? h("span", { class: "truncate" }, each) : each,
    ),
  );
  return h(
    "li",
    { class: minus ? "chip chip-minus" : "chip chip-plus" },
    sign,
    text,
    weighable ? weight(part, name, change) : null,
    cross(name, change),
  );
}

function weight(part, name, change) {
  const size = Math.abs(part.weight);
  const shown = h("output", { class: "number" }, `×${size}`);
  const slider = h("input", {
    type: "range",
    min: LIGHTEST,
    max: Math.max(HEAVIEST, size),
    step: 0.1,
    value: size,
    aria: { label: `Weight of ${name}` },
    title: "How much this counts",
  });
  const weighted = () => ({
    ...part,
    bare: false,
    weight: Math.sign(part.weight) * Number(slider.value),
  });
  let slid = false;
  const soon = debounce(() => slid || change(weighted(), { final: false }), 120);
  slider.addEventListener("input", () => {
    shown.textContent = `×${slider.value}`;
    soon();
  });
  slider.addEventListener("change", () => {
    slid = true;
    change(weighted(), { slid });
  });
  return h("span", { class: "chip-weight" }, slider, shown);
}

function filterChip(part, change, onSelect) {
  const name = part.raw;
  const flip = h(
    "button",
    {
      class: "chip-start",
      type: "button",
      title: part.negated ? "Excluded: click to require it" : "Required: click to exclude it",
      aria: {
        label: part.negated ? `${name} is excluded; require it` : `${name} is required; exclude it`,
      },
      on: { click: () => change({ ...part, negated: !part.negated }) },
    },
    icon(part.negated ? "minus" : "filter"),
  );
  const text = h(
    "button",
    {
      class: "chip-text",
      type: "button",
      title: "Edit in the box",
      on: { click: () => onSelect(...part.spans[0]) },
    },
    h("span", { class: "muted" }, `${part.negated ? "not " : ""}${part.key}`),
    h("span", { class: "truncate" }, part.values.join(", ")),
  );
  return h(
    "li",
    { class: part.negated ? "chip chip-minus" : "chip" },
    flip,
    text,
    cross(name, change),
  );
}

function cross(name, change) {
  return h(
    "button",
    {
      class: "chip-end",
      type: "button",
      aria: { label: `Remove ${name}` },
      on: { click: () => change(null) },
    },
    icon("close"),
  );
}
