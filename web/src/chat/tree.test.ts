// Chats with branches.
import assert from "node:assert/strict";
import { test } from "node:test";
import { addMessage, branches, leaveOutOldest, newChat, pathBefore, removeMessage, showBranch, shownPath, titleFrom } from "./tree.ts";

function chatOfTwoTurns() {
  const chat = newChat(0);
  const first = addMessage(chat, null, "user", "q1", 1);
  const answer = addMessage(chat, first.id, "assistant", "a1", 2);
  const second = addMessage(chat, answer.id, "user", "q2", 3);
  addMessage(chat, second.id, "assistant", "a2", 4);
  return { chat, first, answer, second };
}
const texts = (chat: ReturnType<typeof newChat>) => shownPath(chat).map((message) => message.content);

test("asking again adds a version beside the old and shows it", () => {
  const { chat, first, answer } = chatOfTwoTurns();
  const again = addMessage(chat, first.id, "assistant", "a1'", 5);
  assert.deepEqual(texts(chat), ["q1", "a1'"]);
  assert.deepEqual(branches(chat, again), { all: [answer, again], index: 1 });
  showBranch(chat, again, -1);
  assert.deepEqual(texts(chat), ["q1", "a1", "q2", "a2"]);
  showBranch(chat, answer, -1);
  assert.deepEqual(texts(chat), ["q1", "a1", "q2", "a2"]);
});

test("an edited first question is a branch of the whole chat", () => {
  const { chat, first } = chatOfTwoTurns();
  const edited = addMessage(chat, null, "user", "q1'", 5);
  assert.deepEqual(texts(chat), ["q1'"]);
  showBranch(chat, edited, -1);
  assert.equal(shownPath(chat)[0], first);
});

test("each branch remembers which of its own branches was shown", () => {
  const { chat, first, answer, second } = chatOfTwoTurns();
  const third = addMessage(chat, answer.id, "user", "q3", 5);
  showBranch(chat, third, -1);
  const again = addMessage(chat, first.id, "assistant", "a1'", 6);
  showBranch(chat, again, -1);
  assert.equal(shownPath(chat)[2], second);
});

test("removing a message removes what follows in every branch, and shows what is left", () => {
  const { chat, first, answer } = chatOfTwoTurns();
  const again = addMessage(chat, first.id, "assistant", "a1'", 5);
  showBranch(chat, again, -1);
  removeMessage(chat, answer.id);
  assert.deepEqual(texts(chat), ["q1", "a1'"]);
  assert.equal(chat.messages.length, 2);
  removeMessage(chat, first.id);
  assert.deepEqual([chat.messages, chat.shown], [[], {}]);
});

test("the path before a message ends at its parent", () => {
  const { chat, second } = chatOfTwoTurns();
  assert.deepEqual(pathBefore(chat, second.id).map((message) => message.content), ["q1", "a1"]);
});

test("the oldest turns are left out one by one, never the last", () => {
  const { chat } = chatOfTwoTurns();
  assert.equal(leaveOutOldest(chat), true);
  assert.deepEqual(shownPath(chat).map((message) => message.leftOut === true), [true, true, false, false]);
  assert.equal(leaveOutOldest(chat), false);
});

test("titles are a first line cut between words", () => {
  assert.equal(titleFrom("  Hello\nthere"), "Hello");
  assert.equal(titleFrom(`${"word ".repeat(20)}`), `${"word ".repeat(11).trim()}…`);
  assert.equal(titleFrom("x".repeat(80)), `${"x".repeat(59)}…`);
});
