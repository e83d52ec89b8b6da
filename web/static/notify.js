// Short messages: toasts that people see, announcements that screen readers say.

import { byId, h } from "./dom.js";

const SHOWN_MS = 6000;
const WITH_ACTION_MS = 10000;

/**
 * Show a message; `action` is `{label, run}`, `kind` may be "error". Returns a function that hides
 * it.
 */
export function toast(text, { action, kind } = {}) {
  const region = byId("toasts");
  // A modal dialog makes all outside of it inert, so the toasts move into the topmost one.
  ([...document.querySelectorAll("dialog[open]")].pop() ?? document.body).append(region);
  const note = h(
    "div",
    {
      class: kind === "error" ? "toast toast-error" : "toast",
      role: kind === "error" ? "alert" : "status",
    },
    h("span", {}, text),
  );
  let timer;
  const hide = () => {
    clearTimeout(timer);
    note.remove();
  };
  if (action)
    note.append(
      h(
        "button",
        {
          type: "button",
          on: {
            click: () => {
              hide();
              action.run();
            },
          },
        },
        action.label,
      ),
    );
  note.append(
    h("button", { type: "button", aria: { label: "Close the message" }, on: { click: hide } }, "×"),
  );
  region.append(note);
  while (region.children.length > 3) region.firstElementChild.remove();
  const later = () => {
    timer = setTimeout(hide, action ? WITH_ACTION_MS : SHOWN_MS);
  };
  note.addEventListener("pointerenter", () => clearTimeout(timer));
  note.addEventListener("pointerleave", later);
  later();
  return hide;
}

/** Say that something was done, with a button that takes it back. */
export function undoable(text, undo) {
  return toast(text, { action: { label: "Undo", run: () => guarded(undo) } });
}

/** Run `work` and show its error, if there is one; returns what it returns. */
export async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    toast(error.message, { kind: "error" });
    if (error.name !== "ApiError") console.error(error);
    return undefined;
  }
}

/** Say something to screen readers only. */
export function announce(text) {
  const region = byId("announcer");
  ([...document.querySelectorAll("dialog[open]")].pop() ?? document.body).append(region);
  region.textContent = text;
}
