// Keys of the page, and the list of them that `?` shows.

import { h } from "./dom.js";
import { openDialog } from "./dialog.js";

const groups = new Map();

/** Name keys for the help: `describeKeys("Photo", [["←", "Previous photo"]])`. */
export function describeKeys(group, keys) {
  groups.set(group, keys);
}

/** Whether a key that was pressed is text for a field, or belongs to the browser. */
export function isTyping(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  return Boolean(
    event.target.closest?.(
      "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]",
    ),
  );
}

export function showKeys() {
  if (document.querySelector("dialog.keys-dialog")) return;
  const parts = [...groups].map(([group, keys]) =>
    h(
      "section",
      { class: "stack" },
      h("h3", {}, group),
      h(
        "dl",
        { class: "keys" },
        keys.flatMap(([key, does]) => [
          h(
            "dt",
            {},
            key.split(" ").map((each) => h("kbd", {}, each)),
          ),
          h("dd", {}, does),
        ]),
      ),
    ),
  );
  openDialog("Keys", ...parts, { class: "keys-dialog" });
}
