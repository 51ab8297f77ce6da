// What the buttons of a message do, and the arrows between its branches.
import { branches, type Chat, type Message } from "../chat/tree.ts";
import { iconButton } from "./buttons.ts";
import { h } from "./dom.ts";

export interface MessageActions {
  edit(message: Message, text: string): void;
  again(message: Message): void;
  goOn(message: Message): void;
  remove(message: Message): void;
  showBranch(message: Message, step: number): void;
  say(text: string): void;
}

/** "‹ 2/3 ›", nothing where there is one branch. */
export function branchArrows(chat: Chat, message: Message, actions: MessageActions): HTMLElement | undefined {
  const { all, index } = branches(chat, message);
  if (all.length < 2) return undefined;
  const place = `${index + 1}/${all.length}`;
  const previous = iconButton("left", "Previous version", () => actions.showBranch(message, -1));
  const next = iconButton("right", "Next version", () => actions.showBranch(message, 1));
  previous.disabled = index === 0;
  next.disabled = index === all.length - 1;
  return h("div", { class: "branches", role: "group", "aria-label": `Version ${place.replace("/", " of ")}` }, previous, h("span", {}, place), next);
}
