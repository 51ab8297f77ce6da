// The page's keys.

const command = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl";

/** What the list of keys shows. */
export const kShortcuts: [keys: string[], meaning: string][] = [
  [["Enter"], "Send"],
  [["Shift", "Enter"], "New line"],
  [["Esc"], "Stop the answer"],
  [["↑"], "Edit the last question, from an empty box"],
  [[command, "K"], "Search the chats"],
  [[command, "Shift", "O"], "New chat"],
  [[command, "Shift", "C"], "Copy the last answer"],
  [["?"], "This list"],
];

export interface KeyActions {
  stop(): boolean;
  search(): void;
  newChat(): void;
  copyLast(): void;
  help(): void;
}

/** Listens for the keys that work anywhere on the page. */
export function listenForKeys(actions: KeyActions): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const modalOpen = document.querySelector("dialog[open]") !== null;
    if (modalOpen) return;
    const commanded = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (key === "escape") {
      if (actions.stop()) event.preventDefault();
    } else if (commanded && !event.shiftKey && key === "k") {
      event.preventDefault();
      actions.search();
    } else if (commanded && event.shiftKey && key === "o") {
      event.preventDefault();
      actions.newChat();
    } else if (commanded && event.shiftKey && key === "c") {
      event.preventDefault();
      actions.copyLast();
    } else if (key === "?" && !commanded && !isTyping(event.target)) {
      event.preventDefault();
      actions.help();
    }
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select");
}
