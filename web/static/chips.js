// Chips: small rounded parts for terms, filters, tags and values with counts.

import { h, icon } from "./dom.js";

const COUNT = new Intl.NumberFormat();

/**
 * Make a chip with a text; a link where `href` is given, a button where `onClick` is.
 *
 * `kind` is "plus" or "minus" for what is wanted or avoided; `onRemove` adds a cross.
 */
export function chip(
  text,
  { icon: name, href, onClick, onRemove, removeLabel, kind, count, title, label } = {},
) {
  const inside = [
    name ? icon(name) : null,
    h("span", { class: "truncate" }, text),
    count === undefined ? null : h("span", { class: "muted number" }, COUNT.format(count)),
  ];
  const props = { class: "chip-text", title, aria: { label } };
  const main = href
    ? h("a", { ...props, href, data: { route: "" } }, ...inside)
    : onClick
      ? h("button", { ...props, type: "button", on: { click: onClick } }, ...inside)
      : h("span", props, ...inside);
  const element = h("span", { class: kind ? `chip chip-${kind}` : "chip" }, main);
  if (onRemove) {
    element.append(
      h(
        "button",
        {
          class: "chip-end",
          type: "button",
          aria: { label: removeLabel ?? `Remove ${text}` },
          on: { click: onRemove },
        },
        icon("close"),
      ),
    );
  }
  return element;
}

/** Put chips into a list. */
export function chipList(chips, label) {
  return h(
    "ul",
    { class: "chips", aria: { label } },
    chips.map((each) => h("li", {}, each)),
  );
}
