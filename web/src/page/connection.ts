// What the page knows of its server, and why it knows nothing yet.
import { ApiError } from "../api/api_error.ts";
import { isReady, servedModel } from "../api/client.ts";
import { describe, type Problem } from "../api/problem.ts";
import type { ServedModel } from "../api/types.ts";

export class Connection {
  model: ServedModel = { defaults: {} };
  problem: Problem | undefined;
  readonly #onChange: () => void;
  #meeting = false;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Asks what is served; waits for a server that is away or loading. */
  async meet(): Promise<void> {
    if (this.#meeting) return;
    this.#meeting = true;
    await this.#meet();
    this.#meeting = false;
  }

  async #meet(): Promise<void> {
    for (let pause = 1000; ; pause = Math.min(2 * pause, 10_000)) {
      try {
        this.model = await servedModel();
        this.problem = undefined;
        return this.#onChange();
      } catch (error) {
        this.problem = describe(error);
        this.#onChange();
        if (!(error instanceof ApiError && error.passes)) return;
      }
      do await new Promise((resolve) => setTimeout(resolve, pause));
      while (!(await isReady()));
    }
  }
}
