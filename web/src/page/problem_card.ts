// Shows what went wrong, with buttons for what can be done.
import type { Problem, Remedy } from "../api/problem.ts";
import { textButton } from "./buttons.ts";
import { h } from "./dom.ts";

export interface Remedies {
  retry(): void;
  useKey(key: string): void;
  leaveOutOldest(): void;
  newChat(): void;
  openSettings(): void;
}

export function problemCard(problem: Problem, remedies: Remedies): HTMLElement {
  const actions = problem.remedies.map((remedy) => control(remedy, remedies));
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", { class: "problem-title" }, problem.title),
    h("p", {}, problem.text),
    h("div", { class: "problem-actions" }, ...actions),
  );
}

function control(remedy: Remedy, remedies: Remedies): HTMLElement {
  switch (remedy) {
    case "retry":
      return textButton("Try again", () => remedies.retry());
    case "leave_out_oldest":
      return textButton("Leave out the oldest turn", () => remedies.leaveOutOldest());
    case "new_chat":
      return textButton("New chat", () => remedies.newChat());
    case "open_settings":
      return textButton("Settings", () => remedies.openSettings());
    case "enter_key":
      return keyField(remedies);
  }
}

function keyField(remedies: Remedies): HTMLElement {
  const use = () => field.value.trim() && remedies.useKey(field.value.trim());
  const onkeydown = (event: KeyboardEvent) => event.key === "Enter" && (event.preventDefault(), use());
  const field = h("input", { type: "password", autocomplete: "off", spellcheck: false, "aria-label": "API key", placeholder: "API key", onkeydown });
  return h("div", { class: "key-field" }, field, textButton("Use this key", use, "primary"));
}
