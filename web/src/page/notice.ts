// A line at the foot of the page that says what was done, with a way to undo it. It stays until the next one or closed.
import { iconButton, textButton } from "./buttons.ts";
import { fill, h } from "./dom.ts";

export class Notice {
  readonly element = h("div", { class: "notice", role: "status", hidden: true });

  show(text: string, action?: { label: string; run: () => void }): void {
    const act = action && textButton(action.label, () => (this.hide(), action.run()));
    fill(this.element, h("span", {}, text), act, iconButton("close", "Close", () => this.hide()));
    this.element.hidden = false;
  }

  hide(): void {
    this.element.hidden = true;
    fill(this.element);
  }
}
