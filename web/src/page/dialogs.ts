// Small modal dialogs: a question with yes or no, a line to type, the list of keys.
import { iconButton, textButton } from "./buttons.ts";
import { h } from "./dom.ts";
import { kShortcuts } from "./keyboard.ts";

let dialogs = 0;

/** A modal dialog with a heading. Escape and a click beside it close it; it is removed once closed. */
export function modal(title: string, extra: string, ...content: (Node | string)[]): HTMLDialogElement {
  const id = `dialog-${++dialogs}`;
  const head = h("div", { class: "dialog-head" }, h("h2", { id }, title), iconButton("close", "Close", () => dialog.close()));
  const dialog = h("dialog", { class: `dialog ${extra}`, "aria-labelledby": id }, head, ...content);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something that can't be undone. */
export function confirmed(title: string, text: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = false;
    const yes = textButton(action, () => ((answer = true), dialog.close()), "danger");
    const no = textButton("Cancel", () => dialog.close());
    const dialog = modal(title, "small", h("p", {}, text), h("div", { class: "dialog-actions" }, no, yes));
    dialog.addEventListener("close", () => resolve(answer));
    no.focus();
  });
}

/** Asks for a line of text; nothing where it was cancelled. */
export function askText(title: string, label: string, value: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer: string | undefined;
    const done = () => ((answer = field.value.trim() || undefined), dialog.close());
    const onkeydown = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || event.isComposing) return;
      // Else the key would go on to press the button that gets the focus back.
      event.preventDefault();
      done();
    };
    const field = h("input", { type: "text", value, maxLength: 200, onkeydown });
    const actions = h("div", { class: "dialog-actions" }, textButton("Cancel", () => dialog.close()), textButton("Save", done, "primary"));
    const dialog = modal(title, "small", h("label", { class: "field" }, label, field), actions);
    dialog.addEventListener("close", () => resolve(answer));
    field.focus();
    field.select();
  });
}

export function showShortcuts(): void {
  const rows = kShortcuts.flatMap(([keys, meaning]) => [h("dt", {}, ...keys.map((key) => h("kbd", {}, key))), h("dd", {}, meaning)]);
  modal("Keyboard", "small", h("dl", { class: "shortcuts" }, ...rows));
}
