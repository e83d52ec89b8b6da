// What a vocabulary would do to a sample of photos.

import { thumbnailUrl } from "./api.js";
import { button, h } from "./dom.js";
import { count, percent, plural } from "./format.js";
import { meter } from "./progress.js";
import * as router from "./router.js";
import { parted } from "./archive-tiles.js";

const FIRST = 30;
const PHOTOS = 6;

/** What stands where the preview will be. */
export function noPreview() {
  return h("div", { class: "preview-none muted" }, h("p", {}, "A preview shows what these labels would do to 60 photos, spread over the library. It takes a moment and stores nothing."));
}

/** Show the answer of the server to a preview. */
export function previewOf(answer, { open }) {
  const { photos, counts, findings, labels } = answer;
  const byLabel = new Map(counts.map(({ tag }) => [tag, []]));
  for (const photo of photos) for (const { label, score } of photo.tags) byLabel.get(label)?.push({ id: photo.id, score });
  const given = photos.reduce((sum, photo) => sum + photo.tags.length, 0);
  const without = photos.filter((photo) => !photo.tags.length);
  const summary = photos.length
    ? `${plural(labels, "label")} on a sample of ${plural(photos.length, "photo")}: ${plural(given, "tag")}, and ${without.length ? `${plural(without.length, "photo")} without any` : "no photo without any"}.`
    : "No photo answers this search, so there is no sample.";
  const list = h("ol", { class: "preview-list" });
  const rows = counts.map(({ tag, photos: number }) => () => row(tag, number, photos.length, byLabel.get(tag)));
  list.append(...rows.slice(0, FIRST).map((make) => make()));
  const more = rows.length > FIRST ? button(`Show ${plural(rows.length - FIRST, "more label")}`, { onClick: () => {
    const first = rows.slice(FIRST).map((make) => make());
    list.append(...first);
    first[0].querySelector("a")?.focus();
    more.remove();
  } }) : null;
  return h("div", { class: "stack" },
    h("p", { class: "number", role: "status" }, summary, " ", h("span", { class: "muted" }, "Nothing is stored.")),
    findings.length ? remarks(findings, open) : null,
    list, more,
    without.length ? h("section", { class: "preview-row" }, h("h3", {}, "No tag"), h("span", { class: "small muted number preview-count" }, `${count(without.length)} of ${count(photos.length)}`), thumbs(without.map(({ id }) => ({ id, score: null })), "No tag")) : null);
}

function remarks(findings, open) {
  return h("details", { class: "notice notice-warn remarks", open },
    h("summary", {}, plural(findings.length, "remark on the labels", "remarks on the labels")),
    h("ul", {}, findings.map(({ message, fix }) => h("li", { class: "anywhere" }, capital(message), ". ", capital(fix), "."))));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function row(tag, number, sample, photos) {
  photos.sort((a, b) => b.score - a.score);
  return h("li", { class: "preview-row" }, h("h3", { class: "anywhere" }, parted(tag)),
    h("span", { class: "preview-count" }, meter(number / sample, `${number} of ${sample} photos`), h("span", { class: "small muted number" }, `${count(number)} of ${count(sample)}`)),
    thumbs(photos, tag));
}

function thumbs(photos, tag) {
  return h("div", { class: "preview-photos" }, photos.slice(0, PHOTOS).map(({ id, score }) =>
    h("a", { href: router.hrefWith({ photo: id }), data: { route: "" }, title: score === null ? "" : percent(score) },
      h("img", { src: thumbnailUrl(id, 160), alt: `Photo ${id}, ${tag}${score === null ? "" : ` ${percent(score)}`}`, width: 64, height: 64, loading: "lazy" }))));
}
