// Shows a question, and the box that edits it.
import { branches, type Chat, type Message } from "../chat/tree.ts";
import { copyButton, iconButton, textButton } from "./buttons.ts";
import { fill, h } from "./dom.ts";
import { branchArrows, type MessageActions } from "./message_actions.ts";

export class QuestionView {
  readonly element: HTMLElement;
  readonly message: Message;
  readonly #chat: Chat;
  readonly #actions: MessageActions;
  /** What the view was made of. */
  #made = "";

  constructor(chat: Chat, message: Message, actions: MessageActions) {
    this.#chat = chat;
    this.message = message;
    this.#actions = actions;
    this.element = h("article", { class: "turn question", "aria-label": "Question" });
    this.update();
  }

  /** Shows the question anew where something of it changed; a box that edits it stays. */
  update(): void {
    const { all, index } = branches(this.#chat, this.message);
    const making = JSON.stringify([all.length, index, this.message.leftOut, this.message.content]);
    if (this.#made === making || this.element.querySelector("textarea")) return;
    this.#made = making;
    this.#show();
  }

  #show(): void {
    const { message } = this;
    const actions = this.#actions;
    this.element.classList.toggle("left-out", message.leftOut === true);
    fill(
      this.element,
      h("h2", { class: "visually-hidden" }, "You"),
      message.leftOut && h("p", { class: "mark" }, "Left out: not sent any more"),
      h("div", { class: "bubble" }, message.content),
      h(
        "div",
        { class: "turn-actions" },
        branchArrows(this.#chat, message, actions),
        copyButton("Copy the question", () => message.content, actions.say),
        iconButton("edit", "Edit the question", () => this.edit()),
        iconButton("trash", "Delete the question and what follows", () => actions.remove(message)),
      ),
    );
  }

  /** Puts a box with the text in place of the question. Sending it makes a new version beside the old. */
  edit(): void {
    const done = () => box.value.trim() && this.#actions.edit(this.message, box.value);
    const cancel = () => {
      this.#show();
      this.element.querySelector<HTMLElement>('[aria-label="Edit the question"]')?.focus();
    };
    const onkeydown = (event: KeyboardEvent) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        done();
      } else if (event.key === "Escape") {
        event.preventDefault();
        cancel();
      }
    };
    const box = h("textarea", { class: "edit-box", value: this.message.content, "aria-label": "Edit the question", onkeydown });
    const buttons = h("div", { class: "edit-actions" }, textButton("Cancel", cancel), textButton("Send", done, "primary"));
    fill(this.element, h("h2", { class: "visually-hidden" }, "You"), box, buttons);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }
}
