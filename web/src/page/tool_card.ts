// Shows a call of a tool: its name and its arguments. The page runs no tools.
import type { ToolCall } from "../api/types.ts";
import { h, setText } from "./dom.ts";
import { icon } from "./icons.ts";

export class ToolCard {
  readonly element: HTMLElement;
  readonly #name = h("strong");
  readonly #arguments = h("code");

  constructor(call: ToolCall) {
    const head = h("div", { class: "tool-head" }, icon("tool"), h("span", {}, "Calls "), this.#name);
    const body = h("pre", { tabIndex: 0, role: "group", "aria-label": "Arguments" }, this.#arguments);
    this.element = h("div", { class: "tool-card", role: "group", "aria-label": "Tool call" }, head, body);
    this.update(call);
  }

  update(call: ToolCall): void {
    setText(this.#name, call.name || "…");
    setText(this.#arguments, readable(call.arguments));
  }
}

/** Complete JSON with indents; what still streams, as it is. */
function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
