// Light, dark, or as the system has it.

import { byId, icon } from "./dom.js";

const KEY = "clipsearch.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const LOOKS = {
  auto: { icon: "auto", label: "Colours: as the system has them" },
  light: { icon: "sun", label: "Colours: light" },
  dark: { icon: "moon", label: "Colours: dark" },
};

export function start() {
  const switcher = byId("theme");
  const show = () => {
    const look = LOOKS[chosen()];
    switcher.replaceChildren(icon(look.icon));
    switcher.setAttribute("aria-label", look.label);
    switcher.title = look.label;
  };
  switcher.addEventListener("click", () => {
    choose(NEXT[chosen()]);
    show();
  });
  show();
}

function chosen() {
  return document.documentElement.dataset.theme ?? "auto";
}

function choose(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Storage may be forbidden; the choice then holds for this visit.
  }
}
