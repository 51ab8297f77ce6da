// Saves chats to files and reads them back.
import { toJson, toMarkdown, fileName } from "../chat/transfer.ts";
import type { Chat } from "../chat/tree.ts";
import { h } from "./dom.ts";

export function saveAsMarkdown(chat: Chat): void {
  download(fileName(chat.title, "md"), toMarkdown(chat), "text/markdown");
}

export function saveAsJson(chats: Chat[], name: string): void {
  download(fileName(name, "json"), toJson(chats), "application/json");
}

function download(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
