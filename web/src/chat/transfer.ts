// Chats as files: JSON to move them to another browser, Markdown to read them.
import { shownPath, type Chat, type Message } from "./tree.ts";

const kFormat = "strata-chats";
const kVersion = 1;

export function toJson(chats: Chat[]): string {
  return JSON.stringify({ format: kFormat, version: kVersion, chats }, null, 1);
}

/**
 * The chats in an exported file, with new ids where `taken` has theirs.
 * @throws Error with a sentence for the user where the file is not one of ours
 */
export function fromJson(text: string, taken: Set<string>): Chat[] {
  let file: { format?: unknown; version?: unknown; chats?: unknown };
  try {
    file = Object(JSON.parse(text)) as typeof file;
  } catch {
    throw new Error("This file is not JSON; choose one that this page exported.");
  }
  if (file.format !== kFormat || !Array.isArray(file.chats)) {
    throw new Error("This file holds no chats of this page; choose one that it exported.");
  }
  if (file.version !== kVersion) {
    throw new Error(`This file is of version ${String(file.version)}; this page reads version ${kVersion}.`);
  }
  return file.chats.map((chat: unknown, at: number) => {
    if (!isChat(chat)) throw new Error(`Chat ${at + 1} of this file is damaged; nothing was imported.`);
    return taken.has(chat.id) ? { ...chat, id: crypto.randomUUID() } : chat;
  });
}

/** Whether a foreign value is a chat that the page can show: every parent stands before its children. */
function isChat(value: unknown): value is Chat {
  const chat = Object(value) as Chat;
  const typed =
    typeof chat.id === "string" &&
    typeof chat.title === "string" &&
    typeof chat.created === "number" &&
    typeof chat.updated === "number" &&
    Array.isArray(chat.messages) &&
    Object.values(Object(chat.shown)).every((id) => typeof id === "string");
  if (!typed) return false;
  const known = new Set<string | null>([null]);
  for (const message of chat.messages) {
    if (!isMessage(message) || known.has(message.id) || !known.has(message.parent)) return false;
    known.add(message.id);
  }
  return true;
}

function isMessage(value: unknown): value is Message {
  const message = Object(value) as Message;
  return (
    typeof message.id === "string" &&
    (message.role === "user" || message.role === "assistant") &&
    typeof message.content === "string" &&
    typeof (message.reasoning ?? "") === "string" &&
    Object.values(message.figures ?? {}).every((figure) => typeof figure === "number") &&
    isList(message.toolCalls ?? [], (call) => typeof call.name === "string" && typeof call.arguments === "string")
  );
}

const isList = <T>(value: T[], holds: (item: T) => boolean) => Array.isArray(value) && value.every(holds);

/** The shown path of a chat as Markdown. */
export function toMarkdown(chat: Chat): string {
  const parts = [`# ${chat.title || "Chat"}`];
  for (const message of shownPath(chat)) {
    parts.push(message.role === "user" ? "## You" : `## ${message.model ?? "Answer"}`);
    if (message.reasoning) parts.push(message.reasoning.trim().replace(/^/gm, "> "));
    if (message.content) parts.push(message.content.trim());
    for (const call of message.toolCalls ?? []) parts.push(`Calls \`${call.name}\`:\n\n\`\`\`json\n${call.arguments}\n\`\`\``);
  }
  return `${parts.join("\n\n")}\n`;
}

/** A file name from a title: its letters and digits, whatever the script. */
export function fileName(title: string, extension: string): string {
  const stem = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return `${stem.slice(0, 50) || "chat"}.${extension}`;
}
