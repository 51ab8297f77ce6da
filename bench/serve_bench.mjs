// Measures an OpenAI-compatible server that serves the demo model, as its users meet it. One JSON line a part.
// usage: node serve_bench.mjs BASE_URL PID [PART...]      PID: the server's process, for its memory
import fs from 'node:fs';
import net from 'node:net';
import {Client, median, now, percentile, rounded, sleep} from './serve_client.mjs';

const [base, pid, ...wanted] = process.argv.slice(2);
const client = await Client.of(base);
const questions = JSON.parse(fs.readFileSync(new URL('../tests/fixtures/demo_questions.json', import.meta.url)));
const residentMb = () => +/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1] / 1024;

const WORDS = ['river', 'stone', 'light', 'paper', 'green', 'seven', 'market', 'north'];
const words = n => Array.from({length: n}, (_, i) => WORDS[(i * 7 + (i >> 3)) % 8]).join(' ');
const user = content => ({messages: [{role: 'user', content}]});
const question = ({user: text, thinking}) =>
  ({...user(text), chat_template_kwargs: {enable_thinking: thinking}, max_tokens: 120, logprobs: true, top_logprobs: 3});
const story = (i, tokens = 200) =>
  ({...user(`Write about ${words(3 + i % 5)} number ${i}.`), max_tokens: tokens, ignore_eos: true});
/// About 2,500 tokens that no other prompt begins with.
const longPrompt = i => ({...user(`${i} ${words(2200)}`), max_tokens: 2});
const times = (n, make) => Array.from({length: n}, (_, i) => make(i));
const gapsOf = gaps => ({
  gap_p50_ms: rounded(median(gaps), 2), gap_p99_ms: rounded(percentile(gaps, 0.99), 2), gap_max_ms: rounded(Math.max(...gaps)),
});

/// All of `bodies`, at most `width` at a time, in their order.
async function crowd(bodies, width) {
  const answers = [];
  let next = 0;
  await Promise.all(times(width, async () => {
    for (let i; (i = next++) < bodies.length;) answers[i] = await client.chat(bodies[i]);
  }));
  return answers;
}

/// Four streams, and `beside` while they run: the gaps between their tokens, and what `beside` gives.
async function fourStreams(beside) {
  let going = true;
  const gaps = [];
  const streams = times(4, async i => {
    while (going) gaps.push(...(await client.chat(story(i, 400))).gaps);
  });
  await sleep(1500);
  const result = await beside();
  going = false;
  await Promise.all(streams);
  return {...gapsOf(gaps), result};
}

const longPrompts = async first => median(await sequence(4, i => client.chat(longPrompt(first + i))).then(all => all.map(a => a.ttft)));

async function sequence(n, make) {
  const results = [];
  for (let i = 0; i < n; i++) results.push(await make(i));
  return results;
}

const parts = {
  /// One stream of 200 tokens; and what its first token took beyond the server's own figure for the prompt.
  async single() {
    const answers = (await sequence(12, i => client.chat(story(i)))).slice(1);
    return {
      ttft_ms: rounded(median(answers.map(a => a.ttft)), 2),
      tok_s: rounded(median(answers.map(a => (a.tokens - 1) * 1000 / (a.end - a.ttft)))),
      added_ms: rounded(median(answers.map(a => a.ttft - a.timings.prompt_ms)), 2),
    };
  },

  async streams() {
    const result = {};
    for (const n of [8, 32, 64]) {
      const start = now(), answers = await crowd(times(n, i => story(i)), n);
      const seconds = (now() - start) / 1000;
      result[n] = {
        tok_s: rounded(answers.reduce((sum, a) => sum + a.tokens, 0) / seconds),
        ...gapsOf(answers.flatMap(a => a.gaps)),
        ttft_p99_ms: rounded(percentile(answers.map(a => a.ttft), 0.99)),
      };
    }
    return result;
  },

  /// 96 questions, one after the other and then all at once.
  async same() {
    const bodies = questions.slice(0, 96).map(question);
    const alone = await crowd(bodies, 1), together = await crowd(bodies, bodies.length);
    const differing = of => alone.filter((answer, i) => of(answer) !== of(together[i])).length;
    return {of: bodies.length, texts: differing(a => a.reasoning + a.content), logprobs: differing(a => a.logprobs)};
  },

  /// All questions, 32 at a time, against the reference's answers, which are those of `strata run` too (DemoTest).
  async answers() {
    const given = await crowd(questions.map(question), 32);
    const wrong = questions.filter(({greedy, thinking}, i) => {
      const [thought, said] = thinking ? greedy.split('</think>') : ['', greedy];
      return thought.trim() !== given[i].reasoning.trim() || said.trim() !== given[i].content.trim();
    });
    return {of: questions.length, differ: wrong.length};
  },

  /// Four streams alone, and with long prompts beside them.
  async beside() {
    const alone = await longPrompts(0), quiet = await fourStreams(() => sleep(2500));
    const {result, ...busy} = await fourStreams(() => longPrompts(4));
    return {long_alone_ms: rounded(alone), without: quiet, beside: busy, long_beside_ms: rounded(result)};
  },

  /// A chat that begins with 2,500 tokens: the time to each turn's first token.
  async turns() {
    const messages = user(`Remember this. ${words(2000)}`).messages;
    return sequence(6, async () => {
      const answer = await client.chat({messages, max_tokens: 40});
      messages.push({role: 'assistant', content: (answer.reasoning + answer.content).slice(0, 200)},
                    {role: 'user', content: `And now ${words(4)}?`});
      return {ttft_ms: rounded(answer.ttft), prompt: answer.prompt, cached: answer.cached};
    });
  },

  /// 64 streams whose clients leave, then one request.
  async cancel() {
    await Promise.all(times(64, i => client.chat(story(i, 3000), {abortAfter: 20})));
    const start = now();
    await client.chat(story(1, 8));
    return {next_answer_ms: rounded(now() - start)};
  },

  /// 10,000 connections that have asked once and are kept, and a stream beside them.
  async idle() {
    const quiet = await sequence(3, i => client.chat(story(i, 400)));
    const before = residentMb(), sockets = [];
    for (let i = 0; i < 10_000; i++) {
      await new Promise(resolve => {
        const socket = net.connect(client.url.port, client.url.hostname, () => {
          socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n', resolve);
        });
        socket.on('error', resolve).resume();
        sockets.push(socket);
      });
    }
    await sleep(2000);
    const open = sockets.filter(socket => socket.readyState === 'open').length, mb = residentMb() - before;
    const beside = await Promise.race([sequence(3, i => client.chat(story(i, 400))), sleep(20_000)]).catch(() => undefined);
    for (const socket of sockets) socket.destroy();
    return {
      open, mb: rounded(mb), without: gapsOf(quiet.flatMap(a => a.gaps)),
      beside: beside ? gapsOf(beside.flatMap(a => a.gaps)) : null,
    };
  },
};

for (const name of wanted.length ? wanted : Object.keys(parts)) {
  const result = await parts[name]().catch(error => ({error: String(error.message)}));
  console.log(JSON.stringify({part: name, ...(Array.isArray(result) ? {turns: result} : result)}));
}
process.exit(0);
