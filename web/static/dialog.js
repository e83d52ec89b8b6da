// Dialogs on the browser's own <dialog>: focus stays inside, Escape closes, focus returns.

import { button, h } from "./dom.js";

/**
 * Open a dialog with a title; returns `{element, body, close}`. The last argument may be options:
 * `class`, and `onClose`, which runs however it closes.
 */
export function openDialog(title, ...content) {
  const options = content.at(-1)?.constructor === Object ? content.pop() : {};
  const element = h("dialog", {
    class: `dialog ${options.class ?? ""}`.trim(),
    aria: { label: title },
  });
  const close = () => element.close();
  const body = h(
    "div",
    { class: "dialog-body" },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", {}, title),
      button(null, { kind: "icon", icon: "close", label: "Close", onClick: close }),
    ),
    ...content,
  );
  element.append(body);
  element.addEventListener("click", (event) => {
    if (event.target === element) close();
  });
  element.addEventListener("close", () => {
    options.onClose?.();
    rescue(element);
    element.remove();
  });
  document.body.append(element);
  element.showModal();
  return { element, body, close };
}

/** Ask yes or no; resolves to true only for yes. */
export function confirmed(title, text, { yes = "OK", danger = false } = {}) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = openDialog(
      title,
      h("p", {}, text),
      h(
        "div",
        { class: "dialog-foot" },
        button("Cancel", { onClick: () => dialog.close() }),
        button(yes, {
          kind: danger ? "danger" : "primary",
          onClick: () => {
            answer = true;
            dialog.close();
          },
        }),
      ),
      { onClose: () => resolve(answer) },
    );
  });
}

/** Ask for one line of text; resolves to it, or to null. */
export function asked(title, { label, value = "", yes = "Save", hint } = {}) {
  return new Promise((resolve) => {
    let answer = null;
    const input = h("input", { class: "field", value, required: true, maxLength: 200 });
    const form = h(
      "form",
      { class: "stack", method: "dialog" },
      h("label", { class: "label" }, label ?? title, input),
      hint ? h("p", { class: "small muted" }, hint) : null,
      h(
        "div",
        { class: "dialog-foot" },
        h("button", { class: "button button-primary", type: "submit" }, yes),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = input.value.trim() || null;
      dialog.close();
    });
    const dialog = openDialog(title, form, { onClose: () => resolve(answer) });
    input.focus();
  });
}

/** Keep toasts and announcements, which live in the topmost dialog, when that one goes. */
export function rescue(dialog) {
  for (const id of ["toasts", "announcer"]) {
    const region = dialog.querySelector(`#${id}`);
    if (region) document.body.append(region);
  }
}
