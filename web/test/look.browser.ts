// How the page looks and reads: contrast, labels, screen readers, small screens, themes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { answers, ask, box, eventually, eachWithPage, idle, seriousFaults, send } from "./page.ts";

for (const colorScheme of ["light", "dark"] as const) {
  describe(`in ${colorScheme} colours`, () => {
    const session = eachWithPage({ colorScheme });

    test("axe finds nothing serious in any state", async () => {
      const { page } = session;
      assert.deepEqual(await seriousFaults(page), []);
      await send(page, "think about it");
      await page.locator("details.thinking[open]").waitFor();
      assert.deepEqual(await seriousFaults(page), []);
      await idle(page);
      await ask(page, "tool please");
      await ask(page, "cut");
      assert.deepEqual(await seriousFaults(page), []);
      await page.getByRole("button", { name: "Try again" }).click();
      await idle(page);
      await page.getByRole("button", { name: "Settings" }).first().click();
      await page.getByRole("checkbox", { name: /JSON/ }).check();
      assert.deepEqual(await seriousFaults(page), []);
    });
  });
}

describe("on a phone", () => {
  const session = eachWithPage({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true });

  test("nothing is wider than the screen, and the list slides in", async () => {
    const { page } = session;
    await ask(page, "markdown");
    await ask(page, "tool please");
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll("body *")].filter((element) => !element.closest("pre, .table-scroll, .sidebar") && element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.className),
    );
    assert.deepEqual(wide, []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    const list = page.getByRole("complementary");
    assert.equal(await list.isVisible(), false);
    await page.getByRole("button", { name: "Show the list of chats" }).tap();
    await list.waitFor();
    assert.deepEqual(await seriousFaults(page), []);
    await page.keyboard.press("Escape");
    assert.equal(await list.isVisible(), false);
    await page.getByRole("button", { name: "Settings" }).first().tap();
    assert.ok(((await page.getByRole("dialog").boundingBox())?.width ?? 999) <= 360);
  });

  test("every target is 24 pixels at least", async () => {
    const { page } = session;
    await ask(page, "markdown");
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, select, summary, input, .sidebar a")]
        .filter((element) => element.checkVisibility() && !element.closest("[inert]"))
        .filter((element) => element.getBoundingClientRect().height < 24 || element.getBoundingClientRect().width < 24)
        .map((element) => element.outerHTML),
    );
    assert.deepEqual(small, []);
  });
});

describe("for everyone", () => {
  const session = eachWithPage({ colorScheme: "light" });

  test("the theme follows the system, and the choice wins and stays", async () => {
    const { page } = session;
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await ground();
    assert.notEqual(light, dark);
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("radio", { name: "Light" }).check({ force: true });
    const isLight = () => eventually(async () => assert.equal(await ground(), light));
    await isLight();
    await page.reload();
    await isLight();
  });

  test("a screen reader hears whole sentences, and what happens", async () => {
    const { page } = session;
    await send(page, "hello");
    assert.equal(await page.locator(".announcer [role=status]").innerText(), "Generating");
    await idle(page);
    await page.locator(".announcer [role=status]", { hasText: /^Done, 8 words$/ }).waitFor({ state: "attached" });
    const log = page.getByRole("log");
    assert.deepEqual(await log.locator("p").allInnerTexts(), ["Answer 1 to “hello”. It has two sentences."]);
  });

  test("at 200 % zoom everything is in reach", async () => {
    const { page } = session;
    await ask(page, "markdown");
    await page.setViewportSize({ width: 600, height: 400 });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 600);
    assert.ok(await box(page).isVisible());
    assert.ok(((await answers(page).boundingBox())?.width ?? 0) > 400);
  });

  test("who reads back is left there, and can go to the newest", async () => {
    const { page } = session;
    await ask(page, "markdown");
    await send(page, "long");
    await answers(page).nth(1).locator(".answer-text p").waitFor();
    await page.locator(".scroll").evaluate((scroll) => (scroll.scrollTop = 0));
    await page.getByRole("button", { name: "Go to the newest" }).waitFor();
    await page.waitForTimeout(300);
    assert.equal(await page.locator(".scroll").evaluate((scroll) => scroll.scrollTop), 0);
    await page.getByRole("button", { name: "Go to the newest" }).click();
    await page.waitForTimeout(300);
    assert.ok(await page.locator(".scroll").evaluate((scroll) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80));
    await page.keyboard.press("Escape");
    await idle(page);
  });
});
