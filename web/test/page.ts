// Opens the page in headless Chromium and watches what it must never do.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, beforeEach, type TestContext } from "node:test";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { MockServer } from "./mock_server.ts";

/** A running `strata serve` for the tests that need no script; without it, the scripted server. */
const kRealServer = process.env.STRATA_URL?.replace(/\/$/, "");

const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path && existsSync(path));
const axeSource = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

export interface Session {
  page: Page;
  context: BrowserContext;
  mock: MockServer;
  url: string;
}

/**
 * Each test of the file gets a fresh browser profile, and a scripted server of its own. `anyServer`: the tests hold for
 * a real server too, and run against it where there is one.
 */
export function eachWithPage(options: Parameters<Browser["newContext"]>[0] = {}, anyServer = false): Session {
  const session = {} as Session;
  let browser: Browser;
  before(async () => {
    // No GPU process that would only draw in software; no shared memory of a container's small size.
    const args = ["--no-sandbox", "--disable-gpu", "--in-process-gpu", "--disable-software-rasterizer", "--disable-dev-shm-usage"];
    browser = await chromium.launch({ executablePath, args });
  });
  after(() => browser.close());

  beforeEach(async (test) => {
    const mock = new MockServer();
    const mockUrl = await mock.start();
    const url = anyServer && kRealServer ? kRealServer : mockUrl;
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, reducedMotion: "reduce", ...options });
    const faults: string[] = [];
    // Counts what no page of ours may do: ask another host, throw, break its policy.
    context.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== url && !["data:", "blob:"].includes(protocol)) faults.push(`request to ${request.url()}`);
    });
    context.on("page", (opened) => opened.on("pageerror", (error) => faults.push(`error: ${error.message}`)));
    context.on("console", (message) => {
      const text = message.text();
      // A status that the test asked for shows as "Failed to load resource".
      if (message.type() === "error" && !text.startsWith("Failed to load resource")) faults.push(`console: ${text}`);
    });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    Object.assign(session, { page, context, mock, url });
    await page.goto(url);
    await box(page).waitFor();
    (test as TestContext).after(async () => {
      await context.close();
      mock.stop();
      assert.deepEqual(faults, []);
    });
  });
  return session;
}

export const box = (page: Page) => page.getByRole("textbox", { name: "Message" });
export const questions = (page: Page) => page.getByRole("article", { name: "Question" });
export const answers = (page: Page) => page.getByRole("article", { name: "Answer" });

/** Sends a question without waiting for its answer. */
export async function send(page: Page, question: string): Promise<void> {
  await box(page).fill(question);
  await box(page).press("Enter");
}

/** Waits until nothing is on its way. */
export async function idle(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Send", exact: true }).waitFor({ timeout: 60_000 });
}

/** Tries a check until it holds; after five seconds, its failure is the test's. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    try {
      return await check();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await check();
}

/** Waits until the page shows these questions and no other. */
export async function showsQuestions(page: Page, texts: string[]): Promise<void> {
  await eventually(async () => assert.deepEqual(await questions(page).locator(".bubble").allInnerTexts(), texts));
}

/** Sends a question whose answer takes some seconds: a real model is told not to end. */
export async function sendForLong(page: Page): Promise<void> {
  if (kRealServer) {
    await page.route("**/v1/chat/completions", (route) => {
      const body = { ...(route.request().postDataJSON() as object), ignore_eos: true, max_tokens: 3000 };
      return route.continue({ postData: JSON.stringify(body) });
    });
  }
  await send(page, "long");
}

/** Asks and waits for the whole answer. */
export async function ask(page: Page, question: string): Promise<void> {
  await send(page, question);
  await idle(page);
}

/** What axe-core finds that is serious or critical, in words. */
export async function seriousFaults(page: Page): Promise<string[]> {
  // The page's policy lets no script in; the debugger's world is not bound by it.
  await page.evaluate(await import("node:fs/promises").then((fs) => fs.readFile(axeSource, "utf8")));
  return page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } }).axe;
    const { violations } = await axe.run();
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
  });
}
