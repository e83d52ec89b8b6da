// Elements without markup: every text goes through textContent, so that a file name is never HTML.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5 12 4.5 4.5",
  close: "m6 6 12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  picture: "M4 5h16v14H4zM4 16l4.5-4.5L12 15l3-3 5 5M9 9.2v.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Zm0-6v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4M17.6 17.6 19 19M19 5l-1.4 1.4M6.4 17.6 5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  auto: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 0v18M12 7h6M12 11h8.5M12 15h7.5",
  keys: "M3 6h18v12H3zM7 10v.01M11 10v.01M15 10v.01M8 14h8M19 10h-1",
  up: "M7 11v9H4v-9h3Zm0 0 4-8c1.5 0 2.5 1 2.5 2.5V9H19a1.8 1.8 0 0 1 1.8 2.1l-1.2 7A2.2 2.2 0 0 1 17.4 20H7",
  down: "M17 13V4h3v9h-3Zm0 0-4 8c-1.5 0-2.5-1-2.5-2.5V15H5a1.8 1.8 0 0 1-1.8-2.1l1.2-7A2.2 2.2 0 0 1 6.6 4H17",
  similar: "M3.5 7.5h11v11h-11zM8 7V4.5h12.5V17H15",
  left: "m14.5 5-7 7 7 7",
  right: "m9.5 5 7 7-7 7",
  check: "m5 12.5 4.5 4.5L19 7",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  edit: "M4 20h4L19.5 8.5a2.1 2.1 0 0 0-3-3L5 17l-1 3Z",
  star: "m12 4 2.4 5.2 5.6.7-4.1 3.9 1 5.7L12 16.7l-4.9 2.8 1-5.7L4 9.9l5.6-.7L12 4Z",
  tag: "M4 4h7l9 9-7 7-9-9V4Zm4 4v.01",
  camera: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4V8Zm8 2.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z",
  calendar: "M4 6h16v14H4zM4 10h16M8 3.5V7m8-3.5V7",
  folder: "M3.5 6h6l2 2.5h9V19h-17V6Z",
  place:
    "M12 21s7-6.2 7-11.2A7 7 0 0 0 5 9.8C5 14.8 12 21 12 21Zm0-13.7a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2Z",
  filter: "M4 5h16l-6 7.5V19l-4-2v-4.5L4 5Z",
  panel: "M4 5h16v14H4zM9.5 5v14",
  flask: "M9.5 3.5h5M10.5 3.5V9L5 18.5c-.6 1 .1 2 1.2 2h11.6c1.1 0 1.8-1 1.2-2L13.5 9V3.5M7.5 15h9",
  undo: "M8 5 4 9l4 4M4 9h9.5a5.5 5.5 0 0 1 0 11H9",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 8v5.5m0-9v.01",
  external: "M9 5H5v14h14v-4M13 5h6v6M19 5l-9 9",
  sliders: "M4 8h9m5 0h2M4 16h3m5 0h8M15.5 5.5v5M9.5 13.5v5",
};

/**
 * Make an element: `h("a", {href, class, on: {click}, data: {id}, aria: {label}}, ...children)`.
 * Properties without a value are left out, and so are children that are null or false.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on")
      for (const [event, listener] of Object.entries(value))
        element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "aria")
      for (const [key, text] of Object.entries(value)) {
        if (text !== undefined && text !== null) element.setAttribute(`aria-${key}`, text);
      }
    else if (name === "style")
      for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "class") element.className = value;
    else if (name in element && !["list", "form", "role"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Make one of the drawn icons; it is decoration, so name the button that it stands in. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Make a button: an icon, a text or both; an icon alone needs a `label`. */
export function button(text, { icon: name, label, kind = "button", onClick, ...props } = {}) {
  const classes = {
    primary: "button button-primary",
    danger: "button button-danger",
    icon: "button-icon",
    plain: "button-plain",
  };
  const element = h(
    "button",
    { type: "button", class: classes[kind] ?? "button", ...props },
    name ? icon(name) : null,
    text ?? null,
  );
  if (label) {
    element.setAttribute("aria-label", label);
    element.title = label;
  }
  if (onClick) element.addEventListener("click", onClick);
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Add a stylesheet of this site once, and wait until it holds. */
export function loadStyle(name) {
  const href = `/static/${name}`;
  const present = document.querySelector(`link[rel="stylesheet"][href="${href}"]`);
  if (present) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const link = h("link", { rel: "stylesheet", href });
    link.addEventListener("load", () => resolve());
    link.addEventListener("error", () => reject(new Error(`${href} cannot be loaded`)));
    document.head.append(link);
  });
}

/** Call `action` once the calls have been quiet for `wait` milliseconds. */
export function debounce(action, wait) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), wait);
  };
}
