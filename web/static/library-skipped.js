// Files that were not indexed, grouped by the reason.

import { api } from "./api.js";
import { button, h } from "./dom.js";
import { count, plural } from "./format.js";
import { sentence } from "./jobs.js";
import { guarded } from "./notify.js";

const PAGE = 1000;
const MOST = 20_000;
const FIRST = 50;

/** Make the card; `load(number)` reads the list again where the number of files has changed. */
export function skippedCard() {
  const number = h("span", { class: "muted number" });
  const filter = h("input", { class: "field", type: "search", placeholder: "Find in paths and reasons", aria: { label: "Find in skipped files" }, on: { input: () => draw() } });
  const says = h("p", { class: "muted small number", role: "status" });
  const groups = h("div", { class: "stack skipped-groups" });
  const body = h("div", { class: "stack" }, filter, says, groups);
  const fine = h("p", { class: "muted" }, "No file was skipped.");
  const element = h("section", { class: "card stack", aria: { label: "Skipped files" } }, h("div", { class: "row" }, h("h2", { class: "grow" }, "Skipped files"), number), fine, body);
  const opened = new Set();
  let files = [];

  async function load() {
    const read = [];
    let total = 0;
    do {
      const answer = await api("/api/skipped", { query: { k: PAGE, offset: read.length } });
      ({ total } = answer);
      read.push(...answer.skipped);
      if (!answer.skipped.length) break;
    } while (read.length < Math.min(total, MOST));
    files = read;
    number.textContent = count(total);
    fine.hidden = total > 0;
    body.hidden = !total;
    draw(total);
  }

  function draw(total = files.length) {
    const wanted = filter.value.trim().toLowerCase();
    const found = wanted ? files.filter(({ path, reason }) => `${path}\n${reason}`.toLowerCase().includes(wanted)) : files;
    const byReason = Map.groupBy ? Map.groupBy(found, ({ reason }) => reason) : grouped(found);
    const ordered = [...byReason].sort((a, b) => b[1].length - a[1].length || a[0].localeCompare(b[0]));
    says.textContent = wanted ? `${plural(found.length, "file")} of ${count(files.length)}` : total > files.length ? `The first ${count(files.length)} of ${count(total)}` : "";
    says.hidden = !says.textContent;
    groups.replaceChildren(...ordered.map(([reason, each]) => group(reason, each, Boolean(wanted) && ordered.length <= 5)));
    if (!found.length && files.length) groups.append(h("p", { class: "muted" }, "No skipped file has these letters."));
  }

  function group(reason, each, open) {
    const list = h("ul", { class: "skipped-list small" });
    const made = h("details", { class: "skipped-group", open: open || opened.has(reason) },
      h("summary", {}, h("span", { class: "grow anywhere" }, sentence(reason)), h("span", { class: "muted small number" }, plural(each.length, "file"))), list);
    let shown = 0;
    const fill = () => {
      const items = each.slice(shown, shown + (shown ? PAGE : FIRST)).map(({ path }) => h("li", { class: "anywhere" }, path));
      shown += items.length;
      list.append(...items);
      if (shown < each.length) {
        const more = button(`Show ${plural(Math.min(PAGE, each.length - shown), "more file")}`, { kind: "plain", onClick: () => { more.parentElement.remove(); fill(); } });
        list.append(h("li", {}, more));
      }
    };
    made.addEventListener("toggle", () => {
      if (made.open) opened.add(reason);
      else opened.delete(reason);
      if (made.open && !shown) fill();
    });
    if (made.open) fill();
    return made;
  }

  return { element, load: () => guarded(load) };
}

function grouped(files) {
  const found = new Map();
  for (const file of files) found.set(file.reason, [...(found.get(file.reason) ?? []), file]);
  return found;
}
