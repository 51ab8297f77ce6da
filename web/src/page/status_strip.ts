// The line under the box: what happens at this moment, and how full the context is.
import type { Figures } from "../api/answer.ts";
import type { Run } from "../chat/run.ts";
import { h, setText } from "./dom.ts";
import { count, counted, progressInWords, rate } from "./format.ts";

export class StatusStrip {
  readonly element: HTMLElement;
  readonly #activity = h("span", { class: "activity" });
  readonly #progress = h("progress", { max: 1, hidden: true, "aria-label": "Reading the prompt" });
  readonly #meter: HTMLElement;
  readonly #used = h("span", { class: "meter-used" });
  readonly #cached = h("span", { class: "meter-cached" });
  readonly #context = h("span", { class: "context" });

  constructor() {
    const bar = h("span", { class: "meter-bar" }, this.#used, this.#cached);
    this.#meter = h("div", { class: "meter", role: "meter", "aria-label": "Context used", "aria-valuemin": 0, hidden: true }, bar, this.#context);
    this.element = h("div", { class: "status-strip" }, h("div", { class: "doing" }, this.#progress, this.#activity), this.#meter);
  }

  /** Shows what a run does; without one, nothing but `idle`. */
  showRun(run: Run | undefined, idle: string): void {
    const progress = run && !run.waiting && run.answer.phase === "reading" ? run.answer.progress : undefined;
    this.#progress.hidden = progress?.total === undefined;
    if (progress?.total) this.#progress.value = (progress.processed ?? 0) / progress.total;
    setText(this.#activity, run ? inWords(run) : idle);
  }

  /** Shows how much of the context the last answer left used, and how much of its prompt came from the cache. */
  showContext(figures: Figures | undefined, limit: number | undefined): void {
    const used = (figures?.promptTokens ?? 0) + (figures?.answerTokens ?? 0);
    this.#meter.hidden = used === 0;
    if (used === 0) return;
    const cached = figures?.cachedTokens ?? 0;
    const share = (tokens: number) => `${Math.min(100, (100 * tokens) / (limit ?? Math.max(1, used)))}%`;
    this.#used.style.width = share(used);
    this.#cached.style.width = share(cached);
    this.#meter.classList.toggle("nearly-full", limit !== undefined && used > 0.9 * limit);
    const text = `${count(used)}${limit === undefined ? "" : ` of ${count(limit)}`} tokens${cached ? `, ${count(cached)} cached` : ""}`;
    setText(this.#context, text);
    this.#meter.ariaValueMax = String(limit ?? used);
    this.#meter.ariaValueNow = String(Math.min(used, limit ?? used));
    this.#meter.ariaValueText = text;
  }
}

function inWords({ waiting, answer }: Run): string {
  if (waiting) {
    const left = waiting.until === undefined ? undefined : Math.ceil((waiting.until - performance.now()) / 1000);
    if (left !== undefined) return `The server is busy; trying again in ${counted(Math.max(0, left), "second")}`;
    return waiting.error.status === 503 ? "The server is not ready; waiting for it" : "The server can't be reached; waiting for it";
  }
  const { tokensPerSecond, answerTokens } = answer.figures();
  const speed = tokensPerSecond === undefined ? [] : [rate(tokensPerSecond)];
  switch (answer.phase) {
    case "waiting":
      return "Waiting for the model";
    case "reading":
      return progressInWords(answer.progress ?? {});
    case "thinking":
      return ["Thinking", counted(answerTokens ?? 0, "token"), ...speed].join(" · ");
    case "answering":
      return ["Writing", counted(answerTokens ?? 0, "token"), ...speed].join(" · ");
  }
}
