// Keeps the chats in the browser's IndexedDB; nothing of them is kept on the server.
import type { Chat } from "./tree.ts";

export type Summary = Pick<Chat, "id" | "title" | "updated">;

export interface Store {
  /** Whether chats outlast the page. */
  readonly lasting: boolean;
  /** All chats, the last used first. */
  list(): Promise<Summary[]>;
  get(id: string): Promise<Chat | undefined>;
  put(chat: Chat): Promise<void>;
  remove(id: string): Promise<void>;
  clear(): Promise<void>;
  all(): Promise<Chat[]>;
}

const byUse = (a: Summary, b: Summary) => b.updated - a.updated;
const summary = ({ id, title, updated }: Chat): Summary => ({ id, title, updated });

/** Chats whose title or messages contain every word of `query`, whatever the case. */
export function search(chats: Chat[], query: string): Summary[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (chat: Chat) => {
    const text = [chat.title, ...chat.messages.map((message) => message.content)].join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return chats.filter(matches).map(summary).sort(byUse);
}

/** Where the browser offers no storage (some private windows), chats last as long as the page. */
export class MemoryStore implements Store {
  readonly lasting = false;
  readonly #chats = new Map<string, Chat>();

  async list(): Promise<Summary[]> {
    return [...this.#chats.values()].map(summary).sort(byUse);
  }
  async get(id: string): Promise<Chat | undefined> {
    return structuredClone(this.#chats.get(id));
  }
  async put(chat: Chat): Promise<void> {
    this.#chats.set(chat.id, structuredClone(chat));
  }
  async remove(id: string): Promise<void> {
    this.#chats.delete(id);
  }
  async clear(): Promise<void> {
    this.#chats.clear();
  }
  async all(): Promise<Chat[]> {
    return structuredClone([...this.#chats.values()]);
  }
}

const kDatabase = "strata";
const kChats = "chats";
/** The list's own records, so that showing it reads no messages. */
const kSummaries = "summaries";

class IndexedStore implements Store {
  readonly lasting = true;
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async list(): Promise<Summary[]> {
    const found = await result<Summary[]>(this.#database.transaction(kSummaries).objectStore(kSummaries).getAll());
    return found.sort(byUse);
  }
  get(id: string): Promise<Chat | undefined> {
    return result(this.#database.transaction(kChats).objectStore(kChats).get(id));
  }
  all(): Promise<Chat[]> {
    return result(this.#database.transaction(kChats).objectStore(kChats).getAll());
  }
  put(chat: Chat): Promise<void> {
    return this.#write((chats, summaries) => {
      chats.put(chat);
      summaries.put(summary(chat));
    });
  }
  remove(id: string): Promise<void> {
    return this.#write((chats, summaries) => {
      chats.delete(id);
      summaries.delete(id);
    });
  }
  clear(): Promise<void> {
    return this.#write((chats, summaries) => {
      chats.clear();
      summaries.clear();
    });
  }

  /** Both stores change together or not at all. */
  #write(change: (chats: IDBObjectStore, summaries: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction([kChats, kSummaries], "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("The browser did not keep the chat."));
      change(transaction.objectStore(kChats), transaction.objectStore(kSummaries));
    });
  }
}

function result<T>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => reject(request.error ?? new Error("The browser could not read its chats."));
  });
}

/** The browser's store, or one in memory where it offers none. */
export async function openStore(): Promise<Store> {
  try {
    const opening = indexedDB.open(kDatabase, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore(kChats, { keyPath: "id" });
      opening.result.createObjectStore(kSummaries, { keyPath: "id" });
    };
    return new IndexedStore(await result<IDBDatabase>(opening));
  } catch {
    return new MemoryStore();
  }
}
