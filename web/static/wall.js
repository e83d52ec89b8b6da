// A justified wall of photos: rows as wide as the page, only those near the screen in the document.

import { h } from "./dom.js";

const GAP = 6;
const ROWS_A_FRAME = 2;
const NARROWEST = 0.5;
const WIDEST = 3;
const UNKNOWN = 4 / 3;

export class Wall {
  /**
   * `tile(item, index)` makes the inside of a tile: an element whose first link or button takes
   * the focus. `onNear` is called when the end comes near; `caption` is the height under a photo.
   */
  constructor(container, { tile, onNear, label, caption = 24, total }) {
    this.container = container;
    this.makeTile = tile;
    this.onNear = onNear;
    this.caption = caption;
    this.total = total ?? (() => this.items.length);
    this.items = [];
    this.rows = [];
    this.present = new Map();
    this.current = 0;
    this.list = h("div", { class: "wall", role: "list", aria: { label }, hidden: true });
    container.append(this.list);
    this.list.addEventListener("keydown", (event) => this.#onKey(event));
    this.list.addEventListener("focusin", (event) => {
      const tile = event.target.closest("[data-index]");
      if (tile) this.#makeCurrent(Number(tile.dataset.index));
    });
    this.onScroll = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        this.#render();
      });
    };
    addEventListener("scroll", this.onScroll, { passive: true });
    this.observer = new ResizeObserver(() => {
      if (this.list.clientWidth && this.list.clientWidth !== this.width) this.#layout(0);
      else this.onScroll();
    });
    this.observer.observe(container);
  }

  reset(items) {
    this.items = [...items];
    this.current = 0;
    this.#layout(0);
  }

  append(items) {
    const unfinished = Math.max(0, this.rows.length - 1);
    this.items.push(...items);
    this.#layout(unfinished);
  }

  /** Make the tiles again that are on the screen: their items have changed. */
  refresh() {
    for (const element of this.present.values()) element.remove();
    this.present.clear();
    this.#render();
  }

  /** Scroll to an item and give it the focus. */
  focus(index) {
    const row = this.#rowOf(index);
    if (!row) return;
    this.#makeCurrent(index);
    const top = this.list.getBoundingClientRect().top + row.top;
    const above = document.querySelector(".bar").offsetHeight + 12;
    if (top < above) scrollBy(0, top - above);
    else if (top + row.height + this.caption > innerHeight - 12)
      scrollBy(0, top + row.height + this.caption - innerHeight + 12);
    this.#render();
    this.#handle(index)?.focus({ preventScroll: true });
  }

  #layout(fromRow) {
    this.width = this.list.clientWidth || this.container.clientWidth;
    this.list.hidden = !this.items.length;
    if (!this.width) return;
    const target = this.width < 600 ? 132 : this.width < 1100 ? 190 : 224;
    const hadFocus = this.list.contains(document.activeElement);
    const kept = this.rows.slice(0, fromRow);
    for (const [index, element] of this.present) {
      if (index < fromRow) continue;
      element.remove();
      this.present.delete(index);
    }
    let top = kept.length ? kept.at(-1).top + kept.at(-1).height + this.caption + GAP : 0;
    let first = kept.length ? kept.at(-1).end : 0;
    this.rows = kept;
    while (first < this.items.length) {
      const [end, height] = this.#row(first, target);
      this.rows.push({ first, end, top, height });
      top += height + this.caption + GAP;
      first = end;
    }
    this.list.style.height = `${top}px`;
    this.#render();
    if (hadFocus && !this.list.contains(document.activeElement))
      this.#handle(this.current)?.focus({ preventScroll: true });
  }

  /** Return where the row that begins at `first` ends, and how high it is. */
  #row(first, target) {
    let ratios = 0;
    let end = first;
    while (end < this.items.length) {
      const wider = ratios + ratio(this.items[end]);
      const height = (this.width - (end - first) * GAP) / wider;
      if (height <= target) {
        // One photo more or one less: whichever comes closer to the height that is wanted.
        const before = end > first ? (this.width - (end - first - 1) * GAP) / ratios : Infinity;
        return before / target < target / height ? [end, before] : [end + 1, height];
      }
      ratios = wider;
      end += 1;
    }
    // A few photos alone may be larger: there is room.
    const most = first === 0 ? target * 1.7 : target;
    return [end, Math.min(most, (this.width - (end - first - 1) * GAP) / ratios)];
  }

  #render() {
    if (!this.list.offsetParent || !this.rows.length) return;
    const offset = this.list.getBoundingClientRect().top;
    const from = -offset - innerHeight;
    const to = -offset + innerHeight * 2;
    const first = this.#search(from);
    let last = first;
    while (last < this.rows.length && this.rows[last].top < to) last += 1;
    for (const [index, element] of this.present) {
      if (index >= first && index < last) continue;
      if (element.contains(document.activeElement)) continue;
      element.remove();
      this.present.delete(index);
    }
    let made = 0;
    for (let index = first; index < last; index += 1) {
      if (this.present.has(index)) continue;
      const { top, height } = this.rows[index];
      const seen = top + height + offset > 0 && top + offset < innerHeight;
      // What is not in sight can wait for the next frame: no frame takes long.
      if (!seen && made >= ROWS_A_FRAME) {
        this.onScroll();
        continue;
      }
      made += 1;
      const element = this.#rowElement(this.rows[index]);
      this.present.set(index, element);
      const next = [...this.present.keys()].filter((each) => each > index).sort((a, b) => a - b)[0];
      this.list.insertBefore(element, next === undefined ? null : this.present.get(next));
    }
    if (this.rows.at(-1).top < -offset + innerHeight * 3) this.onNear?.();
  }

  #rowElement(row) {
    const element = h("div", {
      class: "wall-row",
      role: "none",
      style: { transform: `translateY(${row.top}px)` },
    });
    let left = 0;
    for (let index = row.first; index < row.end; index += 1) {
      const item = this.items[index];
      const width = ratio(item) * row.height;
      const tile = h(
        "div",
        {
          class: "tile",
          role: "listitem",
          data: { index, id: item.id },
          aria: { posinset: index + 1, setsize: Math.max(this.total(), this.items.length) },
          style: { left: `${left}px`, width: `${width}px`, "--photo-height": `${row.height}px` },
        },
        this.makeTile(item, index, { width, height: row.height }),
      );
      tile.querySelector("a, button").tabIndex = index === this.current ? 0 : -1;
      element.append(tile);
      left += width + GAP;
    }
    return element;
  }

  /** Return the first row that ends below `y`. */
  #search(y) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].top + this.rows[middle].height + this.caption < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #rowOf(index) {
    return this.rows.find((row) => index >= row.first && index < row.end);
  }

  #makeCurrent(index) {
    const before = this.#handle(this.current);
    if (before) before.tabIndex = -1;
    this.current = index;
    const now = this.#handle(index);
    if (now) now.tabIndex = 0;
  }

  #handle(index) {
    return this.list.querySelector(`[data-index="${index}"] :is(a, button)`);
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.closest("[data-index]"))
      return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    let next;
    if (event.key in steps)
      next = Math.max(0, Math.min(this.items.length - 1, this.current + steps[event.key]));
    else if (event.key === "ArrowUp") next = this.#beside(-1);
    else if (event.key === "ArrowDown") next = this.#beside(1);
    else return;
    event.preventDefault();
    if (next !== undefined) this.focus(next);
  }

  /** Return the item above or below the current one, whose middle is the nearest. */
  #beside(step) {
    const at = this.rows.findIndex((row) => this.current >= row.first && this.current < row.end);
    const row = this.rows[at + step];
    if (!row) return undefined;
    const middle = this.#middle(this.rows[at], this.current);
    let best = row.first;
    for (let index = row.first; index < row.end; index += 1) {
      if (Math.abs(this.#middle(row, index) - middle) < Math.abs(this.#middle(row, best) - middle))
        best = index;
    }
    return best;
  }

  #middle(row, wanted) {
    let left = 0;
    for (let index = row.first; index < wanted; index += 1)
      left += ratio(this.items[index]) * row.height + GAP;
    return left + (ratio(this.items[wanted]) * row.height) / 2;
  }
}

function ratio({ width, height }) {
  return width && height ? Math.min(WIDEST, Math.max(NARROWEST, width / height)) : UNKNOWN;
}
