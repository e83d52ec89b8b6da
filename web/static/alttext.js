// The alt text of one photo: what is proposed, what was chosen, and a field to write it.

import { api } from "./api.js";
import { copy } from "./clipboard.js";
import { button, h } from "./dom.js";
import { guarded, toast, undoable } from "./notify.js";

const STATE = { accepted: "Accepted", edited: "Written by hand", file: "From the file itself" };

/** Return an editor for the alt text of a photo. */
export function altText(photo) {
  const element = h("div", { class: "stack" });
  let editing = false;

  async function decide(body, says) {
    const before = photo.alt_text;
    await guarded(async () => {
      const answer = await api(`/api/photos/${photo.id}/alt-text`, { json: body });
      Object.assign(photo, {
        alt_text: answer.alt_text,
        proposal: body.reject ? null : answer.proposal,
      });
      editing = false;
      draw();
      if (before && body.text !== undefined)
        undoable(says, () => decide({ text: before.text }, "The alt text is as before."));
      else toast(says);
    });
  }

  function form(text) {
    const field = h("textarea", {
      class: "field",
      maxLength: 1000,
      required: true,
      value: text,
      aria: { label: "Alt text" },
    });
    const made = h(
      "form",
      { class: "stack" },
      field,
      h(
        "div",
        { class: "row" },
        button("Save the text", { kind: "primary", type: "submit" }),
        button("Cancel", {
          onClick: () => {
            editing = false;
            draw();
          },
        }),
      ),
    );
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) decide({ text: field.value.trim() }, "The alt text is saved.");
    });
    return [made, () => field.focus()];
  }

  function draw() {
    const { alt_text: chosen, proposal } = photo;
    const edit = (label) =>
      button(label, {
        kind: "plain",
        icon: "edit",
        onClick: () => {
          editing = true;
          draw();
        },
      });
    if (editing) {
      const [made, focus] = form(chosen?.text ?? proposal?.text ?? "");
      element.replaceChildren(made);
      focus();
      return;
    }
    if (chosen) {
      element.replaceChildren(
        h("p", { class: "anywhere" }, chosen.text),
        h(
          "div",
          { class: "row" },
          h("span", { class: "muted small" }, STATE[chosen.state]),
          edit("Edit"),
          button("Copy", { kind: "plain", icon: "copy", onClick: () => copy(chosen.text) }),
        ),
      );
    } else if (proposal) {
      element.replaceChildren(
        h("p", { class: "alt-proposed anywhere" }, proposal.text),
        ...(proposal.fits
          ? []
          : [
              h(
                "p",
                { class: "small notice notice-warn" },
                "It does not fit well: nothing in the list of captions did.",
              ),
            ]),
        h(
          "div",
          { class: "row" },
          button("Accept", {
            icon: "check",
            onClick: () => decide({ accept: true }, "The alt text is accepted."),
          }),
          edit("Edit"),
          button("Reject", {
            kind: "plain",
            icon: "close",
            onClick: () =>
              decide({ reject: true }, "That caption is not proposed for this photo again."),
          }),
          button("Copy", { kind: "plain", icon: "copy", onClick: () => copy(proposal.text) }),
        ),
      );
    } else {
      element.replaceChildren(
        h(
          "p",
          { class: "muted small" },
          "None yet. Write one, or let the Archive view propose one for every photo.",
        ),
        h("div", { class: "row" }, edit("Write it")),
      );
    }
  }

  draw();
  return element;
}
