// A streamed chat with an OpenAI-compatible server, timed token by token; and the arithmetic on such times.
import http from 'node:http';

export const now = () => performance.now();
export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
export const percentile = (values, part) =>
  values.length ? values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] : NaN;
export const median = values => percentile(values, 0.5);
export const rounded = (value, digits = 1) => +value.toFixed(digits);

export class Client {
  constructor(base, model) {
    this.url = new URL(base);
    this.model = model;
  }

  static async of(base) {
    const models = await (await fetch(`${base}/v1/models`)).json();
    return new Client(base, models.data[0].id);
  }

  /// Asks over a connection of its own: some servers close kept ones between requests. Milliseconds since the request:
  /// `ttft` to the first text, `end` to the last, `gaps` between. `timings`: the server's own. With `abortAfter` the
  /// client leaves after so many gaps, and there is no result.
  chat(body, {abortAfter = Infinity} = {}) {
    return new Promise((resolve, reject) => {
      const start = now(), answer = {ttft: NaN, end: NaN, gaps: [], reasoning: '', content: '', logprobs: ''};
      const request = http.request({
        host: this.url.hostname, port: this.url.port, path: '/v1/chat/completions', method: 'POST', agent: false,
        headers: {'content-type': 'application/json'},
      }, response => {
        response.setEncoding('utf8');
        let rest = '';
        if (response.statusCode !== 200) {
          response.on('data', text => rest += text);
          response.on('end', () => reject(new Error(`${response.statusCode} ${rest.slice(0, 300)}`)));
          return;
        }
        response.on('data', text => {
          rest += text;
          for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.slice(end + 1))
            take(answer, rest.slice(0, end).trim(), now() - start);
          if (answer.gaps.length < abortAfter) return;
          request.destroy();
          resolve(null);
        });
        response.on('end', () => resolve(answer));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(JSON.stringify({
        model: this.model, stream: true, stream_options: {include_usage: true}, temperature: 0, ...body,
      }));
    });
  }
}

function take(answer, line, time) {
  if (!line.startsWith('data:') || line.endsWith('[DONE]')) return;
  const chunk = JSON.parse(line.slice(5)), choice = chunk.choices?.[0];
  if (chunk.usage) {
    answer.tokens = chunk.usage.completion_tokens;
    answer.prompt = chunk.usage.prompt_tokens;
    answer.cached = chunk.usage.prompt_tokens_details?.cached_tokens ?? 0;
  }
  if (chunk.timings) answer.timings = chunk.timings;
  for (const token of choice?.logprobs?.content ?? []) answer.logprobs += token.logprob + ' ';
  const reasoning = choice?.delta?.reasoning_content ?? '', content = choice?.delta?.content ?? '';
  if (!reasoning && !content) return;
  if (Number.isNaN(answer.ttft)) answer.ttft = time;
  else answer.gaps.push(time - answer.end);
  answer.end = time;
  answer.reasoning += reasoning;
  answer.content += content;
}
