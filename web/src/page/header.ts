// The bar at the top: the chat's name and what can be done with it.
import { iconButton, textButton } from "./buttons.ts";
import { h, setText } from "./dom.ts";

export interface HeaderActions {
  menu(): void;
  rename(): void;
  saveMarkdown(): void;
  saveJson(): void;
  remove(): void;
  settings(): void;
  help(): void;
}

export class Header {
  readonly element: HTMLElement;
  readonly #title = h("h1");
  readonly #model = h("span", { class: "model" });
  readonly #more: HTMLButtonElement;
  readonly #menu: HTMLElement;

  constructor(actions: HeaderActions) {
    const choice = (label: string, run: () => void) => textButton(label, () => (this.#menu.hidePopover(), run()), "choice");
    this.#menu = h(
      "div",
      { class: "menu", id: "chat-menu", popover: "auto", role: "group", "aria-label": "This chat" },
      choice("Rename", () => actions.rename()),
      choice("Save as Markdown", () => actions.saveMarkdown()),
      choice("Save as JSON", () => actions.saveJson()),
      choice("Delete chat", () => actions.remove()),
    );
    this.#more = iconButton("more", "This chat", () => {});
    this.#more.popoverTargetElement = this.#menu;
    const name = h("div", { class: "name" }, this.#title, this.#model);
    const menu = iconButton("menu", "Show the list of chats", () => actions.menu(), "show-list");
    const help = iconButton("help", "Keyboard", () => actions.help(), "help");
    this.element = h("header", { class: "header" }, menu, name, this.#more, this.#menu, help, iconButton("settings", "Settings", () => actions.settings()));
  }

  /** @param begun whether the chat has a message: an empty one has nothing to rename or save */
  show(title: string, model: string | undefined, begun: boolean): void {
    setText(this.#title, title || "New chat");
    setText(this.#model, model ?? "");
    this.#more.hidden = !begun;
    document.title = title ? `${title} · Strata` : "Strata";
  }
}
