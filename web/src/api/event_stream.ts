// Reads server-sent events from bytes that arrive in any pieces.

/**
 * The data of each event of a `text/event-stream`, per the HTML standard, "Interpreting an event stream": lines end in
 * LF, CR or CRLF; several `data` lines of one event join with LF; comments and other fields are left out, and so is an
 * event that the end of the stream cuts off.
 */
export class EventStream {
  readonly #decoder = new TextDecoder();
  #line = "";
  #data: string[] = [];
  #afterReturn = false;

  /** The events that `bytes` complete, in order. */
  push(bytes: Uint8Array): string[] {
    const events: string[] = [];
    const text = this.#decoder.decode(bytes, { stream: true });
    let start = 0;
    for (let at = 0; at < text.length; at++) {
      const character = text[at];
      if (character !== "\n" && character !== "\r") {
        this.#afterReturn = false;
        continue;
      }
      if (character === "\n" && this.#afterReturn) {
        this.#afterReturn = false;
        start = at + 1;
        continue;
      }
      this.#afterReturn = character === "\r";
      this.#endLine(this.#line + text.slice(start, at), events);
      this.#line = "";
      start = at + 1;
    }
    this.#line += text.slice(start);
    return events;
  }

  #endLine(line: string, events: string[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push(this.#data.join("\n"));
      this.#data = [];
    } else if (line === "data" || line.startsWith("data:")) {
      const value = line.slice(5);
      this.#data.push(value.startsWith(" ") ? value.slice(1) : value);
    }
  }
}
