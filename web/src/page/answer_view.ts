// Shows an answer: its thinking, folded; its text; its tool calls; what it took. Follows the answer while it streams.
import { MarkdownView } from "../markdown/view.ts";
import { branches, type Chat, type Message } from "../chat/tree.ts";
import { copyButton, iconButton, textButton } from "./buttons.ts";
import { fill, h, setText } from "./dom.ts";
import { figuresInWords, thoughtInWords } from "./format.ts";
import { icon } from "./icons.ts";
import { branchArrows, type MessageActions } from "./message_actions.ts";
import { ToolCard } from "./tool_card.ts";

export class AnswerView {
  readonly element: HTMLElement;
  readonly message: Message;
  readonly #chat: Chat;
  readonly #actions: MessageActions;
  readonly #summary = h("span");
  readonly #thinking: HTMLDetailsElement;
  readonly #thinkingText: MarkdownView;
  readonly #text: MarkdownView;
  readonly #waiting = h("div", { class: "waiting", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
  readonly #tools = h("div", { class: "tool-cards" });
  readonly #toolCards: ToolCard[] = [];
  readonly #foot = h("div", { class: "turn-foot" });
  /** Whether the user folded or opened the thinking, which then stays so. */
  #touched = false;
  /** What the foot was made of; it is made anew only where that changed, so that a focused button stays. */
  #footMade = "";

  constructor(chat: Chat, message: Message, actions: MessageActions) {
    this.#chat = chat;
    this.message = message;
    this.#actions = actions;
    this.#thinkingText = new MarkdownView(h("div", { class: "thinking-text" }), actions.say);
    this.#text = new MarkdownView(h("div", { class: "answer-text" }), actions.say);
    const summary = h("summary", { onclick: () => (this.#touched = true) }, icon("thought"), this.#summary);
    this.#thinking = h("details", { class: "thinking", hidden: true }, summary, this.#thinkingText.element);
    this.#thinking.addEventListener("toggle", () => this.#showThinking());
    this.element = h("article", { class: "turn answer", "aria-label": "Answer" });
  }

  /** Shows the message as it is. `running`: it still streams. `last`: nothing stands after it. */
  update(running: boolean, last: boolean): void {
    const { message } = this;
    this.element.classList.toggle("left-out", message.leftOut === true);
    this.element.ariaBusy = String(running);
    if (!this.element.firstChild) {
      const heading = h("h2", { class: "visually-hidden" }, "Answer");
      this.element.append(heading, this.#thinking, this.#text.element, this.#tools, this.#waiting, this.#foot);
    }
    this.#updateThinking(running);
    this.#text.update(message.content);
    this.#updateTools();
    const empty = !message.content && !message.reasoning && this.#toolCards.length === 0;
    this.#waiting.hidden = !running || !empty;
    this.element.classList.toggle("running", running && !empty);
    const { all, index } = branches(this.#chat, message);
    const { finish, figures, leftOut } = message;
    const making = running ? "" : JSON.stringify([last, empty, finish, figures, leftOut, all.length, index]);
    if (making === this.#footMade) return;
    this.#footMade = making;
    if (running) fill(this.#foot);
    else this.#showFoot(last, empty);
  }

  #updateThinking(running: boolean): void {
    const { message } = this;
    const thinks = running && !message.content && this.#toolCards.length === 0;
    this.#thinking.hidden = !message.reasoning;
    this.#thinking.classList.toggle("live", thinks);
    // Open while the model thinks, folded once it answers; unless the user said otherwise.
    if (!this.#touched && message.reasoning) this.#thinking.open = thinks;
    const words = thoughtInWords(message.thinkingMs, message.figures?.thinkingTokens);
    setText(this.#summary, thinks ? words.replace("Thought", "Thinking") : words);
    this.#showThinking();
  }

  /** The text of folded thinking is made when it is opened. */
  #showThinking(): void {
    if (this.#thinking.open) this.#thinkingText.update(this.message.reasoning ?? "");
  }

  #updateTools(): void {
    (this.message.toolCalls ?? []).forEach((call, at) => {
      const card = this.#toolCards[at];
      if (card) return card.update(call);
      const added = new ToolCard(call);
      this.#toolCards.push(added);
      this.#tools.append(added.element);
    });
  }

  #showFoot(last: boolean, empty: boolean): void {
    const { message } = this;
    const actions = this.#actions;
    const marks = [message.leftOut && "Left out: not sent any more", empty && "The model said nothing.", endInWords(message.finish)];
    const goesOn = last && (message.finish === undefined || message.finish === "length" || message.finish === "stopped");
    fill(
      this.#foot,
      ...marks.map((mark) => mark && h("p", { class: "mark" }, mark)),
      h(
        "div",
        { class: "turn-actions" },
        branchArrows(this.#chat, message, actions),
        copyButton("Copy the answer", () => message.content, actions.say),
        iconButton("again", "Ask again", () => actions.again(message)),
        iconButton("trash", "Delete the answer and what follows", () => actions.remove(message)),
        goesOn && !empty && textButton("Continue", () => actions.goOn(message), "small"),
        message.figures && h("span", { class: "figures" }, figuresInWords(message.figures)),
      ),
    );
  }
}

/** Why an answer ended, where that is not the usual end. */
function endInWords(finish: string | undefined): string | undefined {
  switch (finish) {
    case "stop":
    case "tool_calls":
      return undefined;
    case undefined:
      return "The answer broke off.";
    case "stopped":
      return "Stopped.";
    case "length":
      return "The answer reached the most tokens that it may have.";
    case "timeout":
      return "The answer took too long and was ended.";
    case "abort":
      return "The server shut down during the answer.";
    default:
      return `The answer ended: ${finish}.`;
  }
}
