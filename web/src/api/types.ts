// The shapes of the server's JSON that the page reads and writes. All but the bare frame may be missing.

export interface ToolCall {
  id: string;
  name: string;
  /** JSON text, as the model wrote it; while it streams, its beginning. */
  arguments: string;
}

export interface ToolCallDelta {
  index?: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

export interface Usage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
  prompt_tokens_details?: { cached_tokens?: number } | null;
  completion_tokens_details?: { reasoning_tokens?: number } | null;
}

export interface Timings {
  prompt_n?: number;
  prompt_ms?: number;
  predicted_n?: number;
  predicted_ms?: number;
  predicted_per_second?: number;
}

/** How much of the prompt has been read: `processed` of `total` tokens, of which `cache` were already in memory. */
export interface PromptProgress {
  total?: number;
  cache?: number;
  processed?: number;
  time_ms?: number;
}

export interface Chunk {
  model?: string;
  choices?: {
    delta?: {
      content?: string | null;
      reasoning?: string | null;
      reasoning_content?: string | null;
      tool_calls?: ToolCallDelta[] | null;
    };
    finish_reason?: string | null;
  }[];
  usage?: Usage | null;
  timings?: Timings | null;
  prompt_progress?: PromptProgress | null;
  error?: ErrorBody;
}

export interface ErrorBody {
  message?: string;
  type?: string;
  param?: string | null;
  code?: string | null;
  n_prompt_tokens?: number;
  n_ctx?: number;
}

export interface RequestMessage {
  role: "system" | "user" | "assistant";
  content: string | null;
  tool_calls?: { id: string; type: "function"; function: { name: string; arguments: string } }[];
}

export interface ChatRequest {
  model?: string;
  messages: RequestMessage[];
  stream: true;
  stream_options: { include_usage: true };
  return_progress: true;
  chat_template_kwargs: { enable_thinking: boolean };
  thinking_token_budget?: number;
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  seed?: number;
  response_format?: { type: "json_schema"; json_schema: { name: string; strict: true; schema: unknown } };
  tools?: unknown[];
}

/** What the page knows of the served model. */
export interface ServedModel {
  id?: string;
  /** The longest chat, in tokens. */
  contextTokens?: number;
  /** Sampling that the server uses where a request says nothing. */
  defaults: { temperature?: number; top_p?: number; max_tokens?: number };
  version?: string;
}
