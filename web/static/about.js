// What is known of the open photo: why it is here, texts, tags, likeness and facts.

import { altText } from "./alttext.js";
import { api, originalUrl, thumbnailUrl } from "./api.js";
import { ask, narrowed } from "./box.js";
import { chip } from "./chips.js";
import { copy } from "./clipboard.js";
import { button, h, icon } from "./dom.js";
import { count, day, moment } from "./format.js";
import { guarded } from "./notify.js";
import { filterText } from "./query.js";
import { named } from "./results.js";
import * as router from "./router.js";
import { tagEditor } from "./tags.js";
import { feedback } from "./tile.js";
import { why } from "./why.js";

const STRIP = 12;

/** Return the sections about a photo; `title` is the heading to fill. */
export function about(photo, title) {
  const state = router.state();
  const { facts } = photo;
  title.textContent = photo.name;
  const rated = state.q && !state.picture && !state.view;
  const actions = h(
    "div",
    { class: "row photo-actions" },
    button("Similar", { icon: "similar", kind: "plain", onClick: () => ask(`image:${photo.id}`) }),
    rated
      ? button(null, {
          icon: "up",
          kind: "icon",
          label: "More like this",
          onClick: () => feedback("like", "unlike", photo),
        })
      : null,
    rated
      ? button(null, {
          icon: "down",
          kind: "icon",
          label: "Less like this",
          onClick: () => feedback("unlike", "like", photo),
        })
      : null,
    photo.there
      ? h(
          "a",
          { class: "button-plain", href: originalUrl(photo.id), target: "_blank", rel: "noopener" },
          icon("external"),
          photo.inline ? "Original" : "Download",
        )
      : null,
  );
  return [
    h(
      "header",
      { class: "stack photo-name" },
      title,
      h(
        "p",
        { class: "small muted" },
        [
          moment(facts.taken_at) || "No date",
          `${count(facts.width)} × ${count(facts.height)}`,
          facts.format,
        ].join(" · "),
      ),
      photo.there
        ? null
        : h(
            "p",
            { class: "notice notice-warn small" },
            "The file is not in its folder now; this is the copy that clipsearch kept.",
          ),
      actions,
    ),
    (state.q || state.picture) && !state.view ? why(photo.id, state) : null,
    section("Alt text", altText(photo)),
    section("Tags", tagEditor(photo)),
    section("Similar photos", similar(photo.id)),
    section("Facts", factList(photo)),
  ].filter(Boolean);
}

function section(title, ...content) {
  return h("section", { class: "photo-section" }, h("h3", {}, title), ...content);
}

function similar(id) {
  const strip = h("ul", { class: "strip" });
  guarded(async () => {
    const found = await api(`/api/photos/${id}/similar`, { query: { k: STRIP } });
    strip.replaceChildren(
      ...found.hits.map(named).map((hit) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: router.hrefWith({ photo: hit.id }), data: { route: "" }, title: hit.name },
            h("img", {
              src: thumbnailUrl(hit.id, 160),
              alt: [hit.name, day(hit.taken_at)].filter(Boolean).join(", "),
              loading: "lazy",
              width: 76,
              height: 76,
            }),
          ),
        ),
      ),
    );
    if (!found.hits.length)
      strip.replaceWith(h("p", { class: "muted small" }, "There is no other photo."));
  });
  return strip;
}

function factList({ path, facts, name }) {
  const filter = (key, value, text = value, mark = undefined) =>
    chip(text, {
      icon: mark,
      href: narrowed(filterText(key, value)),
      title: `All photos with ${key} ${value}`,
    });
  const folder = path.slice(0, path.length - name.length).replace(/\/$/, "");
  const camera = [facts.camera_make, facts.camera_model].filter(Boolean).join(" ");
  const month = facts.taken_at?.slice(0, 7);
  const near =
    facts.latitude === null ? null : `${facts.latitude.toFixed(5)}, ${facts.longitude.toFixed(5)}`;
  const rows = [
    ["Taken", month ? filter("on", month, moment(facts.taken_at), "calendar") : null],
    [
      "Camera",
      camera ? filter("camera", facts.camera_model ?? facts.camera_make, camera, "camera") : null,
    ],
    ["Lens", facts.lens ? filter("lens", facts.lens) : null],
    [
      "Place",
      near
        ? h(
            "span",
            { class: "row" },
            chip(near, {
              icon: "place",
              href: narrowed(
                `near:${facts.latitude.toFixed(5)},${facts.longitude.toFixed(5)},10km`,
              ),
              title: "Photos within 10 km",
            }),
            button(null, {
              kind: "icon",
              icon: "copy",
              label: "Copy the coordinates",
              onClick: () => copy(near),
            }),
          )
        : null,
    ],
    ["Altitude", facts.altitude === null ? null : `${Math.round(facts.altitude)} m`],
    [
      "Rating",
      facts.rating === null
        ? null
        : facts.rating < 0
          ? "Rejected"
          : h(
              "span",
              { role: "img", aria: { label: `${facts.rating} of 5 stars` } },
              "★".repeat(facts.rating) + "☆".repeat(5 - facts.rating),
            ),
    ],
    ["Description", facts.description],
    ["Keywords", facts.keywords.length ? facts.keywords.join(", ") : null],
    ["Folder", filter("folder", folder, folder, "folder")],
    [
      "File",
      h(
        "span",
        { class: "row" },
        h("span", { class: "grow anywhere" }, name),
        button(null, {
          kind: "icon",
          icon: "copy",
          label: "Copy the path",
          onClick: () => copy(path),
        }),
      ),
    ],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value)
      .flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]),
  );
}
