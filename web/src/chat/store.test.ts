// What is kept, and what of it is believed when it comes back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { kDefaults, parseSettings, readNumber, schemaFault } from "./settings.ts";
import { MemoryStore, search } from "./store.ts";
import { fileName, fromJson, toJson, toMarkdown } from "./transfer.ts";
import { addMessage, newChat } from "./tree.ts";

function chatAbout(text: string, now: number) {
  const chat = newChat(now);
  const question = addMessage(chat, null, "user", text, now);
  addMessage(chat, question.id, "assistant", `All about ${text}.`, now).reasoning = "hm";
  return chat;
}

test("a store gives back what was put, as it was then", async () => {
  const store = new MemoryStore();
  const chat = chatAbout("sand", 1);
  await store.put(chat);
  await store.put(chatAbout("clay", 2));
  chat.title = "changed";
  assert.equal((await store.get(chat.id))?.title, "sand");
  assert.deepEqual((await store.list()).map(({ title }) => title), ["clay", "sand"]);
  await store.remove(chat.id);
  assert.equal(await store.get(chat.id), undefined);
  await store.clear();
  assert.deepEqual(await store.all(), []);
});

test("search wants every word, anywhere in the chat", () => {
  const chats = [chatAbout("Red sand", 1), chatAbout("Blue clay", 2)];
  assert.deepEqual(search(chats, "ABOUT clay").map(({ title }) => title), ["Blue clay"]);
  assert.deepEqual(search(chats, "about").map(({ title }) => title), ["Blue clay", "Red sand"]);
  assert.deepEqual(search(chats, "red clay"), []);
});

test("exported chats come back equal; a taken id is replaced", () => {
  const chats = [chatAbout("sand", 1)];
  assert.deepEqual(fromJson(toJson(chats), new Set()), chats);
  const id = chats[0]?.id ?? "";
  const [copy] = fromJson(toJson(chats), new Set([id]));
  assert.notEqual(copy?.id, id);
  assert.deepEqual({ ...copy, id }, chats[0]);
});

test("a file that is none of ours is refused with a sentence", () => {
  const damaged = (change: (chat: any) => void) => {
    const file = JSON.parse(toJson([chatAbout("sand", 1)]));
    change(file.chats[0]);
    return JSON.stringify(file);
  };
  assert.throws(() => fromJson("{", new Set()), /not JSON/);
  assert.throws(() => fromJson("null", new Set()), /no chats/);
  assert.throws(() => fromJson('{"format":"strata-chats","version":2,"chats":[]}', new Set()), /version 2/);
  for (const change of [
    (chat: any) => (chat.messages[1].parent = "nobody"),
    (chat: any) => chat.messages.reverse(),
    (chat: any) => (chat.messages[0].role = "system"),
    (chat: any) => (chat.messages[0].content = { html: "<b>" }),
    (chat: any) => (chat.messages[1].toolCalls = "x"),
    (chat: any) => (chat.messages[1].figures = { answerTokens: "many" }),
    (chat: any) => (chat.messages = null),
    (chat: any) => delete chat.id,
  ]) {
    assert.throws(() => fromJson(damaged(change), new Set()), /Chat 1 of this file is damaged/);
  }
});

test("Markdown has the thinking as a quote", () => {
  assert.equal(toMarkdown(chatAbout("sand", 1)), "# sand\n\n## You\n\nsand\n\n## Answer\n\n> hm\n\nAll about sand.\n");
});

test("file names keep letters of any script", () => {
  assert.equal(fileName("Wie alt ist Löß? / 黄土", "md"), "wie-alt-ist-löß-黄土.md");
  assert.equal(fileName("../..", "json"), "chat.json");
});

test("stored settings that make no sense fall back to the defaults", () => {
  assert.deepEqual(parseSettings(null), kDefaults);
  assert.deepEqual(parseSettings("nonsense"), kDefaults);
  assert.deepEqual(parseSettings('{"temperature":7,"topP":"1","theme":"pink","schemaOn":true,"schema":"[","extra":1}'), { ...kDefaults, schema: "[" });
  assert.deepEqual(parseSettings('{"temperature":0.5,"seed":null,"thinking":false}'), { ...kDefaults, temperature: 0.5, thinking: false });
});

test("numbers are read within their ranges", () => {
  assert.equal(readNumber("temperature", ""), null);
  assert.equal(readNumber("temperature", "0"), 0);
  assert.equal(readNumber("temperature", "2.01"), undefined);
  assert.equal(readNumber("maxTokens", "1.5"), undefined);
  assert.equal(readNumber("seed", "-1"), undefined);
});

test("a schema is a JSON object", () => {
  assert.equal(schemaFault('{"type":"object"}'), undefined);
  assert.match(schemaFault("[]") ?? "", /JSON object/);
  assert.match(schemaFault("{") ?? "", /not JSON/);
});
