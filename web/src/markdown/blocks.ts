// Splits Markdown into blocks: the subset of CommonMark and GFM that models write. What it does not know is a paragraph.

export type Align = "left" | "center" | "right" | null;

/** A block and where it starts in its source. A list is its items in a row, a table its head and the rows after it. */
export type Block = { start: number } & (
  | { kind: "heading"; level: number; text: string }
  | { kind: "paragraph"; text: string }
  | { kind: "code"; language: string; text: string; closed: boolean }
  | { kind: "rule" }
  | { kind: "quote"; text: string }
  | { kind: "item"; number: number | null; checked: boolean | null; text: string }
  | { kind: "table"; head: string[]; align: Align[] }
  | { kind: "row"; cells: string[] }
);

interface Line {
  start: number;
  raw: string;
  /** The same, with the tabs of its indent as four spaces each. */
  text: string;
  /** Where the next line starts. */
  end: number;
}

const kFence = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const kHeading = /^ {0,3}(#{1,6})(?=[ \t]|$)(.*)$/;
const kRule = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^( {0,3})([-*+]|\d{1,9}[.)])([ \t]+)(?=\S)/;
/** Three signs at least: fewer are the beginning of a list that still streams. */
const kUnderline = /^ {0,3}(?:(={3,})|-{3,})[ \t]*$/;
const kTableRule = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/**
 * The blocks of `source` from `from`, the start of a line. Where the text before `from` ended
 * in a table, `columns` are its columns: rows that follow belong to it.
 */
export function parseBlocks(source: string, from = 0, columns = 0): Block[] {
  return new BlockParser(source, from, columns).parse();
}

class BlockParser {
  readonly #source: string;
  #at: number;
  #columns: number;
  readonly #blocks: Block[] = [];

  constructor(source: string, from: number, columns: number) {
    this.#source = source;
    this.#at = from;
    this.#columns = columns;
  }

  parse(): Block[] {
    for (let line = this.#peek(); line; line = this.#peek()) {
      const before = this.#blocks.length;
      if (isBlank(line.text)) this.#at = line.end;
      else this.#block(line);
      // Any line but a row ends a table.
      const last = this.#blocks.length > before ? this.#blocks.at(-1) : undefined;
      this.#columns = last?.kind === "table" ? last.head.length : last?.kind === "row" ? this.#columns : 0;
    }
    return this.#blocks;
  }

  #block(line: Line): void {
    const { start, text } = line;
    const fence = kFence.exec(text);
    if (fence) return this.#code(line, fence[1] ?? "", fence[2] ?? "");
    const heading = kHeading.exec(text);
    if (heading) return this.#add(line, { start, kind: "heading", level: heading[1]?.length ?? 1, text: headingText(heading[2] ?? "") });
    if (kRule.test(text)) return this.#add(line, { start, kind: "rule" });
    if (kQuote.test(text)) return this.#quote();
    const item = kItem.exec(text);
    if (item) return this.#item(line, item);
    if (this.#columns > 0) return this.#add(line, { start, kind: "row", cells: cells(text, this.#columns) });
    this.#paragraph();
  }

  #add(line: Line, block: Block): void {
    this.#at = line.end;
    this.#blocks.push(block);
  }

  #code(first: Line, fence: string, info: string): void {
    const indent = /^ */.exec(first.text)?.[0].length ?? 0;
    const closing = new RegExp(`^ {0,3}\\${fence[0]}{${fence.length},}[ \\t]*$`);
    const lines: string[] = [];
    let closed = false;
    this.#at = first.end;
    for (let line = this.#peek(); line && !closed; line = this.#peek()) {
      closed = closing.test(line.text);
      if (!closed) lines.push(withoutIndent(line.raw, indent));
      this.#at = line.end;
    }
    const language = info.trim().split(/\s/, 1)[0] ?? "";
    this.#blocks.push({ start: first.start, kind: "code", language, text: lines.join("\n"), closed });
  }

  #quote(): void {
    const start = this.#at;
    const lines: string[] = [];
    for (let line = this.#peek(); line; line = this.#peek()) {
      const marked = kQuote.test(line.text);
      // A plain line goes on with the quoted paragraph before it.
      if (!marked && (isBlank(lines.at(-1) ?? "") || endsParagraph(line.text))) break;
      lines.push(line.raw.replace(kQuote, ""));
      this.#at = line.end;
    }
    this.#blocks.push({ start, kind: "quote", text: lines.join("\n") });
  }

  #item(first: Line, [marker, indent, sign]: RegExpExecArray): void {
    const width = marker.length;
    const lines = [first.raw.slice(width)];
    this.#at = first.end;
    for (let line = this.#peek(); line; line = this.#peek()) {
      const inside = /^ */.exec(line.text)?.[0].length ?? 0;
      const blankBefore = isBlank(lines.at(-1) ?? "");
      if (isBlank(line.text)) {
        lines.push("");
      } else if (inside >= Math.min(width, (indent?.length ?? 0) + 2)) {
        // Models indent by two where the marker is wider; that is meant to be inside, too.
        lines.push(withoutIndent(line.raw, width));
      } else if (!blankBefore && !endsParagraph(line.text) && !kItem.test(line.text)) {
        lines.push(line.text);
      } else {
        break;
      }
      this.#at = line.end;
    }
    const number = /\d/.test(sign ?? "") ? Number.parseInt(sign ?? "", 10) : null;
    const whole = lines.join("\n").trimEnd();
    const task = /^\[([ xX])\][ \t]+/.exec(whole);
    const checked = task ? task[1] !== " " : null;
    this.#blocks.push({ start: first.start, kind: "item", number, checked, text: task ? whole.slice(task[0].length) : whole });
  }

  #paragraph(): void {
    const start = this.#at;
    const lines: string[] = [];
    for (let line = this.#peek(); line && !isBlank(line.text); line = this.#peek()) {
      if (lines.length > 0) {
        const underline = kUnderline.exec(line.text);
        if (underline) {
          return this.#add(line, { start, kind: "heading", level: underline[1] ? 1 : 2, text: lines.join("\n").trim() });
        }
        if (endsParagraph(line.text)) break;
      }
      const rule = this.#peek(line.end);
      if (line.text.includes("|") && rule && kTableRule.test(rule.text)) {
        const align = cells(rule.text).map(alignment);
        const head = cells(line.text);
        if (head.length === align.length) {
          if (lines.length > 0) this.#blocks.push({ start, kind: "paragraph", text: lines.join("\n").trim() });
          return this.#add(rule, { start: line.start, kind: "table", head, align });
        }
      }
      lines.push(line.text.trimStart());
      this.#at = line.end;
    }
    this.#blocks.push({ start, kind: "paragraph", text: lines.join("\n").trim() });
  }

  #peek(at = this.#at): Line | undefined {
    if (at >= this.#source.length) return undefined;
    const newline = this.#source.indexOf("\n", at);
    const stop = newline < 0 ? this.#source.length : newline;
    const raw = this.#source.slice(at, this.#source[stop - 1] === "\r" && stop > at ? stop - 1 : stop);
    const text = raw.replace(/^[ \t]*\t/, (indent) => indent.replaceAll("\t", "    "));
    return { start: at, raw, text, end: newline < 0 ? stop : newline + 1 };
  }
}

const isBlank = (text: string) => /^[ \t]*$/.test(text);
const headingText = (text: string) => text.trim().replace(/(?:^|[ \t])#+$/, "").trimEnd();

/** A line less as much of its indent as fits in `width` columns; of a tab that is wider, the rest stays as spaces. */
function withoutIndent(line: string, width: number): string {
  let column = 0;
  let at = 0;
  for (; column < width && (line[at] === " " || line[at] === "\t"); at++) column += line[at] === "\t" ? 4 : 1;
  return " ".repeat(Math.max(0, column - width)) + line.slice(at);
}

/** Whether a line starts another block where a paragraph might go on. A numbered item does so only as a first one. */
function endsParagraph(text: string): boolean {
  const sign = kItem.exec(text)?.[2];
  const item = sign !== undefined && (!/\d/.test(sign) || Number.parseInt(sign, 10) <= 1);
  return item || kFence.test(text) || kHeading.test(text) || kRule.test(text) || kQuote.test(text);
}

/** The cells of a table's line: split at bars that are not escaped, with as many as `columns` says. */
function cells(text: string, columns?: number): string[] {
  const inner = text.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  const found = inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  return columns === undefined ? found : Array.from({ length: columns }, (_, at) => found[at] ?? "");
}

function alignment(rule: string): Align {
  const left = rule.startsWith(":");
  const right = rule.endsWith(":");
  return left && right ? "center" : right ? "right" : left ? "left" : null;
}
