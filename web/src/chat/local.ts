// Small texts in the browser's localStorage: settings and drafts. Where it is blocked they last as long as the page.
import { parseSettings, type Settings } from "./settings.ts";

const kPrefix = "strata.";
const withoutStorage = new Map<string, string>();

function read(name: string): string | null {
  try {
    return localStorage.getItem(kPrefix + name);
  } catch {
    return withoutStorage.get(name) ?? null;
  }
}

function write(name: string, value: string): void {
  try {
    if (value) localStorage.setItem(kPrefix + name, value);
    else localStorage.removeItem(kPrefix + name);
  } catch {
    withoutStorage.set(name, value);
  }
}

export const loadSettings = (): Settings => parseSettings(read("settings"));
export const saveSettings = (settings: Settings): void => write("settings", JSON.stringify(settings));

/** What was typed in a chat and not sent. */
export const loadDraft = (chat: string): string => read(`draft.${chat}`) ?? "";
export const saveDraft = (chat: string, text: string): void => write(`draft.${chat}`, text);

/** Whether the list of chats is folded away on a wide screen. */
export const loadFolded = (): boolean => read("folded") === "1";
export const saveFolded = (folded: boolean): void => write("folded", folded ? "1" : "");

/** Forgets all of it. */
export function clearLocal(): void {
  withoutStorage.clear();
  try {
    for (const name of Object.keys(localStorage)) if (name.startsWith(kPrefix)) localStorage.removeItem(name);
  } catch {
    // Nothing was kept.
  }
}
