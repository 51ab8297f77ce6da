// Cuts a growing answer into whole sentences, as a screen reader should say them.

/** Reads Markdown that grows at its end and gives each sentence once, when it is complete. */
export class Sentences {
  #at = 0;
  #inCode = false;

  /** The sentences that `text` completes; with `ended`, also what is left over. */
  next(text: string, ended: boolean): string[] {
    const found: string[] = [];
    while (this.#at < text.length) {
      const newline = text.indexOf("\n", this.#at);
      const lineEnds = newline >= 0;
      const line = text.slice(this.#at, lineEnds ? newline : text.length);
      if (!lineEnds && (this.#inCode || /^\s*(?:[`~]|$)/.test(line)) && !ended) break;
      if (/^\s*(?:```|~~~)/.test(line)) {
        if (!this.#inCode) found.push("Code block.");
        this.#inCode = !this.#inCode;
      } else if (!this.#inCode) {
        const length = lineEnds || ended ? line.length : wholeSentences(line);
        found.push(...spoken(line.slice(0, length)));
        if (!lineEnds) {
          this.#at += length;
          break;
        }
      }
      this.#at = lineEnds ? newline + 1 : text.length;
    }
    return found;
  }
}

const kSentenceEnd = /[.!?…]["')\]*_]*\s+(?=\S)|[。！？]/g;

function wholeSentences(line: string): number {
  let length = 0;
  for (const end of line.matchAll(kSentenceEnd)) length = end.index + end[0].length;
  return length;
}

/** A line without Markdown's signs; nothing where no word is left. */
function spoken(line: string): string[] {
  const text = line
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^\s*(?:#{1,6}\s|>\s?|[-*+]\s)/, "")
    .replace(/[*_`~|]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return /[\p{L}\p{N}]/u.test(text) ? [text] : [];
}
