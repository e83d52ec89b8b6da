// Models: what they cost, how good they are, and the switch to another one.

import { api } from "./api.js";
import { confirmed } from "./dialog.js";
import { button, h } from "./dom.js";
import { count, plural } from "./format.js";
import { jobPanel, sentence } from "./jobs.js";
import { guarded, toast } from "./notify.js";

export function modelsCard({ onState, onDone }) {
  const body = h("tbody");
  const about = h("p", { class: "muted small" }, "COCO R@1: how often the right photo comes first for a caption, of 5,000 photos. ImageNet: how often the right one of 1,000 labels does. Percent, as their authors measured it; more parameters take longer to look at photos.");
  const table = h("table", { class: "models" },
    h("caption", { class: "visually-hidden" }, "Models"),
    h("thead", {}, h("tr", {}, ["Model", "Parameters", "Pixels", "Dimensions", "COCO R@1", "ImageNet", "Licence"].map((text, index) => h("th", { scope: "col", class: index && index < 6 ? "figure" : "" }, text)), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Use")))),
    body);
  const panel = jobPanel({ kinds: ["model"], label: "Switching the model", stages: { walk: "Looking through the folders", embed: "Looking at photos" }, onState, onDone,
    ending: ({ result }) => ({ text: `${result.model} answers searches now; ${plural(result.embedded, "photo")} were looked at.`, notes: result.notices }) });
  const element = h("section", { class: "card stack", aria: { label: "Models" } }, h("h2", {}, "Models"), panel.element, h("div", { class: "table-scroll", tabIndex: 0, role: "group", aria: { label: "Table of models" } }, table), about);
  let busy = false;

  async function load({ photos }) {
    const { in_use: inUse, kept, models } = await api("/api/models");
    const listed = new Set(models.map(({ name }) => name));
    const others = [...new Set([...(inUse ? [inUse] : []), ...kept])].filter((name) => !listed.has(name)).map((name) => ({ name, note: "in this library, but not in the list that ships with clipsearch" }));
    body.replaceChildren(...[...models, ...others].map((model) => row(model, { inUse, kept, photos })));
  }

  function row(model, { inUse, kept, photos }) {
    const figure = (title, value, unit = "") => h("td", { class: "figure number", data: { title } }, value === null || value === undefined ? h("span", { class: "muted" }, "–") : `${value}${unit}`);
    const used = model.name === inUse;
    const here = kept.includes(model.name);
    const act = used
      ? h("span", { class: "model-used" }, "In use")
      : button("Use", { disabled: busy, aria: { label: `Use ${model.name}` }, onClick: () => guarded(() => use(model, { here, photos, inUse })) });
    return h("tr", { class: used ? "model-row-used" : "", aria: { current: used ? "true" : null } },
      h("th", { scope: "row" }, h("span", { class: "anywhere" }, model.name), h("span", { class: "muted small model-note" }, noted([model.note, here && !used ? "its vectors are kept" : null].filter(Boolean).join("; ")))),
      figure("Parameters", model.parameters, " M"), figure("Pixels", model.image_size), figure("Dimensions", model.dimensions),
      figure("COCO R@1", model.coco_text_to_image_r1?.toFixed(1)), figure("ImageNet", model.imagenet_zero_shot?.toFixed(1)),
      h("td", { class: "small", data: { title: "Licence" } }, model.licence ?? "–"), h("td", { class: "model-act" }, act));
  }

  async function use(model, { here, photos, inUse }) {
    const size = model.parameters ? ` of ${count(model.parameters)} million parameters` : "";
    const cost = here
      ? `Its vectors are kept, so only photos that came since are looked at again.`
      : `All ${plural(photos, "photo")} are looked at again by a model${size}: on a processor without a graphics card, minutes for thousands of photos, more for larger models. Its weights must be on this computer, or are loaded once.`;
    const stays = `Searches are answered by ${inUse ?? "the present model"} until it is done, and its vectors are kept. Tags and alt text stay.`;
    if (!(await confirmed(`Use ${model.name}?`, `${cost} ${stays}`, { yes: "Switch the model" }))) return;
    try {
      await panel.start("/api/models/use", { name: model.name });
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      toast(sentence(error.message), { kind: "error" });
    }
  }

  return {
    element,
    onJob: panel.onJob,
    load: (status) => guarded(() => load(status)),
    setBusy(state) {
      busy = state;
      for (const each of body.querySelectorAll("button")) each.disabled = state;
    },
  };
}

/** Show what stands between backquotes as code. */
function noted(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}
