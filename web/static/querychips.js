// The chips of the whole search: its terms and filters, a picture, photos that were liked or not.

import { thumbnailUrl } from "./api.js";
import { ask, select, setText } from "./box.js";
import { byId, h, icon } from "./dom.js";
import { pictures } from "./results.js";
import * as router from "./router.js";
import { pictureChip } from "./states.js";
import { termChips } from "./terms.js";
import { feedback } from "./tile.js";

/** Show the chips of a query that may still be in the making. */
export function showChips(list, query, { onPreview }) {
  const state = router.state();
  const chips = termChips(query, {
    onSelect: select,
    onChange(text, { final, slid }) {
      setText(text);
      if (final)
        ask(
          text,
          { like: state.like, unlike: state.unlike, picture: state.picture, cut: state.cut },
          { replace: slid },
        );
      else onPreview(text);
    },
  });
  if (state.picture && pictures.has(state.picture))
    chips.unshift(pictureChip(pictures.get(state.picture), () => router.change({ picture: null })));
  for (const [name, kind, says] of [
    ["like", "plus", "more like this"],
    ["unlike", "minus", "less like this"],
  ]) {
    for (const id of (state[name] ?? "").split(",").filter(Boolean)) {
      chips.push(
        h(
          "li",
          { class: `chip chip-${kind}` },
          h(
            "span",
            { class: "chip-text" },
            h("img", { class: "chip-photo", src: thumbnailUrl(id, 160), alt: `Photo ${id}` }),
            says,
          ),
          h(
            "button",
            {
              class: "chip-end",
              type: "button",
              aria: { label: `Forget: ${says}` },
              on: { click: () => feedback(name, name === "like" ? "unlike" : "like", { id }) },
            },
            icon("close"),
          ),
        ),
      );
    }
  }
  // A key that changed a chip finds its control again in the chip's place.
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const at = held ? [...list.children].indexOf(held.closest("li")) : -1;
  const kind = held?.matches("input") ? "input" : `.${held?.classList[0]}`;
  list.replaceChildren(...chips);
  list.hidden = !chips.length;
  if (held)
    (list.children[Math.min(at, chips.length - 1)]?.querySelector(kind) ?? byId("query")).focus();
}
