// What the user set: kept in the browser, null where the model's own default holds.

export type Theme = "system" | "light" | "dark";

export interface Settings {
  theme: Theme;
  system: string;
  thinking: boolean;
  /** Most tokens of thinking; null for no limit. */
  thinkingBudget: number | null;
  temperature: number | null;
  topP: number | null;
  maxTokens: number | null;
  seed: number | null;
  schemaOn: boolean;
  schema: string;
  toolsOn: boolean;
  tools: string;
}

export const kDefaults: Readonly<Settings> = {
  theme: "system",
  system: "",
  thinking: true,
  thinkingBudget: null,
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  schemaOn: false,
  schema: "",
  toolsOn: false,
  tools: "",
};

/** The ranges of the server's fields. */
export const kRanges = {
  temperature: { min: 0, max: 2, step: 0.05, whole: false },
  topP: { min: 0, max: 1, step: 0.01, whole: false },
  maxTokens: { min: 1, max: 2 ** 31 - 1, step: 1, whole: true },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, whole: true },
  thinkingBudget: { min: 0, max: 2 ** 31 - 1, step: 1, whole: true },
} as const;

export type NumberSetting = keyof typeof kRanges;

/** The number that `text` says for a field: null for an empty text, undefined for one out of range or no number. */
export function readNumber(field: NumberSetting, text: string): number | null | undefined {
  if (text.trim() === "") return null;
  const value = Number(text);
  const { min, max, whole } = kRanges[field];
  return value >= min && value <= max && (!whole || Number.isInteger(value)) ? value : undefined;
}

/** What is wrong with a schema's text; nothing where it is a JSON object. */
export function schemaFault(text: string): string | undefined {
  return jsonFault(text, (value) => typeof value === "object" && value !== null && !Array.isArray(value), "a JSON object");
}

/** What is wrong with the text of a list of tools; nothing where it is a JSON array. */
export function toolsFault(text: string): string | undefined {
  return jsonFault(text, (value) => Array.isArray(value) && value.length > 0, "a JSON array of tools");
}

function jsonFault(text: string, accepted: (value: unknown) => boolean, expected: string): string | undefined {
  try {
    return accepted(JSON.parse(text)) ? undefined : `This has to be ${expected}.`;
  } catch (error) {
    return `This is not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Settings from their stored text; whatever in it is not as it should be falls back to the default. */
export function parseSettings(stored: string | null): Settings {
  const settings: Settings = { ...kDefaults };
  let found: Record<string, unknown>;
  try {
    found = Object(JSON.parse(stored ?? "{}")) as Record<string, unknown>;
  } catch {
    return settings;
  }
  const target = settings as unknown as Record<string, unknown>;
  for (const [name, byDefault] of Object.entries(kDefaults)) {
    const value = found[name];
    if (name in kRanges) {
      const number = typeof value === "number" ? readNumber(name as NumberSetting, String(value)) : undefined;
      if (number !== undefined) target[name] = number;
    } else if (typeof value === typeof byDefault) {
      target[name] = value;
    }
  }
  if (!["system", "light", "dark"].includes(settings.theme)) settings.theme = "system";
  if (schemaFault(settings.schema)) settings.schemaOn = false;
  if (toolsFault(settings.tools)) settings.toolsOn = false;
  return settings;
}
