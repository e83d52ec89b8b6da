// Runs: what was done to the whole library, and how to take it back.

import { api } from "./api.js";
import { confirmed } from "./dialog.js";
import { button, h, icon } from "./dom.js";
import { count, plural } from "./format.js";
import { watch } from "./jobs.js";
import { guarded, toast } from "./notify.js";
import * as router from "./router.js";

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const KINDS = {
  tag: { title: "Tags", icon: "tag", results: (number) => plural(number, "tag") },
  caption: { title: "Captions", icon: "edit", results: (number) => plural(number, "caption") },
  export: { title: "Sidecars", icon: "copy", results: (number) => plural(number, "file") },
};

/** Take a run back, after a question where later work rests on it; resolves to true if it was. */
export async function undoRun(run, runs) {
  const later = runs.filter((each) => !each.undone && each.id > run.id && each.kind === run.kind);
  const question = whyAsk(run, later);
  if (question && !(await confirmed(`Undo run ${run.id}?`, question, { yes: `Undo run ${run.id}`, danger: true }))) return false;
  const { skipped } = await api(`/api/runs/${run.id}/undo`, { method: "POST" });
  toast(skipped.length ? `Run ${run.id} is undone, but ${plural(skipped.length, "file")} that others changed since stayed.` : `Run ${run.id} is undone.`);
  return true;
}

function whyAsk(run, later) {
  if (run.kind === "export") return `${plural(run.results, "sidecar file")} beside your photos become again what they were before. Files that others changed since stay as they are.`;
  if (!later.length) return null;
  const names = later.map((each) => each.id).sort((a, b) => a - b).join(", ");
  return `${later.length === 1 ? `Run ${names} came` : `Runs ${names} came`} later and may rest on it. Only what run ${run.id} alone decided goes; what later runs and your own hand decided stays.`;
}

export function runsPanel() {
  const list = h("ol", { class: "runs" });
  const about = h("p", { class: "muted" }, "Each pass over the library is kept as a run. Undo takes back what it did; what you decided by hand stays.");
  const none = h("div", { class: "empty", hidden: true }, h("h2", {}, "No runs yet"), h("p", { class: "muted" }, "When you tag the library or propose captions, each pass is listed here and can be taken back."),
    h("a", { class: "button button-primary", href: router.href({ view: "archive" }), data: { route: "" } }, "Tag the library"));
  const element = h("section", { class: "stack" }, about, list, none);
  let stop = null;
  let drawn = "";

  const refresh = () => guarded(async () => {
    const { runs } = await api("/api/runs");
    if (JSON.stringify(runs) === drawn) return;
    drawn = JSON.stringify(runs);
    none.hidden = runs.length > 0;
    about.hidden = !runs.length;
    list.replaceChildren(...runs.map((run) => row(run, runs)));
  });

  function row(run, runs) {
    const kind = KINDS[run.kind] ?? { title: run.kind, icon: "info", results: count };
    const act = run.undone
      ? h("span", { class: "muted small run-undone" }, "Undone")
      : button("Undo", { icon: "undo", aria: { label: `Undo run ${run.id}, ${kind.title}, ${run.source}` }, onClick: (event) => guarded(async () => {
        const { currentTarget } = event;
        currentTarget.disabled = true;
        if (await undoRun(run, runs).finally(() => { currentTarget.disabled = false; })) {
          await refresh();
          list.querySelector(`[data-run="${run.id}"]`)?.focus();
        }
      }) });
    return h("li", { class: run.undone ? "run card run-gone" : "run card", tabIndex: -1, data: { run: run.id } },
      h("span", { class: "run-icon" }, icon(kind.icon)),
      h("div", { class: "grow" },
        h("h3", { class: "anywhere" }, `${kind.title}: ${run.source}`),
        h("p", { class: "muted small number" }, `Run ${run.id} · `, h("time", { dateTime: run.made_at }, MOMENT.format(new Date(run.made_at))), ` · ${run.model}`),
        h("p", { class: "small number" }, `${kind.results(run.results)} on ${plural(run.photos, "photo")}`)),
      act);
  }

  return {
    element,
    show(_, { first }) {
      if (!first) return;
      refresh();
      stop = watch({ onLibrary: refresh });
    },
    hide() {
      stop?.();
      stop = null;
    },
  };
}
