// Shows Markdown that grows: an update touches the last blocks only.
import type { Block } from "./blocks.ts";
import { appendBlock, growCode, type Announce } from "./elements.ts";
import { GrowingBlocks } from "./growing_blocks.ts";

export class MarkdownView {
  readonly element: HTMLElement;
  readonly #announce: Announce;
  readonly #blocks = new GrowingBlocks();
  #shown: { block: Block; element: Element }[] = [];
  #source = "";

  constructor(element: HTMLElement, announce: Announce) {
    this.element = element;
    this.#announce = announce;
    element.classList.add("markdown");
  }

  /** Shows `source`, in time that its last blocks take where it goes on from what is shown. */
  update(source: string): void {
    if (source === this.#source) return;
    this.#source = source;
    const { keep, blocks } = this.#blocks.update(source);
    let at = 0;
    for (; at < blocks.length; at++) {
      const old = this.#shown[keep + at];
      const block = blocks[at];
      if (!old || !block || !same(old.block, block)) break;
      old.block = block;
    }
    const old = this.#shown[keep + at];
    const grown = blocks[at];
    if (old && grown?.kind === "code" && old.block.kind === "code" && old.block.language === grown.language) {
      growCode(old.element, grown.text);
      old.block = grown;
      at++;
    }
    this.#removeFrom(keep + at);
    for (const block of blocks.slice(at)) {
      const element = appendBlock(this.element, block, this.#announce, this.#shown.at(-1)?.block);
      this.#shown.push({ block, element });
    }
  }

  #removeFrom(first: number): void {
    for (const { element } of this.#shown.splice(first).reverse()) {
      const parent = element.parentElement;
      element.remove();
      // A list goes with its last item.
      if (parent && parent !== this.element && parent.tagName !== "TBODY" && parent.childElementCount === 0) parent.remove();
    }
  }
}

const same = (a: Block, b: Block) => JSON.stringify(a) === JSON.stringify(b);
