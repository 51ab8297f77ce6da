// The chats of this browser: the store, and word to the other tabs that show it.
import { search, type Store, type Summary } from "./store.ts";
import { fromJson } from "./transfer.ts";
import type { Chat } from "./tree.ts";

export class Library {
  readonly #store: Store;
  readonly #tabs = new BroadcastChannel("strata");

  /** @param onElsewhere called with the id of a chat that another tab changed */
  constructor(store: Store, onElsewhere: (id: string) => void) {
    this.#store = store;
    this.#tabs.onmessage = ({ data }) => onElsewhere(String(data));
  }

  get lasting(): boolean {
    return this.#store.lasting;
  }

  /** The chats that have the words of `query`; all for an empty one. */
  async list(query: string): Promise<Summary[]> {
    return query.trim() ? search(await this.#store.all(), query) : this.#store.list();
  }

  get = (id: string): Promise<Chat | undefined> => this.#store.get(id);
  all = (): Promise<Chat[]> => this.#store.all();
  clear = (): Promise<void> => this.#store.clear();

  /** Keeps a chat as it is; one without messages is not worth it. */
  async keep(chat: Chat): Promise<void> {
    if (chat.messages.length === 0) return;
    await this.#store.put(chat);
    this.#tabs.postMessage(chat.id);
  }

  async remove(id: string): Promise<void> {
    await this.#store.remove(id);
    this.#tabs.postMessage(id);
  }

  /** Adds the chats of an exported file; how many. @throws Error with a sentence for the user */
  async take(text: string): Promise<number> {
    const taken = new Set((await this.#store.list()).map((chat) => chat.id));
    const chats = fromJson(text, taken);
    for (const chat of chats) await this.keep(chat);
    return chats.length;
  }
}
