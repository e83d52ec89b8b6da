// Tags of one photo: add with completion, remove, undo.

import { api } from "./api.js";
import { narrowed } from "./box.js";
import { chip } from "./chips.js";
import { Completer, forget, tagCounts } from "./complete.js";
import { button, h } from "./dom.js";
import { percent } from "./format.js";
import { guarded, undoable } from "./notify.js";
import { filterText } from "./query.js";

const ORIGIN = {
  hand: "given by hand",
  file: "from the file itself",
  run: "proposed by the model",
};

/** Return an editor for the tags of a photo. */
export function tagEditor(photo) {
  const list = h("ul", { class: "chips", aria: { label: "Tags" } });
  const input = h("input", {
    class: "field",
    placeholder: "Add a tag",
    maxLength: 200,
    autocomplete: "off",
    role: "combobox",
    aria: {
      label: "Add a tag",
      autocomplete: "list",
      expanded: "false",
      controls: "tag-completions",
    },
  });
  const options = h("ul", {
    class: "completions",
    id: "tag-completions",
    role: "listbox",
    hidden: true,
    aria: { label: "Tags of this library" },
  });
  const form = h("form", { class: "tag-form" }, input, options, button("Add", { type: "submit" }));
  let tags = photo.tags;

  const draw = () =>
    list.replaceChildren(
      ...(tags.length
        ? tags.map((tag) =>
            h(
              "li",
              {},
              chip(tag.label, {
                icon: "tag",
                href: narrowed(filterText("tag", tag.label)),
                onRemove: () => change({ remove: [tag.label] }, `“${tag.label}” is removed.`),
                title: `${ORIGIN[tag.origin]}${tag.score === null ? "" : `, ${percent(tag.score)}`}`,
              }),
            ),
          )
        : [h("li", { class: "muted small" }, "None yet.")]),
    );

  async function edit(changes) {
    ({ tags } = await api(`/api/photos/${photo.id}/tags`, { json: changes }));
    photo.tags = tags;
    forget();
    draw();
  }

  async function change(changes, says) {
    const before = tags;
    const touched = [...(changes.add ?? []), ...(changes.remove ?? [])];
    await guarded(async () => {
      await edit(changes);
      // What was there by hand is put back by hand; all else is given back to file and runs.
      const byHand = before
        .filter((tag) => tag.origin === "hand" && touched.includes(tag.label))
        .map((tag) => tag.label);
      undoable(says, () =>
        edit({ add: byHand, reset: touched.filter((label) => !byHand.includes(label)) }),
      );
    });
  }

  const add = async (label) => {
    input.value = "";
    if (label && !tags.some((tag) => tag.label === label))
      await change({ add: [label] }, `“${label}” is added.`);
  };
  new Completer(input, options, {
    wordOf: (field) => ({ start: 0, text: field.value.trim() }),
    offer: async (text) =>
      (await tagCounts())
        .filter((tag) => tag.value.toLowerCase().includes(text.toLowerCase()))
        .slice(0, 8)
        .map((tag) => ({ text: tag.value, label: tag.value, count: tag.count })),
    pick: (choice) => add(choice.text),
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add(input.value.trim().replace(/\s+/g, " "));
  });
  draw();
  return h("div", { class: "stack" }, list, form);
}
