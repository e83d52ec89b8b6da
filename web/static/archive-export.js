// Export: tags and alt text as files.

import { withQuery } from "./api.js";
import { h, icon } from "./dom.js";
import { plural } from "./format.js";
import { scopeField } from "./archive-scope.js";

const FORMS = [
  ["csv", "Table", "CSV: one line a photo, for spreadsheets and scripts."],
  ["json", "Data", "JSON: the same with scores and dates, for programs."],
  ["html", "Contact sheet", "HTML: one page with thumbnails, tags and alt text, to look at or to send."],
];

export function exportPanel() {
  const links = new Map(FORMS.map(([to, title]) => [to, h("a", { class: "button", role: "link", download: "", aria: { label: `Download: ${title} (${to.toUpperCase()})` } }, icon("external"), `Download ${to.toUpperCase()}`)]));
  const scope = scopeField({ onCount: update });
  const says = h("p", { class: "muted", role: "status" });

  function update(photos) {
    for (const [to, link] of links) {
      if (photos) link.href = withQuery("/api/export", { to, q: scope.query() });
      else link.removeAttribute("href");
      link.setAttribute("aria-disabled", String(!photos));
    }
    says.textContent = photos === 0 ? "There is nothing to export: no photo answers." : photos === null ? "" : `Tags and alt text of ${plural(photos, "photo")}.`;
  }

  update(null);
  return {
    element: h("section", { class: "stack export" }, scope.element, says,
      h("ul", { class: "export-forms" }, FORMS.map(([to, title, about]) =>
        h("li", { class: "card stack" }, h("h3", {}, title), h("p", { class: "muted small" }, about), h("div", {}, links.get(to))))),
      h("p", { class: "notice" }, "To write tags and alt text beside your photos as XMP sidecars, run ", h("code", {}, "clipsearch export --to xmp"),
        " in a terminal (with ", h("code", {}, "--dry-run"), " first, to see what it would write): this page never writes into your folders.")),
    show: (_, { first }) => { if (first) scope.update(); },
  };
}
