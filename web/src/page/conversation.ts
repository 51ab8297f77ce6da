// Shows the messages of a chat, keeps the newest in sight while the reader is at the end.
import type { ServedModel } from "../api/types.ts";
import { shownPath, type Chat, type Message } from "../chat/tree.ts";
import { AnswerView } from "./answer_view.ts";
import { iconButton } from "./buttons.ts";
import { h } from "./dom.ts";
import { count } from "./format.ts";
import type { MessageActions } from "./message_actions.ts";
import { QuestionView } from "./question_view.ts";

/** So near to the end, in pixels, the view follows what is added. */
const kNearEnd = 80;

export class Conversation {
  readonly element: HTMLElement;
  readonly #turns = h("div", { class: "turns" });
  readonly #after = h("div", { class: "after" });
  readonly #toEnd: HTMLButtonElement;
  readonly #actions: MessageActions;
  #views: (QuestionView | AnswerView)[] = [];
  #follows = true;
  #lastTop = 0;

  constructor(actions: MessageActions) {
    this.#actions = actions;
    this.#toEnd = iconButton("down", "Go to the newest", () => this.scrollToEnd(), "to-end");
    const scroll = h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Conversation" }, this.#turns, this.#after);
    scroll.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    this.element = h("div", { class: "conversation" }, scroll, this.#toEnd);
    // Blocks that come into view take their true height.
    new ResizeObserver(() => this.#keepEnd()).observe(this.#turns);
  }

  get #scroll(): HTMLElement {
    return this.element.firstElementChild as HTMLElement;
  }

  /**
   * Shows the chat's path. `running` is the message that still streams, `extra` what stands after the last message.
   * Messages that are shown already keep their place and what is folded in them.
   */
  show(chat: Chat, running: Message | undefined, extra: Node[], model: ServedModel): void {
    const path = shownPath(chat);
    const old = new Map(this.#views.map((view) => [view.message, view]));
    this.#views = path.map((message) => {
      const View = message.role === "user" ? QuestionView : AnswerView;
      return old.get(message) ?? new View(chat, message, this.#actions);
    });
    this.#views.forEach((view, at) => view.update(view.message === running, at === this.#views.length - 1));
    const elements = this.#views.map((view) => view.element);
    // Moving an element that stands right would fold it and lose its scroll: only what differs is replaced.
    elements.forEach((element, at) => {
      const there = this.#turns.children[at];
      if (there !== element) this.#turns.insertBefore(element, there ?? null);
    });
    while (this.#turns.childElementCount > elements.length) this.#turns.lastElementChild?.remove();
    if (path.length === 0) this.#turns.append(welcome(model));
    this.#after.replaceChildren(...extra);
    this.#keepEnd();
  }

  /** Brings the streaming answer up to date. */
  updateRunning(message: Message): void {
    const view = this.#views.find((shown) => shown.message === message);
    if (view instanceof AnswerView) view.update(true, true);
    this.#keepEnd();
  }

  /** Gives the arrow of a direction the focus after its message changed places with another version. */
  focusArrow(shown: Message | undefined, step: number): void {
    const view = this.#views.find((candidate) => candidate.message === shown);
    const arrows = [...(view?.element.querySelectorAll<HTMLButtonElement>(".branches button") ?? [])];
    const wanted = arrows[step < 0 ? 0 : 1];
    (wanted?.disabled ? arrows.find((arrow) => !arrow.disabled) : wanted)?.focus();
  }

  editLast(): boolean {
    const last = this.#views.findLast((view) => view instanceof QuestionView);
    last?.edit();
    return last !== undefined;
  }

  scrollToEnd(): void {
    this.#follows = true;
    this.#keepEnd();
  }

  #keepEnd(): void {
    if (this.#follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#noteScroll();
  }

  #noteScroll(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    // The end moves away by itself as the answer grows; only a move up is the reader's wish to stay.
    const nearEnd = scrollHeight - scrollTop - clientHeight < kNearEnd;
    if (nearEnd) this.#follows = true;
    else if (scrollTop < this.#lastTop) this.#follows = false;
    this.#lastTop = scrollTop;
    this.#toEnd.hidden = this.#follows;
  }
}

function welcome(model: ServedModel): HTMLElement {
  const facts = [model.id, model.contextTokens && `${count(model.contextTokens)} tokens of context`].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "welcome" },
    h("h2", {}, "Ask something"),
    h("p", { class: "facts" }, facts),
    h("p", {}, "The model runs on this server. Chats stay in this browser, and the page asks no other host for anything."),
  );
}
