// The box for the next question, with the switches that hold for it.
import type { Settings } from "../chat/settings.ts";
import { iconButton } from "./buttons.ts";
import { fill, h } from "./dom.ts";
import { icon } from "./icons.ts";

export interface ComposerActions {
  send(text: string): void;
  stop(): void;
  editLast(): boolean;
  changed(text: string): void;
  change(settings: Partial<Settings>): void;
  openSettings(): void;
  refuse(text: string): void;
}

/** The largest text file that is taken into a question. */
const kMostFileBytes = 1 << 20;

const kBudgets: [value: string, label: string][] = [
  ["", "without limit"],
  ...[128, 512, 1024, 4096, 16384].map((tokens): [string, string] => [String(tokens), `up to ${tokens.toLocaleString("en")} tokens`]),
];

export class Composer {
  readonly element: HTMLElement;
  readonly box: HTMLTextAreaElement;
  readonly #think: HTMLButtonElement;
  readonly #budget: HTMLSelectElement;
  readonly #modes = h("span", { class: "modes" });
  readonly #send: HTMLButtonElement;
  readonly #actions: ComposerActions;
  #running = false;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.box = h("textarea", {
      rows: 1,
      placeholder: "Write a message",
      "aria-label": "Message",
      oninput: () => this.#noteChange(),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
    });
    const picker = h("input", { type: "file", hidden: true, multiple: true, "aria-label": "Text files", onchange: () => this.#take(picker.files).then(() => (picker.value = "")) });
    const attach = iconButton("file", "Add a text file", () => picker.click());
    this.#think = h("button", { type: "button", class: "toggle", onclick: () => actions.change({ thinking: this.#think.ariaPressed !== "true" }) }, icon("thought"), "Think");
    this.#budget = h("select", { "aria-label": "Most tokens of thinking", onchange: () => this.#setBudget() });
    this.#send = h("button", { type: "button", class: "send", onclick: () => (this.#running ? actions.stop() : this.#submit()) });
    const tools = h("div", { class: "composer-tools" }, attach, picker, this.#think, this.#budget, this.#modes, this.#send);
    this.element = h("div", { class: "composer", role: "group", "aria-label": "New message" }, this.box, tools);
    this.element.addEventListener("dragover", (event) => event.preventDefault());
    this.element.addEventListener("drop", (event) => this.#drop(event));
    this.setRunning(false);
  }

  /** Shows the settings that hold for the next question. */
  showSettings(settings: Settings): void {
    this.#think.ariaPressed = String(settings.thinking);
    this.#budget.hidden = !settings.thinking;
    const value = settings.thinkingBudget === null ? "" : String(settings.thinkingBudget);
    const known = kBudgets.some(([budget]) => budget === value);
    const choices: [string, string][] = known ? kBudgets : [...kBudgets, [value, `up to ${value} tokens`]];
    fill(this.#budget, ...choices.map(([budget, label]) => h("option", { value: budget }, label)));
    this.#budget.value = value;
    const mode = (label: string) => h("button", { type: "button", class: "mode", title: "Open the settings", onclick: () => this.#actions.openSettings() }, label);
    fill(this.#modes, settings.schemaOn && mode("JSON"), settings.toolsOn && mode("Tools"));
  }

  setRunning(running: boolean): void {
    this.#running = running;
    const label = running ? "Stop (Esc)" : "Send";
    if (this.#send.title === label) return;
    this.#send.title = label;
    this.#send.ariaLabel = label;
    this.#send.classList.toggle("stop", running);
    fill(this.#send, icon(running ? "stop" : "send"));
  }

  /** Puts a text into the box, unsent. */
  setText(text: string): void {
    this.box.value = text;
    this.#fit();
  }

  #setBudget(): void {
    this.#actions.change({ thinkingBudget: this.#budget.value === "" ? null : Number(this.#budget.value) });
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && this.box.value === "" && this.#actions.editLast()) {
      event.preventDefault();
    }
  }

  #submit(): void {
    const text = this.box.value;
    if (!text.trim()) return;
    if (this.#running) return this.#actions.refuse("Wait for the answer, or press Escape to stop it.");
    this.setText("");
    this.#actions.changed("");
    this.#actions.send(text);
  }

  #noteChange(): void {
    this.#fit();
    this.#actions.changed(this.box.value);
  }

  /** Grows with the text where the browser does not do it by itself. */
  #fit(): void {
    if (CSS.supports("field-sizing", "content")) return;
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
  }

  #drop(event: DragEvent): void {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    void this.#take(event.dataTransfer.files);
  }

  /** Adds text files to the question, each in a fence that nothing in it closes. */
  async #take(files: FileList | null): Promise<void> {
    for (const file of [...(files ?? [])]) {
      if (file.size > kMostFileBytes) {
        this.#actions.refuse(`“${file.name}” is larger than 1 MiB; a question takes smaller files.`);
        continue;
      }
      try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
        if (text.includes("\0")) throw new Error("binary");
        const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map((run) => run[0].length));
        const fence = "`".repeat(longest + 1);
        const before = this.box.value && !this.box.value.endsWith("\n") ? "\n\n" : "";
        this.setText(`${this.box.value}${before}${file.name}:\n${fence}\n${text.trimEnd()}\n${fence}\n`);
        this.#noteChange();
      } catch {
        this.#actions.refuse(`“${file.name}” is not a text in UTF-8; the model reads only text.`);
      }
    }
    this.box.focus();
  }
}
