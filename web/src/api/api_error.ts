// A request that failed, as the page tells it apart.
import type { ErrorBody } from "./types.ts";

export type Failure =
  | "unreachable" // no answer, or the connection broke before the first event
  | "cut_off" // the stream ended before its end
  | "refused"; // the server said no, with a status or in the stream

export class ApiError extends Error {
  readonly failure: Failure;
  /** HTTP status; 0 where there was none. */
  readonly status: number;
  readonly body: ErrorBody;
  /** Seconds that the server asks to wait, from Retry-After. */
  readonly retryAfter: number | undefined;

  constructor(failure: Failure, message: string, status = 0, body: ErrorBody = {}, retryAfter?: number) {
    super(message);
    this.failure = failure;
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }

  get code(): string {
    return this.body.code ?? "";
  }

  /** Whether the same request may succeed later with nothing changed. */
  get passes(): boolean {
    return this.failure === "unreachable" || this.status === 429 || this.status === 503 || this.status === 502;
  }
}

/** The error that a response with a status other than 2xx carries, whatever its body is. */
export async function errorOf(response: Response): Promise<ApiError> {
  let body: ErrorBody = {};
  try {
    const parsed: unknown = JSON.parse(await response.text());
    if (parsed && typeof parsed === "object" && "error" in parsed) {
      const error = parsed.error;
      body = typeof error === "string" ? { message: error } : ((error ?? {}) as ErrorBody);
    }
  } catch {
    // Not JSON, or cut off: the status alone says what there is to say.
  }
  const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
  const message = body.message ?? `The server answered with status ${response.status}.`;
  return new ApiError("refused", message, response.status, body, Number.isFinite(wait) && wait >= 0 ? wait : undefined);
}
