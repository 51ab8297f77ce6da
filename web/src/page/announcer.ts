// Tells a screen reader what happens: states at once, an answer in whole sentences, gathered so that speech can follow.
import { h } from "./dom.ts";

const kGatherMs = 1500;
const kKept = 30;

export class Announcer {
  readonly element: HTMLElement;
  readonly #status = h("div", { role: "status" });
  readonly #log = h("div", { role: "log", "aria-live": "polite", "aria-label": "Answer, as it is written" });
  #gathered: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.element = h("div", { class: "visually-hidden announcer" }, this.#status, this.#log);
  }

  /** A short message about the state of things. */
  say = (text: string): void => {
    // The same words again are a change only where they were gone.
    this.#status.textContent = "";
    this.#status.textContent = text;
  };

  /** Sentences of the answer. */
  read(sentences: string[]): void {
    this.#gathered.push(...sentences);
    if (this.#gathered.length > 0) this.#timer ??= setTimeout(() => this.flush(), kGatherMs);
  }

  /** Says what is still gathered. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#gathered.length === 0) return;
    this.#log.append(h("p", {}, this.#gathered.join(" ")));
    this.#gathered = [];
    while (this.#log.childElementCount > kKept) this.#log.firstElementChild?.remove();
  }
}
