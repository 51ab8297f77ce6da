// Numbers in words.
import type { Figures } from "../api/answer.ts";
import type { PromptProgress } from "../api/types.ts";

export const count = (value: number): string => value.toLocaleString("en");

export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** "0.21 s", "4.2 s", "12 s", "2 min 5 s". */
export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function rate(tokensPerSecond: number): string {
  const digits = tokensPerSecond < 100 ? 1 : 0;
  return `${tokensPerSecond.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} tokens/s`;
}

/** The figures of an answer in one line; what is not known is not said. */
export function figuresInWords(figures: Figures): string {
  const { answerTokens, tokensPerSecond, firstTokenMs, promptTokens, cachedTokens } = figures;
  const parts: string[] = [];
  if (answerTokens !== undefined) parts.push(counted(answerTokens, "token"));
  if (tokensPerSecond !== undefined) parts.push(rate(tokensPerSecond));
  if (firstTokenMs !== undefined) parts.push(`first token after ${duration(firstTokenMs)}`);
  if (promptTokens !== undefined && cachedTokens) parts.push(`${count(cachedTokens)} of ${count(promptTokens)} prompt tokens from cache`);
  return parts.join(" · ");
}

/** "Thought for 12 s · 640 tokens". */
export function thoughtInWords(milliseconds: number | undefined, tokens: number | undefined): string {
  const time = milliseconds === undefined ? "Thought" : `Thought for ${duration(milliseconds)}`;
  return tokens ? `${time} · ${counted(tokens, "token")}` : time;
}

/** How far the reading of a prompt is, with the time that is left where it can be told. */
export function progressInWords({ total, processed = 0, cache = 0, time_ms: spent }: PromptProgress): string {
  if (total === undefined) return "Reading the prompt";
  const text = `Reading the prompt: ${count(processed)} of ${counted(total, "token")}`;
  const read = processed - cache;
  if (!spent || read <= 0 || processed >= total) return text;
  const left = ((total - processed) * spent) / read;
  return left < 1000 ? text : `${text}, about ${duration(left)} left`;
}

export function words(text: string): number {
  return text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

/** Under which heading a chat stands in the list. */
export function age(then: number, now: number): string {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const day = 24 * 3600 * 1000;
  if (then >= midnight) return "Today";
  if (then >= midnight - day) return "Yesterday";
  return then >= midnight - 7 * day ? "Last seven days" : "Older";
}
