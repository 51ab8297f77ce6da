// Markdown: blocks, inline text, what streams and what attacks.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { kAttack, kMarkdown } from "../../test/scripted_answers.ts";
import { parseBlocks, type Block } from "./blocks.ts";
import { GrowingBlocks } from "./growing_blocks.ts";
import { parseInline } from "./inline.ts";
import { safeAddress, trimAddress } from "./links.ts";

const kinds = (source: string) => parseBlocks(source).map((block) => block.kind);
const strip = (source: string) => parseBlocks(source).map(({ start: _, ...block }) => block);

const kHard = `Text before
a | b
--|--
1 | 2
after

- one

  still one
- two
  1. nested
\ttabbed

Title
===

* * *
> quote
goes on

> - item in quote

~~~
open fence
\`\`\` not closed by this
`;

test("blocks of a usual answer", () => {
  assert.deepEqual(kinds(kMarkdown), ["heading", "paragraph", "item", "item", "item", "table", "row", "row", "row", "heading", "code", "quote", "paragraph"]);
});

test("a fence that is not closed is code to the end", () => {
  assert.deepEqual(strip("```py extra\n\tx = 1\n\n# no heading"), [{ kind: "code", language: "py", text: "\tx = 1\n\n# no heading", closed: false }]);
  assert.deepEqual(strip("````\n```\n````\n"), [{ kind: "code", language: "", text: "```", closed: true }]);
});

test("numbered items stay apart, nested ones inside", () => {
  assert.deepEqual(strip("3. a\n4. b\n   - c\n\n   d\n"), [
    { kind: "item", number: 3, checked: null, text: "a" },
    { kind: "item", number: 4, checked: null, text: "b\n- c\n\nd" },
  ]);
  assert.deepEqual(strip("- [x] done\n- [ ] not"), [
    { kind: "item", number: null, checked: true, text: "done" },
    { kind: "item", number: null, checked: false, text: "not" },
  ]);
});

test("a year that starts a line is no list", () => {
  assert.deepEqual(kinds("It was in\n1984. Then"), ["paragraph"]);
  assert.deepEqual(kinds("#hashtag\n"), ["paragraph"]);
});

test("rows have as many cells as the head; bars can be escaped", () => {
  assert.deepEqual(strip("|a|b|\n|:-|-:|\n|1|\n|x \\| y|2|3|"), [
    { kind: "table", head: ["a", "b"], align: ["left", "right"] },
    { kind: "row", cells: ["1", ""] },
    { kind: "row", cells: ["x | y", "2"] },
  ]);
});

test("a growing text shows at each length what the whole would show", () => {
  for (const source of [kMarkdown, kAttack, kHard, kHard.replaceAll("\n", "\r\n")]) {
    const growing = new GrowingBlocks();
    let shown: Block[] = [];
    for (let end = 0; end <= source.length; end++) {
      const { keep, blocks } = growing.update(source.slice(0, end));
      shown = [...shown.slice(0, keep), ...blocks];
      assert.deepEqual(shown, parseBlocks(source.slice(0, end)), `at ${end} of ${JSON.stringify(source.slice(0, end)).slice(-60)}`);
    }
  }
});

test("an update looks at the last blocks only", () => {
  const growing = new GrowingBlocks();
  const text = "Some words.\n\n".repeat(1000);
  growing.update(text);
  const { keep, blocks } = growing.update(`${text}more`);
  assert.ok(keep > 990 && blocks.length < 10, `${keep} kept, ${blocks.length} new`);
});

test("a text that does not go on starts anew", () => {
  const growing = new GrowingBlocks();
  growing.update("a\n\nb\n\nc\n\nd\n\ne\n\n");
  assert.equal(growing.update("other").keep, 0);
});

test("emphasis, code and links nest as CommonMark says", () => {
  assert.deepEqual(parseInline("**a *b* `*c*`** d_e_f _g_ ~~h~~ 2*3*4"), [
    { kind: "strong", inner: ["a ", { kind: "emphasis", inner: ["b"] }, " ", { kind: "code", text: "*c*" }] },
    " d_e_f ",
    { kind: "emphasis", inner: ["g"] },
    " ",
    { kind: "strike", inner: ["h"] },
    " 2",
    { kind: "emphasis", inner: ["3"] },
    "4",
  ]);
  assert.deepEqual(parseInline("***x***"), [{ kind: "emphasis", inner: [{ kind: "strong", inner: ["x"] }] }]);
  assert.deepEqual(parseInline("[a **b**](https://x.org/a_(b) \"t\") ![c](d)"), [
    { kind: "link", address: "https://x.org/a_(b)", inner: ["a ", { kind: "strong", inner: ["b"] }] },
    " ",
    { kind: "image", address: "d", alt: "c" },
  ]);
});

test("what is not complete stays text", () => {
  for (const text of ["**a", "`b", "[c](d", "[e]", "_f", "~g~", "<https:", "a * b"]) assert.deepEqual(parseInline(text), [text]);
});

test("escapes, breaks, formulas and bare addresses", () => {
  assert.deepEqual(parseInline("\\*a\\* \\(x_1*y*\\)"), ["*a* ", { kind: "math", text: "x_1*y*" }]);
  assert.deepEqual(parseInline("a  \nb\nc"), ["a", { kind: "break" }, "b\nc"]);
  assert.deepEqual(parseInline("see https://x.org/a_b_c. And"), ["see ", { kind: "link", address: "https://x.org/a_b_c", inner: ["https://x.org/a_b_c"] }, ". And"]);
  assert.equal(trimAddress("https://x.org/a_(b))."), "https://x.org/a_(b)");
});

test("an attack gives text and links, whatever it tries", () => {
  const found = JSON.stringify(parseBlocks(kAttack).map((block) => ("text" in block ? parseInline(block.text) : block)));
  for (const kind of ["script", "img", "svg", "iframe"]) assert.ok(!found.includes(`"kind":"${kind}"`));
});

test("only http, https and mail addresses are links", () => {
  for (const bad of ["javascript:alert(1)", " javascript:x", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//evil.example", "/v1/models", "https://", "https://a@b.example", "https:\n//x", "blob:https://x", "java\nscript:x"]) {
    assert.equal(safeAddress(bad), undefined, bad);
  }
  assert.equal(safeAddress("https://x.org/ä?q=<b>")?.href, "https://x.org/%C3%A4?q=%3Cb%3E");
});

test("no source has a way from text to HTML or to code", () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|\beval\(|new Function/;
  for (const name of readdirSync(new URL("..", import.meta.url), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
    assert.doesNotMatch(readFileSync(new URL(`../${name}`, import.meta.url), "utf8"), forbidden, name);
  }
});

test("hostile texts take time in proportion to their length", () => {
  const attacks = ["*", "_a", "**a ", "`", "`a``", "[", "![", "](", "[a](", "\\(", "\\[", "<https://", "https://a)", "~~", "> ", "- ", "|", "a|b\n-|-\n", "# ", "\t", "1. ", "((", '[a](b "', "*_"];
  for (const attack of attacks) {
    const text = attack.repeat(Math.ceil(50_000 / attack.length));
    const started = performance.now();
    for (const block of parseBlocks(text)) if ("text" in block) parseInline(block.text);
    const spent = performance.now() - started;
    assert.ok(spent < 2000, `${JSON.stringify(attack)}: ${spent} ms`);
  }
});
