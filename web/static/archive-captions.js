// Captions: propose one for each photo, look through them, accept the sure ones at once.

import { api } from "./api.js";
import { confirmed } from "./dialog.js";
import { button, debounce, h } from "./dom.js";
import { count, plural } from "./format.js";
import { jobPanel, sentence, watch } from "./jobs.js";
import { announce, guarded, toast, undoable } from "./notify.js";
import { progressBar } from "./progress.js";
import { captionQueue, reset } from "./archive-queue.js";
import { undoRun } from "./archive-runs.js";
import { scopeField } from "./archive-scope.js";

const PAGE = 1000;
const AT_ONCE = 4;

export function captionsPanel() {
  let total = null;
  let busy = false;
  let stop = null;
  const queue = captionQueue({ onLeft(left) { bulk.hidden = left < 2; none.hidden = left > 0 || !queue.element.hidden; } });

  // Propose.
  const own = h("textarea", { class: "field", rows: 5, placeholder: "A dog on a beach.\nA birthday cake with candles.", maxLength: 1_000_000 });
  const scope = scopeField({ onCount(photos) { total = photos; draw(); } });
  const run = button("Propose captions", { kind: "primary", onClick: propose });
  const problem = h("p", { class: "notice notice-error", role: "alert", hidden: true });
  const panel = jobPanel({
    kinds: ["alt-text"], label: "Choosing captions", stages: { labels: "Reading the sentences", tag: "Choosing captions" },
    onState(state) { busy = state; draw(); },
    onDone: () => guarded(async () => { await queue.load(); form.open = false; }),
    ending: ({ result }) => ({
      text: `${plural(result.proposed, "caption")} proposed for ${plural(result.photos, "photo")}${result.none_fits ? `; for ${plural(result.none_fits, "photo")} no sentence fits` : ""}.`,
      actions: [button("Undo", { icon: "undo", onClick: () => guarded(async () => {
        const { runs } = await api("/api/runs");
        if (!(await undoRun(runs.find((each) => each.id === result.run), runs))) return;
        panel.clear();
        await queue.load();
      }) })],
    }),
  });
  const form = h("details", { class: "card propose" }, h("summary", {}, h("h2", {}, "Propose captions")),
    h("div", { class: "stack" },
      h("p", { class: "muted" }, "Each photo gets the sentence that fits it best, from the shipped ones or from yours. Nothing becomes alt text before you accept it."),
      h("label", { class: "label" }, "Sentences, one a line; leave empty for the shipped ones", own), scope.element, problem, h("div", { class: "row" }, run)));

  // Accept at once.
  const least = h("input", { class: "field number bulk-least", type: "number", min: "0", max: "2", step: "0.005", value: "0.05" });
  const many = h("span", { class: "small muted number", role: "status" });
  const acceptAll = button("Accept them", { icon: "check", onClick: () => guarded(acceptSure) });
  const bulkBar = h("div", {});
  const bulk = h("details", { class: "card bulk", hidden: true }, h("summary", {}, h("h2", {}, "Accept the sure ones at once")),
    h("div", { class: "stack" }, h("div", { class: "row bulk-row" }, h("label", { class: "label" }, "Margin of at least", least), acceptAll, many), bulkBar));
  bulk.addEventListener("toggle", () => { if (bulk.open) guarded(countSure); });
  least.addEventListener("input", debounce(() => guarded(countSure), 200));

  const none = h("div", { class: "empty", hidden: true }, h("h2", {}, "Nothing waits for you"), h("p", { class: "muted" }, "Every proposed caption is decided, or none was proposed yet."),
    button("Propose captions", { onClick: () => { form.open = true; form.querySelector("summary").focus(); } }));
  const element = h("section", { class: "stack" }, panel.element, queue.element, none, bulk, form);

  function draw() {
    run.textContent = total ? `Propose captions for ${plural(total, "photo")}` : "Propose captions";
    run.disabled = busy || !total;
  }

  async function propose() {
    problem.hidden = true;
    const texts = own.value.split("\n").map((line) => line.trim()).filter(Boolean);
    try {
      await panel.start("/api/alt-text/propose", { ...(texts.length ? { texts } : {}), q: scope.query() });
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      problem.textContent = sentence(error.message);
      problem.hidden = false;
    }
  }

  const margin = () => Math.max(0, Math.min(2, Number(least.value) || 0));

  async function countSure() {
    const { total: sure } = await api("/api/alt-text/proposals", { query: { k: 1, min_margin: margin() } });
    many.textContent = sure ? `${plural(sure, "caption")}` : "None is so sure.";
    acceptAll.textContent = sure ? `Accept ${plural(sure, "caption")}` : "Accept them";
    acceptAll.disabled = !sure;
    many.hidden = sure > 0;
  }

  async function acceptSure() {
    const from = margin();
    const { proposals, total: sure } = await api("/api/alt-text/proposals", { query: { k: PAGE, min_margin: from } });
    const again = sure > proposals.length ? ` The first ${count(proposals.length)} of ${count(sure)} are taken now.` : "";
    if (!(await confirmed(`Accept ${plural(proposals.length, "caption")}?`, `They become alt text unread: every proposal that is at least ${from} ahead of the next best sentence.${again}`, { yes: `Accept ${count(proposals.length)}` }))) return;
    let stopped = false;
    const bar = progressBar("Accepting", { onStop: () => { stopped = true; } });
    bulkBar.replaceChildren(bar.element);
    acceptAll.disabled = true;
    const accepted = [];
    const open = [...proposals];
    const worker = async () => {
      for (let each = open.shift(); each && !stopped; each = open.shift()) {
        await api(`/api/photos/${each.photo_id}/alt-text`, { json: { accept: true } });
        accepted.push(each.photo_id);
        bar.update({ done: accepted.length, total: proposals.length });
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    } finally {
      bulkBar.replaceChildren();
      await queue.load();
      await countSure();
    }
    const says = `${plural(accepted.length, "caption")} accepted.`;
    announce(says);
    undoable(says, async () => {
      for (const id of accepted) await reset(id);
      await queue.load();
      await countSure();
      toast("They wait for a decision again.");
    });
  }

  draw();
  return {
    element,
    show(_, { first }) {
      if (!first) return;
      document.addEventListener("keydown", queue.onKey);
      stop = watch({ onJob: panel.onJob });
      scope.update();
      guarded(async () => {
        await queue.load();
        if (queue.element.hidden) form.open = true;
      });
    },
    hide() {
      document.removeEventListener("keydown", queue.onKey);
      stop?.();
      stop = null;
    },
  };
}
