// The list of chats, with search.
import type { Summary } from "../chat/store.ts";
import { iconButton } from "./buttons.ts";
import { fill, h } from "./dom.ts";
import { age } from "./format.ts";
import { icon } from "./icons.ts";

export interface SidebarActions {
  newChat(): void;
  rename(id: string): void;
  remove(id: string): void;
  search(query: string): void;
  fold(): void;
}

export class Sidebar {
  readonly element: HTMLElement;
  readonly search: HTMLInputElement;
  readonly #list = h("div", { class: "chat-list" });
  readonly #actions: SidebarActions;

  constructor(actions: SidebarActions) {
    this.#actions = actions;
    this.search = h("input", {
      type: "search",
      placeholder: "Search",
      "aria-label": "Search the chats",
      oninput: () => actions.search(this.search.value),
      onkeydown: (event: KeyboardEvent) => event.key === "ArrowDown" && this.#list.querySelector("a")?.focus(),
    });
    const brand = h("div", { class: "brand" }, h("span", { class: "brand-name" }, "Strata"));
    const fold = iconButton("fold", "Hide the list of chats", () => actions.fold());
    const create = h("button", { type: "button", class: "new-chat", onclick: () => actions.newChat() }, icon("plus"), "New chat");
    const find = h("div", { class: "search" }, icon("search"), this.search);
    const nav = h("nav", { "aria-label": "Chats" }, this.#list);
    this.element = h("aside", { class: "sidebar", "aria-label": "Chats and search" }, h("div", { class: "sidebar-head" }, brand, fold), create, find, nav);
  }

  /** Shows the chats under headings by their age. */
  show(chats: Summary[], current: string, running: (id: string) => boolean): void {
    const focused = document.activeElement?.closest<HTMLElement>("li")?.dataset.chat;
    const groups = Map.groupBy(chats, (chat) => age(chat.updated, Date.now()));
    const parts = [...groups].map(([heading, group]) => {
      const items = group.map((chat) => this.#item(chat, chat.id === current, running(chat.id)));
      return h("section", {}, h("h2", {}, heading), h("ul", {}, ...items));
    });
    const empty = this.search.value ? "No chat has these words." : "Chats are kept in this browser only.";
    fill(this.#list, ...(parts.length > 0 ? parts : [h("p", { class: "empty-list" }, empty)]));
    if (focused) this.#list.querySelector<HTMLElement>(`li[data-chat="${CSS.escape(focused)}"] a`)?.focus();
  }

  #item(chat: Summary, current: boolean, running: boolean): HTMLElement {
    const title = chat.title || "Untitled";
    const link = h(
      "a",
      { href: `#${chat.id}`, title, "aria-current": current ? "page" : undefined },
      h("span", {}, title),
      running && h("span", { class: "busy", role: "img", "aria-label": "answering" }),
    );
    const rename = iconButton("edit", `Rename “${title}”`, () => this.#actions.rename(chat.id), "quiet");
    const remove = iconButton("trash", `Delete “${title}”`, () => this.#actions.remove(chat.id), "quiet");
    const item = h("li", {}, link, rename, remove);
    item.dataset.chat = chat.id;
    return item;
  }
}
