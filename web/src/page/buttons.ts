// The page's buttons: each has words, shown or read out.
import { h } from "./dom.ts";
import { icon, type IconName } from "./icons.ts";

/** A button that shows an icon and is called `label`. */
export function iconButton(name: IconName, label: string, onclick: (event: MouseEvent) => void, extra = ""): HTMLButtonElement {
  return h("button", { type: "button", class: `icon-button ${extra}`, "aria-label": label, title: label, onclick }, icon(name));
}

export function textButton(label: string, onclick: (event: MouseEvent) => void, extra = ""): HTMLButtonElement {
  return h("button", { type: "button", class: `text-button ${extra}`, onclick }, label);
}

/** A button that copies what `text` gives, and shows for a moment that it did. */
export function copyButton(label: string, text: () => string, announce: (said: string) => void): HTMLButtonElement {
  const button = iconButton("copy", label, async () => {
    const copied = await copyText(text());
    announce(copied ? "Copied" : "The browser does not let the page copy");
    if (!copied) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** Copies a text; also where the page came over plain HTTP from another machine, where there is no Clipboard API. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const field = h("textarea", { value: text, class: "visually-hidden", "aria-hidden": "true" });
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return copied;
  }
}
