// The search language as far as chips need it: split a query into parts, and write parts back.
// The server reads queries by the same rules and judges them; what is broken here has no chips.

/** The keys of filters, with what may stand behind each. */
export const KEYS = {
  tag: "a tag, or one below it",
  folder: "in this folder or below",
  name: "file name, * and ? stand for anything",
  type: "file format",
  camera: "maker or model of the camera",
  lens: "lens",
  before: "taken before a date",
  after: "taken from a date on",
  on: "day, month, year or a range: 2019..2021",
  near: "around a point or a place: 43.3,-1.98,20km",
  rating: "stars: 4..5",
  orientation: "shape of the picture",
  has: "has such a fact",
  id: "number of the photo",
};

export const CHOICES = {
  type: [
    "jpeg",
    "png",
    "heif",
    "webp",
    "avif",
    "tiff",
    "gif",
    "bmp",
    "psd",
    "tga",
    "jpeg2000",
    "ppm",
  ],
  orientation: ["portrait", "landscape", "square"],
  has: ["gps", "alt", "tags", "date", "camera", "lens", "rating", "description"],
};

const BLANKS = /\s*/y;
const LONE_SIGNS = /[+-]+(?=\s|$)/y;
const SIGNS_TOO_MANY = /[+-]{2,}(?:"|([A-Za-z]+):)/y;
const WEIGHT = /([0-9]{1,6}(?:\.[0-9]{1,6})?):(?=["./~]|[\p{L}_])/uy;
const KEY = /([A-Za-z][A-Za-z_]*):/y;
const WORD = /[^\s"]+/y;
const VALUE = /[^\s",]*/y;
const FOLLOWED = /^(?!\/\/)\S/;
const PLAIN = /^\p{L}[\p{L}\p{N}_'-]*$/u;

/**
 * Split a query into parts in their order, or return null where it is broken.
 *
 * A part is `{type: "text"|"image", value, weight, bare, spans}` or
 * `{type: "filter", key, values, negated, raw, spans}`; bare words are one part of several spans.
 */
export function parse(text) {
  const parts = [];
  let bare = null;
  let at = skip(BLANKS, text, 0);
  while (at < text.length) {
    const found = partAt(text, at);
    if (!found) return null;
    const [part, end] = found;
    if (part) {
      parts.push({ ...part, spans: [[at, end]] });
    } else if (bare) {
      bare.value += ` ${text.slice(at, end)}`;
      bare.spans.push([at, end]);
    } else {
      bare = {
        type: "text",
        value: text.slice(at, end),
        weight: 1,
        bare: true,
        spans: [[at, end]],
      };
      parts.push(bare);
    }
    at = skip(BLANKS, text, end);
  }
  return parts;
}

/** Write parts as a query that is read as the same parts. */
export function write(parts) {
  return parts.map(writePart).join(" ");
}

function writePart(part) {
  if (part.type === "filter") return `${part.negated ? "-" : ""}${part.raw}`;
  if (part.bare && part.weight === 1) return part.value;
  const size = Math.abs(part.weight);
  const before = (part.weight < 0 ? "-" : "") + (size === 1 ? "" : `${shortNumber(size)}:`);
  if (part.type === "image") return `${before}image:${part.value}`;
  return before && PLAIN.test(part.value) ? before + part.value : `${before}"${part.value}"`;
}

/** Write a filter on one value, quoted if it must be. */
export function filterText(key, value) {
  const plain = !/[\s,"]/.test(value) && value !== "";
  return `${key}:${plain ? value : `"${value.replaceAll('"', "")}"`}`;
}

/** Return a query with one more filter or term; what is there already is not added again. */
export function withPart(query, text) {
  const parts = parse(query);
  const [added] = parse(text) ?? [];
  if (!parts || !added) return `${query} ${text}`.trim();
  if (parts.some((each) => same(each, added))) return query;
  return query.trim() ? `${query.trim()} ${text}` : text;
}

/** Return a query in which part number `index` is `part`, or gone where that is null. */
export function replaced(query, index, part) {
  const parts = parse(query);
  if (!parts?.[index]) return query;
  return write(part ? parts.with(index, part) : parts.toSpliced(index, 1));
}

/** Return the word that is being typed at `caret`: `{start, text}`. */
export function wordAt(query, caret) {
  let start = caret;
  let quoted = false;
  for (let at = 0, begin = 0; at <= caret; at += 1) {
    if (at === caret) start = begin;
    else if (query[at] === '"') quoted = !quoted;
    else if (/\s/.test(query[at]) && !quoted) begin = at + 1;
  }
  return { start, text: query.slice(start, caret) };
}

function partAt(text, start) {
  const lone = match(LONE_SIGNS, text, start);
  if (lone) return [null, start + lone[0].length];
  const signs = match(SIGNS_TOO_MANY, text, start);
  if (signs && (!signs[1] || Object.hasOwn(KEYS, signs[1].toLowerCase()))) return null;
  const sign = "+-".includes(text[start]) ? text[start] : "";
  let at = start + sign.length;
  const weighted = match(WEIGHT, text, at);
  const weight = (sign === "-" ? -1 : 1) * (weighted ? Number(weighted[1]) : 1);
  if (weight === 0) return null;
  if (weighted) at += weighted[0].length;
  if (text[at] === '"') {
    const close = text.indexOf('"', at + 1);
    const value =
      close < 0
        ? ""
        : text
            .slice(at + 1, close)
            .trim()
            .split(/\s+/)
            .join(" ");
    return value ? [{ type: "text", value, weight, bare: false }, close + 1] : null;
  }
  const end = skip(WORD, text, at);
  const word = text.slice(at, end);
  const key = match(KEY, text, at)?.[1].toLowerCase();
  const behind = at + (key?.length ?? 0) + 1;
  if (key === "image") {
    const id = text.slice(behind, end);
    return /^[0-9]{1,18}$/.test(id)
      ? [{ type: "image", value: id, weight, bare: false }, end]
      : null;
  }
  if (key && Object.hasOwn(KEYS, key)) {
    if (sign === "+" || weighted) return null;
    const [values, stop] = valuesAt(text, behind) ?? [];
    return values
      ? [{ type: "filter", key, values, negated: sign === "-", raw: text.slice(at, stop) }, stop]
      : null;
  }
  if (key && FOLLOWED.test(text.slice(behind))) return null; // an unknown key
  if (sign || weighted)
    return word ? [{ type: "text", value: word, weight, bare: false }, end] : null;
  return [null, Math.max(end, start + 1)];
}

function valuesAt(text, start) {
  const values = [];
  for (let at = start; ; at += 1) {
    let end;
    if (text[at] === '"') {
      const close = text.indexOf('"', at + 1);
      if (close < 0) return null;
      values.push(text.slice(at + 1, close).trim());
      end = close + 1;
      if (end < text.length && !/[\s,]/.test(text[end])) return null;
    } else {
      end = skip(VALUE, text, at);
      values.push(text.slice(at, end));
      if (text[end] === '"') return null;
    }
    if (!values.at(-1)) return null;
    if (text[end] !== ",") return [values, end];
    at = end;
  }
}

function same(one, other) {
  return (
    one.type === other.type &&
    one.key === other.key &&
    String(one.values ?? one.value) === String(other.values ?? other.value)
  );
}

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function skip(pattern, text, at) {
  const found = match(pattern, text, at);
  return found ? at + found[0].length : at;
}

function shortNumber(number) {
  return String(Math.round(number * 100) / 100);
}
