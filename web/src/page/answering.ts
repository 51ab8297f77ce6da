// The answers on their way, one a chat at most, and what went wrong with the last of each chat.
import { describe, type Problem } from "../api/problem.ts";
import { chatRequest } from "../api/request.ts";
import { Run } from "../chat/run.ts";
import type { Settings } from "../chat/settings.ts";
import { addMessage, pathBefore, removeMessage, type Chat } from "../chat/tree.ts";
import type { Announcer } from "./announcer.ts";
import { counted, words } from "./format.ts";
import { Sentences } from "./sentences.ts";

/** How often an answer on its way is kept, so that a reload loses little of it. */
const kSaveEveryMs = 1000;

export interface AnsweringActions {
  /** Whether the chat is the one on the page: only that one is read out. */
  isShown(chat: Chat): boolean;
  draw(run: Run): void;
  save(chat: Chat): Promise<void>;
  /** An answer ended, however it did; it is saved. */
  ended(chat: Chat): void;
}

export class Answering {
  readonly #runs = new Map<string, Run>();
  readonly #problems = new Map<string, Problem>();
  readonly #announcer: Announcer;
  readonly #actions: AnsweringActions;

  constructor(announcer: Announcer, actions: AnsweringActions) {
    this.#announcer = announcer;
    this.#actions = actions;
  }

  run = (chat: string): Run | undefined => this.#runs.get(chat);
  problem = (chat: string): Problem | undefined => this.#problems.get(chat);
  all = (): Run[] => [...this.#runs.values()];

  stop(chat: string): void {
    this.#runs.get(chat)?.stop();
  }

  forgetProblem(chat: string): void {
    this.#problems.delete(chat);
  }

  /** Stops for a chat that is deleted: nothing of its answer is saved any more. */
  forget(chat: string): void {
    this.stop(chat);
    this.#runs.delete(chat);
    this.#problems.delete(chat);
  }

  /** Asks for an answer to the message `parent`, beside those that it has. */
  start(chat: Chat, parent: string | null, settings: Settings, model: string | undefined): void {
    this.forget(chat.id);
    const message = addMessage(chat, parent, "assistant", "", Date.now());
    const request = chatRequest(pathBefore(chat, message.id), settings, model);
    const sentences = new Sentences();
    let savedAt = performance.now();
    const run: Run = new Run(chat, message, request, () => {
      if (this.#runs.get(chat.id) !== run) return;
      this.#actions.draw(run);
      if (this.#actions.isShown(chat)) this.#announcer.read(sentences.next(message.content, message.finish !== undefined));
      if (performance.now() - savedAt < kSaveEveryMs) return;
      savedAt = performance.now();
      void this.#actions.save(chat);
    });
    this.#runs.set(chat.id, run);
    void this.#actions.save(chat);
    this.#announcer.say("Generating");
    void run.finish().then(() => this.#finished(run));
  }

  async #finished(run: Run): Promise<void> {
    const { chat, message, error } = run;
    const nothing = !message.content && !message.reasoning && !message.toolCalls;
    if (nothing && (error !== undefined || message.finish === "stopped")) removeMessage(chat, message.id);
    // Another answer took its place, or the chat is deleted.
    if (this.#runs.get(chat.id) !== run) return;
    this.#runs.delete(chat.id);
    if (error !== undefined) this.#problems.set(chat.id, describe(error));
    chat.updated = Date.now();
    await this.#actions.save(chat);
    this.#actions.ended(chat);
    if (!this.#actions.isShown(chat)) return;
    this.#announcer.flush();
    if (error === undefined) this.#announcer.say(`Done, ${counted(words(message.content), "word")}`);
  }
}
