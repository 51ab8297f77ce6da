// Makes elements of Markdown's blocks. Foreign text becomes text nodes; there is no way from it to HTML.
import { copyButton } from "../page/buttons.ts";
import { h } from "../page/dom.ts";
import { parseBlocks, type Block } from "./blocks.ts";
import { parseInline, type Inline } from "./inline.ts";
import { destination, safeAddress } from "./links.ts";

/** Says something to a screen reader. */
export type Announce = (text: string) => void;

/** Adds a block at the end of `parent`: an item to the list and a row to the table that stand there. Returns what it added. */
export function appendBlock(parent: Element, block: Block, announce: Announce, follows: Block | undefined): Element {
  const element = blockElement(block, announce);
  const last = parent.lastElementChild;
  if (block.kind === "row") {
    (last?.querySelector("tbody") ?? parent).append(element);
    // A column's alignment is that of its head.
    const heads = last?.querySelectorAll<HTMLElement>("th") ?? [];
    [...element.children].forEach((cell, at) => cell instanceof HTMLElement && (cell.style.textAlign = heads[at]?.style.textAlign ?? ""));
  } else if (block.kind === "item") {
    const ordered = block.number !== null;
    const goesOn = follows?.kind === "item" && (follows.number !== null) === ordered;
    const list = goesOn && last ? last : ordered ? h("ol", { start: block.number }) : h("ul");
    if (list !== last) parent.append(list);
    list.append(element);
  } else {
    parent.append(element);
  }
  return element;
}

function blockElement(block: Block, announce: Announce): Element {
  switch (block.kind) {
    case "heading": {
      // The page has the first heading and each message the second.
      const level = Math.min(block.level + 2, 6) as 3 | 4 | 5 | 6;
      return h(`h${level}`, { class: `heading-${block.level}` }, ...inlineNodes(parseInline(block.text)));
    }
    case "paragraph":
      return h("p", {}, ...inlineNodes(parseInline(block.text)));
    case "code":
      return codeElement(block.language, block.text, announce);
    case "rule":
      return h("hr");
    case "quote":
      return withBlocks(h("blockquote"), block.text, announce);
    case "item":
      return itemElement(block, announce);
    case "table":
      return tableElement(block);
    case "row":
      return h("tr", {}, ...block.cells.map((cell) => h("td", {}, ...inlineNodes(parseInline(cell)))));
  }
}

function withBlocks<T extends Element>(parent: T, source: string, announce: Announce): T {
  let before: Block | undefined;
  for (const block of parseBlocks(source)) {
    appendBlock(parent, block, announce, before);
    before = block;
  }
  return parent;
}

function itemElement(block: Block & { kind: "item" }, announce: Announce): Element {
  const item = withBlocks(h("li"), block.text, announce);
  if (block.checked !== null) {
    const label = block.checked ? "Done" : "To do";
    item.classList.add("task");
    item.prepend(h("input", { type: "checkbox", checked: block.checked, disabled: true, "aria-label": label }));
  }
  return item;
}

function tableElement(block: Block & { kind: "table" }): Element {
  const head = block.head.map((cell, at) => {
    const element = h("th", { scope: "col" }, ...inlineNodes(parseInline(cell)));
    element.style.textAlign = block.align[at] ?? "";
    return element;
  });
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody"));
  // Wide tables scroll; what scrolls can be reached by keyboard.
  return h("div", { class: "table-scroll", tabIndex: 0, role: "group", "aria-label": "Table" }, table);
}

function codeElement(language: string, text: string, announce: Announce): Element {
  const code = h("code", {}, text);
  const copy = copyButton("Copy code", () => code.textContent ?? "", announce);
  const head = h("div", { class: "code-head" }, h("span", {}, language || "text"), copy);
  const label = language ? `Code, ${language}` : "Code";
  return h("div", { class: "code-block" }, head, h("pre", { tabIndex: 0, role: "group", "aria-label": label }, code));
}

/** Brings a code block's text to `text`; where it only grew, by what is new. */
export function growCode(element: Element, text: string): void {
  const code = element.querySelector("code");
  const node = code?.firstChild;
  if (node instanceof Text && text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else if (code) code.textContent = text;
}

function inlineNodes(inlines: Inline[]): (Node | string)[] {
  return inlines.map((inline) => (typeof inline === "string" ? inline : inlineElement(inline)));
}

function inlineElement(inline: Exclude<Inline, string>): Node {
  switch (inline.kind) {
    case "code":
      return h("code", {}, inline.text);
    case "math":
      return h("code", { class: "math" }, inline.text);
    case "break":
      return h("br");
    case "strong":
      return h("strong", {}, ...inlineNodes(inline.inner));
    case "emphasis":
      return h("em", {}, ...inlineNodes(inline.inner));
    case "strike":
      return h("s", {}, ...inlineNodes(inline.inner));
    case "link":
      return linkElement(inline.address, inlineNodes(inline.inner));
    case "image":
      // An image that loads by itself tells its host what was said here: it stays a link.
      return linkElement(inline.address, [inline.alt ? `Image: ${inline.alt}` : "Image"], true);
  }
}

/** A link that shows where it leads; an address that is not safe stays text. */
function linkElement(address: string, inner: (Node | string)[], whole = false): Node {
  const url = safeAddress(address);
  const label = h("span", {}, ...inner);
  if (!url) {
    if (label.textContent !== address && address) label.append(` (${address})`);
    return label;
  }
  const link = h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...label.childNodes);
  const shown = link.textContent ?? "";
  const host = whole ? url.href : destination(url);
  if (!shown.includes(host)) link.append(h("span", { class: "host" }, ` ${host}`));
  return link;
}
