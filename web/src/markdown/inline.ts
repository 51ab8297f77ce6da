// Parses the inline part of Markdown: emphasis, code, links, as CommonMark says, in time linear in the text.
import { trimAddress } from "./links.ts";

export type Inline =
  | string
  | { kind: "code" | "math"; text: string }
  | { kind: "break" }
  | { kind: "strong" | "emphasis" | "strike"; inner: Inline[] }
  | { kind: "link"; address: string; inner: Inline[] }
  | { kind: "image"; address: string; alt: string };

/** A run of `*`, `_` or `~` that may open or close emphasis. */
interface Delimiter {
  at: number;
  sign: string;
  length: number;
  opens: boolean;
  closes: boolean;
}

interface Bracket {
  at: number;
  image: boolean;
  /** Delimiters that lie before it. */
  delimiters: number;
  /** Where the bracket's own text starts in the source. */
  from: number;
}

const kSpecial = /[\\`*_~[\]!<\n]|https?:\/\//g;
const kDestination = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s+(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))?\s*\)/y;
const kAutolink = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/y;
const kBareAddress = /https?:\/\/[^\s<>`]+/y;
const kEscapable = /[!-/:-@[-`{-~]/;

export function parseInline(source: string): Inline[] {
  return new InlineParser(source).parse();
}

class InlineParser {
  readonly #source: string;
  readonly #nodes: Inline[] = [];
  #delimiters: Delimiter[] = [];
  #brackets: Bracket[] = [];
  /** Ends of code spans that are known to be missing, by their length. */
  readonly #noCodeEnd = new Set<number>();
  readonly #noMathEnd = new Set<string>();
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Inline[] {
    const source = this.#source;
    while (this.#at < source.length) {
      kSpecial.lastIndex = this.#at;
      const next = kSpecial.exec(source);
      if (!next) break;
      this.#text(source.slice(this.#at, next.index));
      this.#at = next.index;
      this.#special(next[0]);
    }
    this.#text(source.slice(this.#at));
    this.#emphasis(0);
    return joined(this.#nodes);
  }

  #text(text: string): void {
    if (text) this.#nodes.push(text);
  }

  /** Takes `length` characters of the source as they are. */
  #literal(length: number): void {
    this.#text(this.#source.slice(this.#at, this.#at + length));
    this.#at += length;
  }

  #special(found: string): void {
    const source = this.#source;
    const at = this.#at;
    switch (found) {
      case "\\":
        return this.#escape();
      case "`":
        return this.#code();
      case "*":
      case "_":
      case "~":
        return this.#delimiter(found);
      case "[":
        return this.#openBracket(false);
      case "!":
        return source[at + 1] === "[" ? this.#openBracket(true) : this.#literal(1);
      case "]":
        return this.#closeBracket();
      case "<":
        return this.#autolink();
      case "\n":
        return this.#lineEnd();
      default:
        return this.#bareAddress();
    }
  }

  #escape(): void {
    const next = this.#source[this.#at + 1] ?? "";
    if (next === "(" || next === "[") {
      const closing = next === "(" ? "\\)" : "\\]";
      const end = this.#noMathEnd.has(closing) ? -1 : this.#source.indexOf(closing, this.#at + 2);
      if (end > 0) {
        this.#nodes.push({ kind: "math", text: this.#source.slice(this.#at + 2, end).trim() });
        this.#at = end + 2;
        return;
      }
      this.#noMathEnd.add(closing);
    }
    if (next === "\n") {
      this.#nodes.push({ kind: "break" });
      this.#at += 2;
    } else if (kEscapable.test(next)) {
      this.#text(next);
      this.#at += 2;
    } else {
      this.#literal(1);
    }
  }

  #code(): void {
    const source = this.#source;
    const at = this.#at;
    const run = /`+/y;
    run.lastIndex = at;
    const length = run.exec(source)?.[0].length ?? 1;
    if (!this.#noCodeEnd.has(length)) {
      const ticks = /`+/g;
      ticks.lastIndex = at + length;
      for (let end = ticks.exec(source); end; end = ticks.exec(source)) {
        if (end[0].length !== length) continue;
        const text = source.slice(at + length, end.index).replaceAll("\n", " ");
        const padded = /^ .*[^ ].* $|^ [^ ] $/.test(text);
        this.#nodes.push({ kind: "code", text: padded ? text.slice(1, -1) : text });
        this.#at = ticks.lastIndex;
        return;
      }
      this.#noCodeEnd.add(length);
    }
    this.#literal(length);
  }

  #delimiter(sign: string): void {
    const source = this.#source;
    const at = this.#at;
    let end = at;
    while (source[end] === sign) end++;
    const length = end - at;
    const before = source[at - 1] ?? " ";
    const after = source[end] ?? " ";
    const left = flanks(after, before);
    const right = flanks(before, after);
    const inWord = sign === "_";
    const usable = sign !== "~" || length === 2;
    const opens = usable && left && (!inWord || !right || isPunctuation(before));
    const closes = usable && right && (!inWord || !left || isPunctuation(after));
    if (opens || closes) this.#delimiters.push({ at: this.#nodes.length, sign, length, opens, closes });
    this.#literal(length);
  }

  #openBracket(image: boolean): void {
    const from = this.#at + (image ? 2 : 1);
    this.#brackets.push({ at: this.#nodes.length, image, delimiters: this.#delimiters.length, from });
    this.#literal(image ? 2 : 1);
  }

  #closeBracket(): void {
    const bracket = this.#brackets.pop();
    kDestination.lastIndex = this.#at + 1;
    const target = bracket && kDestination.exec(this.#source);
    if (!target) return this.#literal(1);
    const address = (target[1] ?? target[2] ?? "").replace(/\\([!-/:-@[-`{-~])/g, "$1");
    const alt = this.#source.slice(bracket.from, this.#at);
    this.#emphasis(bracket.delimiters);
    const inner = joined(this.#nodes.splice(bracket.at).slice(1));
    this.#nodes.push(bracket.image ? { kind: "image", address, alt } : { kind: "link", address, inner });
    // A link holds no other link.
    if (!bracket.image) this.#brackets = this.#brackets.filter((outer) => outer.image);
    this.#at = kDestination.lastIndex;
  }

  #autolink(): void {
    kAutolink.lastIndex = this.#at;
    const address = kAutolink.exec(this.#source)?.[1];
    if (address === undefined) return this.#literal(1);
    this.#nodes.push({ kind: "link", address, inner: [address] });
    this.#at = kAutolink.lastIndex;
  }

  #bareAddress(): void {
    kBareAddress.lastIndex = this.#at;
    let address = trimAddress(kBareAddress.exec(this.#source)?.[0] ?? "");
    // Inside a link's text a bracket ends the address.
    if (this.#brackets.length > 0) address = address.split("]", 1)[0] ?? "";
    const start = this.#at === 0 || !/[\p{L}\p{N}]/u.test(this.#source[this.#at - 1] ?? "");
    const inLink = this.#brackets.some((bracket) => !bracket.image);
    if (!start || address.length <= "https://".length) return this.#literal(4);
    if (inLink) return this.#literal(address.length);
    this.#nodes.push({ kind: "link", address, inner: [address] });
    this.#at += address.length;
  }

  #lineEnd(): void {
    const last = this.#nodes.at(-1);
    const hard = typeof last === "string" && last.endsWith("  ");
    if (typeof last === "string") this.#nodes[this.#nodes.length - 1] = last.trimEnd();
    this.#nodes.push(hard ? { kind: "break" } : "\n");
    this.#at++;
    while (this.#source[this.#at] === " ") this.#at++;
  }

  /** Pairs the delimiters from the `first` on, inner pairs first (CommonMark, "process emphasis"). */
  #emphasis(first: number): void {
    const stack = this.#delimiters.splice(first);
    const open: Delimiter[] = [];
    for (const closer of stack) {
      while (closer.closes && closer.length > 0) {
        const found = open.findLastIndex((opener) => opener.sign === closer.sign && pairs(opener, closer));
        const opener = open[found];
        if (!opener) break;
        open.length = found + 1;
        const width = closer.sign === "~" || Math.min(opener.length, closer.length) >= 2 ? 2 : 1;
        const kind = closer.sign === "~" ? "strike" : width === 2 ? "strong" : "emphasis";
        this.#wrap(opener, closer, width, kind);
        if (opener.length === 0) open.pop();
      }
      // At most so many openers are remembered: deeper nesting is no emphasis that a reader would see.
      if (closer.opens && closer.length > 0 && open.length < 64) open.push(closer);
    }
  }

  /** Puts what lies between two delimiters into a node of its own; its place and the delimiters' texts shrink. */
  #wrap(opener: Delimiter, closer: Delimiter, width: number, kind: "strong" | "emphasis" | "strike"): void {
    const from = opener.at + 1;
    const inner = joined(this.#nodes.slice(from, closer.at));
    // The slots stay, empty, so that the other delimiters keep their places. There is one at least: two runs of one sign
    // have something between them.
    this.#nodes.fill("", from, closer.at);
    this.#nodes[from] = { kind, inner };
    opener.length -= width;
    closer.length -= width;
    this.#nodes[opener.at] = opener.sign.repeat(opener.length);
    this.#nodes[closer.at] = closer.sign.repeat(closer.length);
  }
}

/** Whether a run of delimiters lies against `inside`, seen from `outside`. */
function flanks(inside: string, outside: string): boolean {
  return !/\s/.test(inside) && (!isPunctuation(inside) || /\s/.test(outside) || isPunctuation(outside));
}

const isPunctuation = (character: string) => /[\p{P}\p{S}]/u.test(character);

/** CommonMark's rule of three: "a**b*" does not pair one star with two. */
function pairs(opener: Delimiter, closer: Delimiter): boolean {
  const both = (opener.opens && opener.closes) || (closer.opens && closer.closes);
  return !both || (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

/** Neighbouring texts as one, empty ones left out. */
function joined(nodes: Inline[]): Inline[] {
  const result: Inline[] = [];
  for (const node of nodes) {
    const last = result.at(-1);
    if (node === "") continue;
    if (typeof node === "string" && typeof last === "string") result[result.length - 1] = last + node;
    else result.push(node);
  }
  return result;
}
