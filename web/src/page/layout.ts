// Puts the parts of the page in their places; on a narrow screen the list of chats slides over the rest.
import { loadFolded, saveFolded } from "../chat/local.ts";
import { h } from "./dom.ts";

const narrow = matchMedia("(max-width: 760px)");

export class Layout {
  readonly #sidebar: HTMLElement;
  readonly #main: HTMLElement;
  readonly #shade = h("div", { class: "shade", onclick: () => this.closeOnNarrow() });

  constructor(sidebar: HTMLElement, header: HTMLElement, conversation: HTMLElement, foot: HTMLElement[], rest: HTMLElement[]) {
    this.#sidebar = sidebar;
    const content = h("main", {}, conversation, ...foot);
    this.#main = h("div", { class: "column" }, header, content);
    document.body.replaceChildren(sidebar, this.#shade, this.#main, ...rest);
    this.setOpen(!narrow.matches && !loadFolded());
    narrow.addEventListener("change", () => this.setOpen(!narrow.matches && !loadFolded()));
  }

  get isOpen(): boolean {
    return document.body.classList.contains("list-open");
  }

  /** Opens or closes the list; on a wide screen that is remembered. */
  setOpen(open: boolean, byUser = false): void {
    if (byUser && !narrow.matches) saveFolded(!open);
    document.body.classList.toggle("list-open", open);
    this.#sidebar.inert = !open;
    // Under the open list nothing can be reached by keyboard.
    this.#main.inert = open && narrow.matches;
  }

  closeOnNarrow(): boolean {
    if (!narrow.matches || !this.isOpen) return false;
    this.setOpen(false);
    return true;
  }
}
