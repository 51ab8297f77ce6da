// What needs a server that can be told what to answer, and how to fail.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { answers, ask, box, eachWithPage, eventually, idle, questions, send, showsQuestions } from "./page.ts";

const session = eachWithPage({ acceptDownloads: true });
const problem = () => session.page.getByRole("alert");

test("Markdown becomes elements", async () => {
  const { page } = session;
  await ask(page, "markdown");
  const text = answers(page).locator(".answer-text");
  assert.equal(await text.locator("ol").count(), 1);
  assert.equal(await text.locator("ol > li").count(), 3);
  assert.equal(await text.locator("ul > li").count(), 2);
  assert.deepEqual(await text.locator("tbody tr").first().locator("td").allInnerTexts(), ["Chalk", "66", "200 m"]);
  assert.equal(await text.locator("td").nth(1).evaluate((cell) => getComputedStyle(cell).textAlign), "right");
  assert.match(await text.locator("pre").innerText(), /^def age\(.*\n {4}"""Years/);
  const link = text.getByRole("link");
  assert.deepEqual([await link.innerText(), await link.getAttribute("rel")], ["the survey survey.example", "noopener noreferrer"]);
});

test("an attack in an answer runs nothing and loads nothing", async () => {
  const { page } = session;
  await ask(page, "attack");
  assert.equal(await page.evaluate(() => (window as unknown as { attacked?: number }).attacked), undefined);
  const text = answers(page).locator(".answer-text");
  assert.equal(await text.locator("script, img, svg:not(.icon), iframe, b").count(), 0);
  assert.deepEqual(await text.getByRole("link").evaluateAll((links) => links.map((link) => link.getAttribute("href"))), ["https://evil.example/pixel.png?chat=secret", "https://evil.example/"]);
  assert.match(await text.innerText(), /<script>window.attacked = 1<\/script>/);
});

test("thinking is open while it streams, folded after, and opens again", async () => {
  const { page } = session;
  await send(page, "think about it");
  await page.locator("details.thinking[open]").waitFor();
  await idle(page);
  const summary = answers(page).locator("summary");
  assert.match(await summary.innerText(), /^Thought for [\d.]+ s · \d+ tokens$/);
  assert.equal(await page.locator("details.thinking[open]").count(), 0);
  await summary.click();
  await page.locator(".thinking-text", { hasText: "name Steno's rules" }).waitFor();
});

test("a tool call is a card with readable arguments", async () => {
  const { page } = session;
  await ask(page, "tool please");
  const card = answers(page).getByRole("group", { name: "Tool call" });
  assert.match(await card.innerText(), /weather/);
  assert.equal(await card.locator("code").innerText(), '{\n  "city": "Bern",\n  "days": 3\n}');
});

test("cached tokens are told, and the prompt is what the chat shows", async () => {
  const { page, mock } = session;
  await ask(page, "one");
  await ask(page, "two");
  assert.match(await answers(page).last().locator(".figures").innerText(), /80 of 120 prompt tokens from cache/);
  assert.match(await page.getByRole("meter").innerText(), /of 4,096 tokens, 80 cached/);
  assert.deepEqual(mock.requests.at(-1)?.messages.map(({ role }) => role), ["user", "assistant", "user"]);
});

test("stopping closes the request", async () => {
  const { page, mock } = session;
  await send(page, "long");
  await answers(page).locator(".answer-text p").first().waitFor();
  await page.keyboard.press("Escape");
  await idle(page);
  for (let tries = 0; mock.cancelled === 0 && tries < 50; tries++) await page.waitForTimeout(20);
  assert.equal(mock.cancelled, 1);
});

test("settings go into the request, hold after a reload, and can be reset", async () => {
  const { page, mock } = session;
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("textbox", { name: "System prompt" }).fill("Be brief.");
  const temperature = page.getByRole("spinbutton", { name: "Temperature" });
  assert.equal(await temperature.getAttribute("placeholder"), "1 (default)");
  await temperature.fill("9");
  await page.getByText("A number from 0 to 2; the old value holds.").waitFor();
  await temperature.fill("0.5");
  await page.getByRole("spinbutton", { name: "Seed" }).fill("7");
  await page.getByRole("checkbox", { name: /JSON/ }).check();
  await page.getByRole("textbox", { name: "JSON schema" }).fill("{");
  await page.getByText(/This is not JSON/).waitFor();
  await page.getByRole("textbox", { name: "JSON schema" }).fill('{"type":"object"}');
  await page.keyboard.press("Escape");
  await page.reload();
  await page.getByRole("combobox", { name: "Most tokens of thinking" }).selectOption("512");
  await ask(page, "json");
  const sent = mock.requests.at(-1);
  assert.deepEqual([sent?.temperature, sent?.seed, sent?.thinking_token_budget, sent?.messages[0]], [0.5, 7, 512, { role: "system", content: "Be brief." }]);
  assert.match(await answers(page).innerText(), /"schema":\{"type":"object"\}/);

  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("button", { name: "Reset to the model's defaults" }).click();
  await page.keyboard.press("Escape");
  await ask(page, "again");
  assert.deepEqual([mock.requests.at(-1)?.temperature, mock.requests.at(-1)?.seed], [undefined, undefined]);
});

test("a chat that is too long offers to leave out the oldest turn", async () => {
  const { page, mock } = session;
  await ask(page, "one");
  mock.mostMessages = 2;
  await ask(page, "two");
  assert.match(await problem().innerText(), /This chat is 131,200 tokens; the limit is 131,072\./);
  await page.getByRole("button", { name: "Leave out the oldest turn" }).click();
  await idle(page);
  await answers(page).nth(1).waitFor();
  assert.deepEqual(mock.requests.at(-1)?.messages.map(({ content }) => content), ["two"]);
  assert.match(await questions(page).first().innerText(), /Left out: not sent any more/);
  assert.equal(await problem().count(), 0);
});

test("a server with a key asks for it, once", async () => {
  const { page, mock, url } = session;
  mock.key = "open sesame".replace(" ", "-");
  await page.goto(`${url}/?fresh`);
  await page.getByRole("textbox", { name: "API key" }).fill("wrong");
  await page.getByRole("button", { name: "Use this key" }).click();
  await eventually(async () => {
    // The refusal of the wrong key may come after this and ask anew.
    await page.getByRole("textbox", { name: "API key" }).fill("open-sesame", { timeout: 1000 });
    await page.getByRole("textbox", { name: "API key" }).press("Enter", { timeout: 1000 });
    await page.locator(".model", { hasText: "demo" }).waitFor({ timeout: 1000 });
  });
  assert.equal(await problem().count(), 0);
  await ask(page, "with a key");
  assert.equal(await answers(page).count(), 1);
  assert.equal(await page.evaluate(() => Object.values(localStorage).join().includes("sesame")), false);
});

test("a busy server is asked again when it said to", async () => {
  const { page, mock } = session;
  mock.busyFor = 1;
  await send(page, "patience");
  await page.getByText(/The server is busy; trying again in \d seconds?/).waitFor();
  await idle(page);
  assert.match(await answers(page).innerText(), /Answer 2 to “patience”/);
});

test("a server that is loading is waited for; the wait can be stopped", async () => {
  const { page, mock } = session;
  mock.ready = false;
  await send(page, "later");
  await page.getByText("The server is not ready; waiting for it").waitFor();
  mock.ready = true;
  await idle(page);
  assert.equal(await answers(page).count(), 1);
  mock.ready = false;
  await send(page, "never");
  await page.getByText("The server is not ready; waiting for it").waitFor();
  await page.keyboard.press("Escape");
  await idle(page);
  assert.match(await problem().innerText(), /No answer yet/);
});

test("a server that is away is waited for", async () => {
  const { page, mock, context } = session;
  await context.setOffline(true);
  await send(page, "are you there");
  await page.getByText("The server can't be reached; waiting for it").waitFor();
  await context.setOffline(false);
  await idle(page);
  assert.equal(await answers(page).count(), 1);
  assert.equal(mock.requests.length, 1);
});

test("refusals and failures are told in the server's words", async () => {
  const { page } = session;
  for (const [question, words] of [
    ["refused", /The server refused the request\s+The schema's keyword 'pattern'/],
    ["broken", /The server failed\s+The engine failed; request req-1\./],
    ["fault", /The server failed\s+The engine failed during the answer\./],
    ["cut", /The answer was cut off/],
  ] as const) {
    await page.getByRole("button", { name: "New chat" }).click();
    await showsQuestions(page, []);
    await ask(page, question);
    await eventually(async () => assert.match(await problem().innerText(), words));
  }
  // What came before the break is kept, and asking again keeps it as a version.
  assert.match(await answers(page).innerText(), /This answer is cut off by a broken con[^]*The answer broke off\./);
  await page.getByRole("button", { name: "Try again" }).click();
  await idle(page);
  await page.getByRole("group", { name: "Version 2 of 2" }).waitFor();
});

test("an answer at its limit says so and can go on", async () => {
  const { page, mock } = session;
  await ask(page, "limit");
  assert.match(await answers(page).innerText(), /reached the most tokens/);
  await page.getByRole("button", { name: "Continue" }).click();
  await idle(page);
  assert.equal(mock.requests.at(-1)?.messages.at(-1)?.content, "Continue.");
});

test("a question in the address is put into the box and not sent", async () => {
  const { page, mock, url } = session;
  await page.goto(`${url}/?q=${encodeURIComponent("Buy <b>now</b>?")}`);
  await page.locator(".model", { hasText: "demo" }).waitFor();
  assert.equal(await box(page).inputValue(), "Buy <b>now</b>?");
  assert.equal(mock.requests.length, 0);
});

test("chats go out to files and come back", async () => {
  const { page } = session;
  await ask(page, "Keep this");
  const [markdown] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "This chat" }).click().then(() => page.getByRole("button", { name: "Save as Markdown" }).click()),
  ]);
  assert.equal(markdown.suggestedFilename(), "keep-this.md");
  assert.match(await readFile(await markdown.path(), "utf8"), /^# Keep this\n\n## You\n\nKeep this\n\n## demo\n\n> Let me see\.\n\nAnswer 1/);

  await page.getByRole("button", { name: "Settings" }).click();
  const [json] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export all" }).click()]);
  const file = { name: "chats.json", mimeType: "application/json", buffer: await readFile(await json.path()) };
  await page.getByRole("button", { name: "Delete everything" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete everything" }).click();
  await page.getByText("Chats are kept in this browser only.").waitFor();
  await showsQuestions(page, []);

  await page.getByRole("button", { name: "Settings" }).click();
  await page.locator('input[type="file"][accept]').setInputFiles(file);
  await page.getByText("1 chat imported.").waitFor();
  await page.getByRole("link", { name: "Keep this" }).click();
  await answers(page).filter({ hasText: "Answer 1 to “Keep this”" }).waitFor();
});

test("a text file goes into the question; what is no text is refused", async () => {
  const { page } = session;
  const picker = page.locator('.composer input[type="file"]');
  await picker.setInputFiles({ name: "notes.md", mimeType: "text/markdown", buffer: Buffer.from("```\nx\n```\n") });
  assert.equal(await box(page).inputValue(), "notes.md:\n````\n```\nx\n```\n````\n");
  await picker.setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from([0x89, 0x50, 0xff, 0]) });
  await page.getByText(/“a.png” is not a text/).waitFor();
});

test("a reload in the middle of an answer keeps what came", async () => {
  const { page } = session;
  await send(page, "long");
  await page.waitForTimeout(1500);
  await page.reload();
  await answers(page).waitFor();
  assert.match((await answers(page).textContent()) ?? "", /One more sentence[^]*The answer broke off\./);
});

test("two tabs show the same chats", async () => {
  const { page, context, url } = session;
  await ask(page, "Seen in both");
  const other = await context.newPage();
  await other.goto(url);
  await other.getByRole("link", { name: "Seen in both" }).click();
  await ask(page, "And this");
  await questions(other).nth(1).waitFor();
  assert.equal(await answers(other).count(), 2);
});

test("an answer of 50,000 tokens stays smooth", async () => {
  const { page } = session;
  await page.evaluate(() => {
    const gaps: number[] = [];
    let last = performance.now();
    const frame = (now: number) => {
      gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    Object.assign(window, { gaps });
  });
  await ask(page, "huge");
  const gaps = await page.evaluate(() => (window as unknown as { gaps: number[] }).gaps.sort((a, b) => a - b));
  const median = gaps[gaps.length >> 1] ?? 0;
  assert.equal(await answers(page).locator("table").count(), 220);
  // A frame is 16.7 ms; the machine of the test may be busy.
  assert.ok(median < 50, `median gap between frames: ${median} ms`);
});
