// The explainer: put labels to the open photo, and see what the model makes of them.

import { api } from "./api.js";
import { chip } from "./chips.js";
import { button, debounce, h } from "./dom.js";
import { percent } from "./format.js";
import { LESSONS } from "./lessons.js";
import { announce } from "./notify.js";
import { parse } from "./query.js";
import * as router from "./router.js";
import { signed } from "./why.js";

const BACKGROUND = "something else";
const COLDEST = 0.001;
const HOTTEST = 2;
const STEPS = 400;
const MOST = 30;

const ADVICE = {
  "near-synonyms": "They split between them what one alone would get: keep one.",
  "no-background": "Tick “something else”, and look at the sentence above.",
};

// What is typed for one photo stays for the next: comparing photos is how one learns.
const kept = { labels: null, background: true, template: "", temperature: null, templates: [] };

/**
 * Return probabilities for cosines: the softmax of cosine / temperature (CLIP: Radford et al. 2021,
 * section 3.1.2), or with a bias a sigmoid for each (SigLIP: Zhai et al. 2023, section 3.2).
 */
export function probabilities(cosines, temperature, bias = null) {
  const logits = cosines.map((cosine) => cosine / temperature);
  if (bias !== null) return logits.map((logit) => 1 / (1 + Math.exp(-(logit + bias))));
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Return the explainer for a photo. */
export function explainer(photo) {
  kept.labels ??= firstLabels();
  const list = h("ul", { class: "chips", aria: { label: "Labels" } });
  const input = h("input", {
    class: "field",
    placeholder: "dog, a cup of tea, …",
    maxLength: 500,
    aria: { label: "Add labels" },
  });
  const form = h("form", { class: "tag-form" }, input, button("Add", { type: "submit" }));
  const background = h("input", { type: "checkbox", checked: kept.background });
  const template = h("select", { class: "field" });
  const own = h("input", {
    class: "field",
    placeholder: "a drawing of a {}",
    maxLength: 300,
    aria: { label: "Template of your own" },
    hidden: true,
  });
  const heat = h("input", { type: "range", class: "heat", min: 0, max: STEPS, step: 1 });
  const heatValue = h("output", { class: "number" });
  const mark = h("span", { class: "heat-mark", aria: { hidden: "true" } });
  const reset = button("The model’s own", {
    kind: "plain",
    onClick: () => {
      kept.temperature = null;
      drawBars();
    },
  });
  const verdict = h("p", { class: "small", role: "status" });
  const rows = h("tbody");
  const warnings = h("div", { class: "stack" });
  const table = h(
    "table",
    { class: "scores" },
    h("caption", { class: "visually-hidden" }, "Cosine and probability of each label"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Label"),
        h("th", { scope: "col" }, "Cosine"),
        h("th", { scope: "col" }, "Share"),
      ),
    ),
    rows,
  );
  let found = null;
  let stop = null;

  const labels = () => [
    ...kept.labels,
    ...(kept.background && !kept.labels.includes(BACKGROUND) ? [BACKGROUND] : []),
  ];

  async function ask() {
    stop?.abort();
    stop = new AbortController();
    if (labels().length < 2) {
      found = null;
      rows.replaceChildren();
      warnings.replaceChildren();
      verdict.textContent = "Give at least two labels: a share is always a share among several.";
      return;
    }
    table.classList.add("waiting");
    try {
      found = await api("/api/classify", {
        json: {
          photo: photo.id,
          labels: labels(),
          ...(kept.template ? { template: kept.template } : {}),
        },
        signal: stop.signal,
      });
    } catch (error) {
      if (error.name === "AbortError") return;
      verdict.textContent = error.message;
      return;
    } finally {
      table.classList.remove("waiting");
    }
    if (!kept.template) kept.templates = found.templates;
    drawTemplates();
    drawWarnings();
    drawBars();
    announce(`${found.labels[0].label} has the highest cosine, ${signed(found.labels[0].cosine)}.`);
  }

  function drawLabels() {
    list.replaceChildren(
      ...kept.labels.map((label) =>
        h(
          "li",
          {},
          chip(label, {
            onRemove: () => {
              kept.labels = kept.labels.filter((each) => each !== label);
              drawLabels();
              ask();
            },
          }),
        ),
      ),
    );
  }

  function drawTemplates() {
    const options = [
      ["", `${kept.templates.length || "Several"} templates, averaged`],
      ["{}", "{} – the label alone"],
      ...kept.templates.map((each) => [each, each]),
    ];
    const custom = kept.template && !options.some(([value]) => value === kept.template);
    template.replaceChildren(
      ...options.map(([value, text]) => h("option", { value }, text)),
      h("option", { value: "own" }, "One of your own…"),
    );
    template.value = custom || !own.hidden ? "own" : kept.template;
    if (custom) own.value = kept.template;
    own.hidden = template.value !== "own";
  }

  function drawWarnings() {
    const outside = found.warnings.filter((each) => !each.labels.includes(BACKGROUND));
    warnings.replaceChildren(
      ...outside.map((each) =>
        h(
          "p",
          { class: "notice notice-warn small", data: { kind: each.kind } },
          `${capital(each.message)}. ${ADVICE[each.kind] ?? `${capital(each.fix)}.`}`,
        ),
      ),
    );
  }

  function drawBars() {
    if (!found) return;
    const ownTemperature = 1 / found.logit_scale;
    const temperature = kept.temperature ?? ownTemperature;
    heat.value = String(step(temperature));
    heat.setAttribute("aria-valuetext", temperature.toPrecision(2));
    heatValue.textContent = temperature.toPrecision(2);
    mark.style.left = `${(step(ownTemperature) / STEPS) * 100}%`;
    reset.disabled = kept.temperature === null;
    const cosines = found.labels.map((each) => each.cosine);
    const shares = probabilities(cosines, temperature, found.logit_bias ?? null);
    rows.replaceChildren(
      ...found.labels.map((each, index) =>
        h(
          "tr",
          { class: each.label === BACKGROUND ? "muted" : "" },
          h("th", { scope: "row", class: "anywhere" }, each.label),
          h(
            "td",
            {},
            h("span", { class: "number small" }, signed(each.cosine)),
            bar(Math.max(0, each.cosine), "cosine"),
          ),
          h(
            "td",
            {},
            h("span", { class: "number small" }, percent(shares[index])),
            bar(shares[index], "share"),
          ),
        ),
      ),
    );
    verdict.textContent = found.fits
      ? `The best label fits this photo better than neutral sentences such as “a photo of something” do.`
      : "No label fits this photo better than a neutral sentence does. The shares still add up to 100%: they say which label is the least wrong.";
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const added = input.value
      .split(",")
      .map((each) => each.trim().replace(/\s+/g, " "))
      .filter(Boolean);
    if (!added.length) return;
    kept.labels = [...new Set([...kept.labels, ...added])].slice(0, MOST);
    input.value = "";
    drawLabels();
    ask();
  });
  background.addEventListener("change", () => {
    kept.background = background.checked;
    ask();
  });
  template.addEventListener("change", () => {
    own.hidden = template.value !== "own";
    if (own.hidden) {
      kept.template = template.value;
      ask();
    } else {
      own.focus();
    }
  });
  own.addEventListener(
    "input",
    debounce(() => {
      if (own.value.split("{}").length !== 2) {
        verdict.textContent = "Write {} once in the template: the label goes there.";
        return;
      }
      kept.template = own.value;
      ask();
    }, 400),
  );
  heat.addEventListener("input", () => {
    kept.temperature = warmth(Number(heat.value));
    drawBars();
  });

  drawLabels();
  drawTemplates();
  ask();
  return h(
    "div",
    { class: "explainer" },
    h(
      "p",
      { class: "muted small" },
      "The model turns the photo and each label into a direction. It knows nothing but how close they are: put it to the test.",
    ),
    h(
      "div",
      { class: "stack" },
      list,
      form,
      h(
        "label",
        { class: "row small check" },
        background,
        `With “${BACKGROUND}”, a way to say none of these`,
      ),
    ),
    table,
    verdict,
    warnings,
    h("label", { class: "label" }, "Template: the sentence around each label", template),
    own,
    h(
      "div",
      { class: "stack" },
      h(
        "div",
        { class: "row small" },
        h("label", { class: "grow", htmlFor: "heat" }, "Temperature ", heatValue),
        reset,
      ),
      h("div", { class: "heat-track" }, Object.assign(heat, { id: "heat" }), mark),
      h(
        "div",
        { class: "row small muted" },
        h("span", { class: "grow" }, "cold: the best takes all"),
        h("span", {}, "hot: all the same"),
      ),
    ),
    h(
      "div",
      { class: "lessons" },
      LESSONS.map(([name, ...texts]) =>
        h(
          "details",
          {},
          h("summary", {}, name),
          texts.map((text) => h("p", { class: "small" }, text)),
        ),
      ),
    ),
  );
}

function firstLabels() {
  const asked = (parse(router.state().q ?? "") ?? [])
    .filter((part) => part.type === "text" && part.weight > 0)
    .map((part) => part.value);
  return [...new Set([...asked, "a person", "an animal", "a building", "food"])];
}

function bar(share, kind) {
  const fill = h("span");
  fill.style.setProperty("--value", String(share));
  return h("span", { class: `meter meter-${kind}`, aria: { hidden: "true" } }, fill);
}

function step(temperature) {
  const place = Math.log(temperature / COLDEST) / Math.log(HOTTEST / COLDEST);
  return Math.round(Math.max(0, Math.min(1, place)) * STEPS);
}

function warmth(place) {
  return COLDEST * (HOTTEST / COLDEST) ** (place / STEPS);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
