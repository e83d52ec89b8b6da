// Progress of long work: a bar, a sentence, and a way to stop.

import { button, h } from "./dom.js";

const UNITS = new Intl.NumberFormat();

/** Make a progress bar; `update({stage, done, total})`, total may be missing. */
export function progressBar(label, { onStop } = {}) {
  const bar = h("progress", { aria: { label } });
  const text = h("span", { class: "small muted number" }, label);
  const head = h("div", { class: "row" }, h("span", { class: "grow" }, text));
  if (onStop) head.append(button("Stop", { kind: "plain", onClick: onStop }));
  const element = h("div", { class: "progress" }, head, bar);
  return {
    element,
    update({ stage, done = 0, total = null, text: sentence } = {}) {
      if (total) {
        bar.max = total;
        bar.value = done;
      } else {
        bar.removeAttribute("value");
      }
      const counted = total
        ? `${UNITS.format(done)} of ${UNITS.format(total)}`
        : UNITS.format(done);
      text.textContent = sentence ?? [label, stage, counted].filter(Boolean).join(" · ");
    },
  };
}

/** Make a bar for a share from 0 to 1, with its meaning for screen readers. */
export function meter(share, label) {
  const fill = h("span");
  fill.style.setProperty("--value", String(Math.max(0, Math.min(1, share))));
  return h("span", { class: "meter", role: "img", aria: { label } }, fill);
}
