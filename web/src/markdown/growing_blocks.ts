// The blocks of a text that grows at its end, so that each update looks at its last blocks alone.
import { parseBlocks, type Block } from "./blocks.ts";

/** What an update changed: after the first `keep` blocks come these. */
export interface Change {
  keep: number;
  blocks: Block[];
}

/**
 * Settles a block once no text after it can change it: a block is settled when the one after it stands on a whole line
 * with another whole line below (the rule under a table's head is the furthest that any block looks ahead).
 */
export class GrowingBlocks {
  #source = "";
  #settled = 0;
  /** Where the blocks that are not settled start, and the columns of the table that ends there. */
  #openFrom = 0;
  #columns = 0;

  update(source: string): Change {
    if (!source.startsWith(this.#source)) {
      this.#settled = 0;
      this.#openFrom = 0;
      this.#columns = 0;
    }
    this.#source = source;
    const keep = this.#settled;
    const blocks = parseBlocks(source, this.#openFrom, this.#columns);
    for (let at = 0; at + 1 < blocks.length; at++) {
      const block = blocks[at];
      const next = blocks[at + 1];
      if (!block || !next || !twoWholeLines(source, next.start)) break;
      this.#settled++;
      this.#openFrom = next.start;
      if (block.kind === "table") this.#columns = block.head.length;
      if (next.kind !== "row") this.#columns = 0;
    }
    return { keep, blocks };
  }
}

function twoWholeLines(source: string, start: number): boolean {
  const first = source.indexOf("\n", start);
  return first >= 0 && source.indexOf("\n", first + 1) >= 0;
}
