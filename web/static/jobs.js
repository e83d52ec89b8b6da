// Long work on the server: start it, follow it live, and show how far it is and how it ended.

import { api, follow } from "./api.js";
import { button, h } from "./dom.js";
import { count, plural } from "./format.js";
import { announce } from "./notify.js";
import { progressBar } from "./progress.js";

const POLL_MS = 2000;
const RATE_MS = 15000;
const ENDED = new Set(["done", "failed"]);

const watchers = new Set();
const known = new Map();
const mine = new Set();
let stopStream = null;
let polling = null;

/**
 * Follow the jobs of the server and changes of the library until the function it returns is called.
 *
 * `onJob(job)` is told of every step, `onLibrary({revision, described})` of changes by anybody,
 * other processes included.
 */
export function watch({ onJob, onLibrary }) {
  const watcher = { onJob, onLibrary };
  watchers.add(watcher);
  if (watchers.size === 1) open();
  else for (const job of known.values()) onJob?.(job);
  return () => {
    watchers.delete(watcher);
    if (!watchers.size) close();
  };
}

/** Start a job and return it. */
export async function start(path, json) {
  const job = await api(path, { json });
  mine.add(job.id);
  heard(job);
  return job;
}

function open() {
  // A look at all jobs once the stream stands: a step may fall between its first lines and its news.
  stopStream = follow("/api/events", { job: heard, library: changed, open: poll }, (event) => {
    // A stream that is refused stays closed: too many pages listen already. A broken one comes back.
    if (event.target.readyState === EventSource.CLOSED && watchers.size && !polling) {
      poll();
      polling = setInterval(poll, POLL_MS);
    }
  });
}

function close() {
  stopStream?.();
  clearInterval(polling);
  stopStream = null;
  polling = null;
  known.clear();
}

async function poll() {
  try {
    const [{ jobs }, { revision }] = await Promise.all([api("/api/jobs"), api("/api/status")]);
    for (const job of jobs.slice(0, 5).reverse()) heard(job);
    changed({ revision });
  } catch (error) {
    if (error.name !== "ApiError") throw error;
  }
}

function heard(job) {
  const before = known.get(job.id);
  // The answer to the start may come after the first events: a job never goes back.
  if (before && (ENDED.has(before.state) || (job.state === "waiting" && before.state === "running"))) return;
  known.set(job.id, job);
  for (const watcher of [...watchers]) watcher.onJob?.(job);
}

function changed(news) {
  for (const watcher of [...watchers]) watcher.onLibrary?.(news);
}

/**
 * Show the jobs of one or more kinds: progress with rate and time left, then what came of it.
 *
 * `ending(job)` returns `{text, actions, notes}` for a job that is done; `stages` names the stages;
 * `onState(busy)` is told when work begins and ends, `onDone(job)` of each job that ended well.
 * Returns `{element, start(path, json), onJob}`; pass `onJob` to `watch`.
 */
export function jobPanel({ kinds, label, stages, unit = "photo", ending, onState, onDone }) {
  const element = h("div", { class: "job", aria: { live: "off" } });
  let shown = null;
  let bar = null;
  let samples = [];
  let stopping = false;

  /** Stop a job at its next step. */
  async function stop(job) {
    stopping = true;
    bar.update({ text: "Stopping…" });
    try {
      await api(`/api/jobs/${job.id}/stop`, { json: {} });
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      stopping = false; // it had ended already
    }
  }

  function onJob(job) {
    if (!kinds.includes(job.kind)) return;
    if (shown && job.id < shown.id) return;
    const ended = ENDED.has(job.state);
    const running = shown?.id === job.id && !ENDED.has(shown.state);
    // What ended before this page looked is history; the list of runs has it.
    if (ended && !running && !mine.has(job.id)) return;
    if (ended && shown?.id === job.id && !running) return;
    if (!ended && !running) begin();
    shown = job;
    if (ended) end(job);
    else step(job);
  }

  function begin() {
    bar = progressBar(label, { onStop: () => stop(shown) });
    samples = [];
    stopping = false;
    element.replaceChildren(h("div", { class: "card" }, bar.element));
    onState?.(true);
  }

  function step(job) {
    if (stopping) return;
    if (job.state === "waiting") {
      bar.update({ text: "Waiting for the work before it…" });
      return;
    }
    if (!job.stage) {
      bar.update({ text: `${label}…` });
      return;
    }
    const pace = measure(job);
    const stage = stages[job.stage] ?? job.stage;
    const noun = job.stage === "walk" ? "file" : job.stage === "labels" ? "text" : unit;
    const done = job.total ? `${count(job.done)} of ${plural(job.total, noun)}` : plural(job.done, noun);
    bar.update({ done: job.done, total: job.total, text: [stage, done, ...pace].join(" · ") });
  }

  /** Return rate and time left in words, from the steps of the last seconds. */
  function measure(job) {
    const now = performance.now();
    if (samples.at(-1)?.stage !== job.stage || job.done < samples.at(-1).done) samples = [];
    samples.push({ stage: job.stage, done: job.done, now });
    while (samples.length > 2 && now - samples[1].now > RATE_MS) samples.shift();
    const [first] = samples;
    const seconds = (now - first.now) / 1000;
    const done = job.done - first.done;
    if (seconds < 1 || done <= 0 || !job.total) return [];
    const rate = done / seconds;
    const left = (job.total - job.done) / rate;
    return [rate >= 1 ? `${count(Math.round(rate))} a second` : `${count(Math.max(1, Math.round(rate * 60)))} a minute`, ...(left >= 1 ? [`${span(left)} left`] : [])];
  }

  function end(job) {
    bar = null;
    onState?.(false);
    if (job.state === "failed" && stopping) {
      element.replaceChildren(h("p", { class: "notice" }, sentence(job.error)));
      announce(sentence(job.error));
      return;
    }
    if (job.state === "failed") {
      element.replaceChildren(h("p", { class: "notice notice-error", role: "alert" }, sentence(job.error)));
      return;
    }
    const { text, actions = [], notes = [] } = ending(job);
    element.replaceChildren(h("div", { class: "notice notice-done row" }, h("span", { class: "grow" }, text), ...actions,
      button(null, { kind: "icon", icon: "close", label: "Close the message", onClick: () => element.replaceChildren() })),
    ...notes.map((note) => h("p", { class: "notice notice-warn" }, note)));
    announce(text);
    onDone?.(job);
  }

  return {
    element,
    onJob,
    async start(path, json) {
      onState?.(true);
      try {
        return await start(path, json);
      } catch (error) {
        onState?.(false);
        throw error;
      }
    },
    clear: () => element.replaceChildren(),
  };
}

/** Return a length of time as people say it. */
export function span(seconds) {
  if (seconds < 90) return `about ${plural(Math.max(1, Math.round(seconds)), "second")}`;
  if (seconds < 5400) return `about ${plural(Math.round(seconds / 60), "minute")}`;
  return `about ${plural(Math.round(seconds / 3600), "hour")}`;
}

/** Return a message of the server as a sentence: capital letter, full stop. */
export function sentence(message) {
  const text = message.trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}
