// Says in words what went wrong and what can be done.
import { ApiError } from "./api_error.ts";

export type Remedy = "retry" | "enter_key" | "leave_out_oldest" | "new_chat" | "open_settings";

export interface Problem {
  title: string;
  text: string;
  remedies: Remedy[];
}

const count = (value: number) => value.toLocaleString("en");

export function describe(error: unknown): Problem {
  if (!(error instanceof ApiError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { title: "Something in the page failed", text, remedies: ["retry"] };
  }
  const { status, body, message } = error;
  if (error.code === "context_length_exceeded") {
    const { n_prompt_tokens: tokens, n_ctx: limit } = body;
    const text =
      tokens !== undefined && limit !== undefined
        ? `This chat is ${count(tokens)} tokens; the limit is ${count(limit)}.`
        : message;
    return { title: "This chat is too long", text, remedies: ["leave_out_oldest", "new_chat"] };
  }
  if (status === 401) {
    return {
      title: "The server wants an API key",
      text: "Enter the key that the server was started with. It is kept until this tab closes.",
      remedies: ["enter_key"],
    };
  }
  if (status === 403) return { title: "The server refuses this page", text: message, remedies: ["retry"] };
  if (status === 429) return { title: "The server is busy", text: message, remedies: ["retry"] };
  if (status === 503) return { title: "The server is not ready", text: message, remedies: ["retry"] };
  if (status === 413) return { title: "The message is too big", text: message, remedies: ["leave_out_oldest", "new_chat"] };
  if (error.failure === "unreachable") {
    return { title: "The server can't be reached", text: "It may have stopped or be starting again.", remedies: ["retry"] };
  }
  if (error.failure === "cut_off") {
    return { title: "The answer was cut off", text: message, remedies: ["retry"] };
  }
  if (status >= 400 && status < 500) {
    return { title: "The server refused the request", text: message, remedies: ["retry", "open_settings"] };
  }
  return { title: "The server failed", text: message, remedies: ["retry"] };
}
