// Tag the library: labels, a preview on a sample, the run, and what came of it.

import { api } from "./api.js";
import { button, h } from "./dom.js";
import { plural } from "./format.js";
import { forget } from "./complete.js";
import { jobPanel, sentence, watch } from "./jobs.js";
import { guarded, toast } from "./notify.js";
import { progressBar } from "./progress.js";
import * as router from "./router.js";
import { noPreview, previewOf } from "./archive-preview.js";
import { undoRun } from "./archive-runs.js";
import { scopeField } from "./archive-scope.js";
import { vocabularyField } from "./archive-vocabulary.js";

const SAMPLE = 60;

export function tagPanel() {
  const vocabulary = vocabularyField({ onChange: stale });
  const scope = scopeField({ onCount(photos) { total = photos; stale(); } });
  const previewButton = button("Preview on a sample", { icon: "search", onClick: preview });
  const runButton = button("Tag the photos", { kind: "primary", icon: "tag", onClick: run });
  const panel = jobPanel({ kinds: ["tag"], label: "Tagging", stages: { labels: "Reading the labels", tag: "Tagging" }, ending, onState(state) { busy = state; draw(); }, onDone() { forget(); } });
  const old = h("p", { class: "small muted", hidden: true }, "Of the labels and photos before your last change.");
  const waiting = progressBar("Looking at the sample…");
  waiting.element.hidden = true;
  const head = h("div", { class: "preview-head" }, h("h2", {}, "Preview"), old, waiting.element);
  const sample = h("section", { class: "card preview", aria: { label: "Preview", busy: "false" } }, head, noPreview());
  const element = h("section", { class: "tagging" },
    h("div", { class: "stack" }, vocabulary.element,
      h("div", { class: "card stack" }, scope.element, h("div", { class: "row" }, previewButton, runButton), panel.element)),
    sample);
  let previewed = false;
  let total = null;
  let busy = false;
  let previewing = false;
  let stop = null;

  function draw() {
    const ready = total > 0 && !vocabulary.isEmpty();
    runButton.lastChild.textContent = total ? `Tag ${plural(total, "photo")}` : "Tag the photos";
    runButton.disabled = busy || !ready;
    previewButton.disabled = previewing || !ready;
  }

  /** The preview on the page is of other labels or photos now. */
  function stale() {
    old.hidden = !previewed;
    draw();
  }

  async function preview() {
    previewing = true;
    sample.setAttribute("aria-busy", "true");
    waiting.element.hidden = false;
    old.hidden = true;
    vocabulary.showError(null);
    draw();
    try {
      const answer = await api("/api/tag/preview", { json: { vocabulary: vocabulary.text(), q: scope.query(), sample: SAMPLE } });
      sample.replaceChildren(head, previewOf(answer, { open: vocabulary.isOwn() }));
      previewed = true;
    } catch (error) {
      old.hidden = !previewed;
      refused(error);
    } finally {
      previewing = false;
      waiting.element.hidden = true;
      sample.setAttribute("aria-busy", "false");
      draw();
      if (document.activeElement === document.body) previewButton.focus({ preventScroll: true });
    }
  }

  async function run() {
    vocabulary.showError(null);
    try {
      await panel.start("/api/tag", { vocabulary: vocabulary.text(), q: scope.query() });
    } catch (error) {
      refused(error);
    }
  }

  function refused(error) {
    if (error.name !== "ApiError") throw error;
    if (error.status === 400 && error.position === undefined) vocabulary.showError(error.message);
    else toast(sentence(error.message), { kind: "error" });
  }

  function ending({ result }) {
    const undo = button("Undo", { icon: "undo", onClick: () => guarded(async () => {
      const { runs } = await api("/api/runs");
      if (!(await undoRun(runs.find((each) => each.id === result.run), runs))) return;
      forget();
      panel.clear();
      runButton.focus();
    }) });
    return {
      text: `${plural(result.tags, "tag")} on ${plural(result.photos, "photo")}, with ${plural(result.labels, "label")}.`,
      actions: [h("a", { class: "button", href: router.href({ view: "archive", tab: "review" }), data: { route: "" } }, "Review them"), undo],
    };
  }

  draw();
  return {
    element,
    show(_, { first }) {
      if (!first) return;
      vocabulary.load();
      scope.update();
      stop = watch({ onJob: panel.onJob });
    },
    hide() {
      stop?.();
      stop = null;
    },
  };
}
