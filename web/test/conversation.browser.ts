// Talking to the model through the page. These run against the scripted server, and against a real one at STRATA_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import { answers, ask, box, eachWithPage, idle, questions, send, sendForLong, showsQuestions } from "./page.ts";

const session = eachWithPage({}, true);

test("a question gets an answer that streams, with its figures", async () => {
  const { page } = session;
  await send(page, "How old is chalk?");
  await idle(page);
  assert.equal(await questions(page).count(), 1);
  const text = await answers(page).locator(".answer-text").innerText();
  assert.ok(text.length > 0);
  assert.match(await answers(page).locator(".figures").innerText(), /\d+ tokens? · .*tokens\/s · first token after/);
  assert.match(await page.getByRole("meter", { name: "Context used" }).innerText(), /\d of [\d,]+ tokens/);
});

test("an answer can be stopped, by key and by button, and keeps what it has", async () => {
  const { page } = session;
  for (const stop of [() => page.keyboard.press("Escape"), () => page.getByRole("button", { name: "Stop (Esc)" }).click()]) {
    await sendForLong(page);
    await answers(page).last().locator(".answer-text p, .thinking:not([hidden])").first().waitFor();
    await stop();
    await idle(page);
    assert.match(await answers(page).last().innerText(), /Stopped\./);
  }
});

test("asking again adds a version; the arrows go between them", async () => {
  const { page } = session;
  await ask(page, "How old is clay?");
  const first = await answers(page).locator(".answer-text").innerText();
  await answers(page).hover();
  await page.getByRole("button", { name: "Ask again" }).click();
  await idle(page);
  const versions = answers(page).getByRole("group", { name: "Version 2 of 2" });
  await versions.getByRole("button", { name: "Previous version" }).click();
  await answers(page).getByRole("group", { name: "Version 1 of 2" }).waitFor();
  assert.equal(await answers(page).locator(".answer-text").innerText(), first);
  assert.equal(await answers(page).count(), 1);
});

test("an edited question makes a branch and keeps the old one", async () => {
  const { page } = session;
  await ask(page, "First question");
  await ask(page, "Second question");
  await questions(page).first().hover();
  await questions(page).first().getByRole("button", { name: "Edit the question" }).click();
  const edit = page.getByRole("textbox", { name: "Edit the question" });
  await edit.fill("First question, in other words");
  await edit.press("Enter");
  await idle(page);
  assert.equal(await questions(page).count(), 1);
  await page.getByRole("button", { name: "Previous version" }).click();
  await showsQuestions(page, ["First question", "Second question"]);
});

test("a reload keeps the chat, its branches and the draft", async () => {
  const { page } = session;
  await ask(page, "What is kept?");
  await page.getByRole("button", { name: "Ask again" }).click();
  await idle(page);
  const text = await answers(page).locator(".answer-text").textContent();
  await box(page).fill("not sent yet");
  await page.reload();
  await answers(page).waitFor();
  assert.equal(await answers(page).locator(".answer-text").textContent(), text);
  await page.getByRole("group", { name: "Version 2 of 2" }).waitFor();
  assert.equal(await box(page).inputValue(), "not sent yet");
});

test("several chats: new, switch, search, rename, delete, undo", async () => {
  const { page } = session;
  const list = page.getByRole("navigation", { name: "Chats" });
  await ask(page, "Sandstone question");
  await page.getByRole("button", { name: "New chat" }).click();
  await showsQuestions(page, []);
  await ask(page, "Limestone question");
  await list.getByRole("link", { name: "Sandstone question" }).click();
  await showsQuestions(page, ["Sandstone question"]);

  await page.getByRole("searchbox", { name: "Search the chats" }).fill("limestone");
  await list.getByRole("link", { name: "Sandstone question" }).waitFor({ state: "detached" });
  await page.getByRole("searchbox").fill("");
  await list.getByRole("link", { name: "Sandstone question" }).waitFor();

  await page.getByRole("button", { name: "This chat" }).click();
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("All about sand");
  await page.getByRole("textbox", { name: "Name" }).press("Enter");
  await list.getByRole("link", { name: "All about sand" }).waitFor();

  await page.getByRole("button", { name: "This chat" }).click();
  await page.getByRole("button", { name: "Delete chat" }).click();
  await list.getByRole("link", { name: "All about sand" }).waitFor({ state: "detached" });
  await showsQuestions(page, []);
  await page.getByRole("button", { name: "Undo" }).click();
  await list.getByRole("link", { name: "All about sand" }).waitFor();
  await showsQuestions(page, ["Sandstone question"]);
});

test("an answer goes on while another chat is open", async () => {
  const { page } = session;
  await sendForLong(page);
  await answers(page).locator(".answer-text p, .thinking:not([hidden])").first().waitFor();
  const address = page.url();
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByRole("img", { name: "answering" }).waitFor();
  await page.goto(address);
  await page.getByRole("button", { name: "Stop (Esc)" }).click();
  await idle(page);
  assert.ok((await answers(page).innerText()).length > 20);
});

test("without thinking there is none", async () => {
  const { page } = session;
  await page.getByRole("button", { name: "Think" }).click();
  assert.equal(await page.getByRole("button", { name: "Think" }).getAttribute("aria-pressed"), "false");
  await ask(page, "How old is marl?");
  assert.equal(await answers(page).locator(".thinking:not([hidden])").count(), 0);
});

test("everything can be done by keyboard", async () => {
  const { page } = session;
  await page.keyboard.type("By keyboard");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("alone");
  await page.keyboard.press("Enter");
  await idle(page);
  assert.equal(await questions(page).locator(".bubble").innerText(), "By keyboard\nalone");

  await page.keyboard.press("ArrowUp");
  await page.keyboard.type("!");
  await page.keyboard.press("Enter");
  await idle(page);
  await page.getByRole("group", { name: "Version 2 of 2" }).waitFor();

  await page.keyboard.press("Control+Shift+O");
  await questions(page).waitFor({ state: "detached" });
  await page.keyboard.press("Control+K");
  await page.keyboard.type("keyboard");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await questions(page).waitFor();

  await page.locator(".scroll").focus();
  await page.keyboard.press("?");
  const keys = page.getByRole("dialog", { name: "Keyboard" });
  await keys.waitFor();
  await page.keyboard.press("Escape");
  await keys.waitFor({ state: "detached" });

  // Tab reaches every control that is shown, each with a visible focus.
  const reached = new Set<string>();
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const style = getComputedStyle(element.closest(".composer") ?? element);
      const seen = style.outlineStyle !== "none" || element.matches("textarea");
      return `${element.ariaLabel ?? element.textContent}${seen ? "" : " (not seen)"}`;
    });
    reached.add(focused);
  }
  for (const name of ["Copy the question", "Edit the question", "Ask again", "Settings", "New chat", "Search the chats", "Message", "Think", "Send"]) {
    assert.ok([...reached].some((label) => label.startsWith(name)), `${name} is not among ${[...reached].join(", ")}`);
  }
});
