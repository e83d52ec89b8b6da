// Dates, numbers and bands as people read them.

import { h } from "./dom.js";

const DAY = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});
const MOMENT = new Intl.DateTimeFormat(undefined, {
  dateStyle: "long",
  timeStyle: "short",
  timeZone: "UTC",
});
const MONTH = new Intl.DateTimeFormat(undefined, { month: "long", timeZone: "UTC" });
const COUNT = new Intl.NumberFormat();

export const BANDS = {
  strong: "Strong match",
  likely: "Likely match",
  weak: "Weak match",
};

/** Return a camera's own time without its zone: that is how the photographer knew it. */
function local(taken) {
  const found = new Date(`${taken.slice(0, 19)}Z`);
  return Number.isNaN(found.getTime()) ? null : found;
}

export function day(taken) {
  const when = taken && local(taken);
  return when ? DAY.format(when) : "";
}

export function moment(taken) {
  const when = taken && local(taken);
  return when ? MOMENT.format(when) : "";
}

/** Return "June" for "2019-06". */
export function monthName(month) {
  return MONTH.format(new Date(`${month}-01T00:00:00Z`));
}

export const count = (number) => COUNT.format(number);

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export const percent = (share) =>
  share >= 0.995 && share < 1
    ? ">99%"
    : share > 0 && share < 0.005
      ? "<1%"
      : `${Math.round(share * 100)}%`;

/** Draw a relevance band as three small steps; the words are in its name. */
export function bandMark(band) {
  if (!band) return null;
  return h(
    "span",
    {
      class: "band",
      data: { band },
      title: BANDS[band],
      role: "img",
      aria: { label: BANDS[band] },
    },
    h("i"),
    h("i"),
    h("i"),
  );
}
