// A chat: messages as a tree, of which one path is shown. Editing a message or asking again adds a branch beside it.
import type { Figures } from "../api/answer.ts";
import type { ToolCall } from "../api/types.ts";

export interface Message {
  id: string;
  /** The message before; null for a first message. */
  parent: string | null;
  role: "user" | "assistant";
  content: string;
  created: number;
  /** Kept and shown, but not sent: it was left out to make room. */
  leftOut?: boolean;

  // Of an answer:
  reasoning?: string;
  thinkingMs?: number;
  toolCalls?: ToolCall[];
  /** Why it ended: the server's finish_reason, or "stopped" by the user; missing while it runs or where it broke off. */
  finish?: string;
  figures?: Figures;
  model?: string;
}

export interface Chat {
  id: string;
  title: string;
  created: number;
  updated: number;
  /** Oldest first, so that a parent stands before its children. */
  messages: Message[];
  /** Which child of a message is shown, by the parent's id ("" for first messages); the newest where none is named. */
  shown: Record<string, string>;
}

export function newChat(now: number): Chat {
  return { id: crypto.randomUUID(), title: "", created: now, updated: now, messages: [], shown: {} };
}

const children = (chat: Chat, parent: string | null) => chat.messages.filter((message) => message.parent === parent);

/** The messages shown, first to last. */
export function shownPath(chat: Chat): Message[] {
  const byParent = new Map<string | null, Message[]>();
  for (const message of chat.messages) {
    const beside = byParent.get(message.parent);
    if (beside) beside.push(message);
    else byParent.set(message.parent, [message]);
  }
  const path: Message[] = [];
  for (let parent: string | null = null; ; ) {
    const choices: Message[] = byParent.get(parent) ?? [];
    const next = choices.find((message) => message.id === chat.shown[parent ?? ""]) ?? choices.at(-1);
    if (!next) return path;
    path.push(next);
    parent = next.id;
  }
}

/** The shown messages before `id`. */
export function pathBefore(chat: Chat, id: string): Message[] {
  const path = shownPath(chat);
  const at = path.findIndex((message) => message.id === id);
  return at < 0 ? path : path.slice(0, at);
}

/** Adds a message after `parent` and shows it. */
export function addMessage(chat: Chat, parent: string | null, role: Message["role"], content: string, now: number): Message {
  const message: Message = { id: crypto.randomUUID(), parent, role, content, created: now };
  chat.messages.push(message);
  chat.shown[parent ?? ""] = message.id;
  chat.updated = now;
  if (!chat.title && role === "user") chat.title = titleFrom(content);
  return message;
}

/** The branches at a message, oldest first, and which of them it is. */
export function branches(chat: Chat, message: Message): { all: Message[]; index: number } {
  const all = children(chat, message.parent);
  return { all, index: all.indexOf(message) };
}

/** Shows the branch `step` places after the message's own, if there is one. */
export function showBranch(chat: Chat, message: Message, step: number): void {
  const { all, index } = branches(chat, message);
  const other = all[index + step];
  if (other) chat.shown[message.parent ?? ""] = other.id;
}

/** Removes a message and all that follows it, in every branch. */
export function removeMessage(chat: Chat, id: string): void {
  const gone = new Set([id]);
  // Parents stand before children, so one pass finds them all.
  for (const message of chat.messages) {
    if (message.parent !== null && gone.has(message.parent)) gone.add(message.id);
  }
  chat.messages = chat.messages.filter((message) => !gone.has(message.id));
  for (const [parent, child] of Object.entries(chat.shown)) {
    if (gone.has(parent) || gone.has(child)) delete chat.shown[parent];
  }
}

/** Leaves the oldest question that is still sent, and its answer, out of later requests. False where only the last is left. */
export function leaveOutOldest(chat: Chat): boolean {
  const sent = shownPath(chat).filter((message) => !message.leftOut);
  const second = sent.findIndex((message, at) => at > 0 && message.role === "user");
  if (second < 0) return false;
  for (const message of sent.slice(0, second)) message.leftOut = true;
  return true;
}

/** A title from a first message: its first line, cut between words. */
export function titleFrom(content: string, limit = 60): string {
  const line = content.trim().split("\n", 1)[0]?.trim() ?? "";
  if (line.length <= limit) return line;
  const cut = line.slice(0, limit - 1);
  const space = cut.lastIndexOf(" ");
  return `${(space > limit / 2 ? cut.slice(0, space) : cut).trimEnd()}…`;
}
