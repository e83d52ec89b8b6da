// The address bar is the state of the page: /?view=&q=&sort=&photo=...

const listeners = new Set();

/** Read the state: an object of strings, without what is empty. */
export function state() {
  return Object.fromEntries(
    [...new URLSearchParams(location.search)].filter(([, value]) => value !== ""),
  );
}

/** Return the address of a state. */
export function href(wanted) {
  const entries = Object.entries(wanted).filter(
    ([name, value]) =>
      value !== undefined &&
      value !== null &&
      value !== "" &&
      !(name === "view" && value === "search"),
  );
  const text = new URLSearchParams(entries).toString();
  return text ? `/?${text}` : "/";
}

/** Return the address of the present state with some changes; `null` takes a name away. */
export function hrefWith(changes) {
  return href({ ...state(), ...changes });
}

/** Go to an address; with `replace`, the back button skips what is left. */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  const had = state().photo;
  const before = history.state;
  if (replace) {
    history.replaceState(before, "", address);
  } else {
    // From photo to photo: closing the last one must lead out of them all.
    const nested = had && new URLSearchParams(address.slice(1)).has("photo");
    const now = nested
      ? { inside: before?.inside, deep: (before?.deep ?? 0) + 1 }
      : { inside: true, deep: 0 };
    history.pushState(now, "", address);
  }
  tell();
}

/** Leave the photos that were opened: step back to the page, or show it without `names`. */
export function leave(names) {
  if (history.state?.inside) history.go(-1 - (history.state.deep ?? 0));
  else change(Object.fromEntries(names.map((name) => [name, null])), { replace: true });
}

/** Change parts of the state. */
export function change(changes, options) {
  go(hrefWith(changes), options);
}

/**
 * Call `listener(state, {pop})` at each change, `pop` for the back button; returns a function that
 * stops.
 */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Tell all listeners of the present state. */
export function tell({ pop = false } = {}) {
  const present = state();
  for (const listener of listeners) listener(present, { pop });
}

/** Make links with `data-route` and the back button stay on the page. */
export function start() {
  history.scrollRestoration = "manual";
  addEventListener("popstate", () => tell({ pop: true }));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-route]");
    if (
      !link ||
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
  tell();
}
