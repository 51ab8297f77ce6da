// Which addresses the page makes links of. Model output is foreign text: nothing that runs, nothing that loads by itself.

/** The address, normalised, if it is one that a link may have: http, https or mailto, and nothing that hides its host. */
export function safeAddress(text: string): URL | undefined {
  if (!/^(?:https?:\/\/|mailto:)/i.test(text.trim())) return undefined;
  try {
    const url = new URL(text.trim());
    // "https://bank.example@evil.example" reads as one host and goes to another.
    return url.username || url.password ? undefined : url;
  } catch {
    return undefined;
  }
}

/** The part of an address that says where it leads. */
export function destination(url: URL): string {
  return url.protocol === "mailto:" ? url.pathname : url.host;
}

/** An address found in running text, without the punctuation that ends the sentence. */
export function trimAddress(text: string): string {
  let end = text.length;
  let unopened = text.split(")").length - text.split("(").length;
  for (; end > 0; end--) {
    const last = text[end - 1] ?? "";
    if (".,;:!?'\"*_~".includes(last)) continue;
    // A closing bracket belongs to the address only where it was opened in it.
    if (last !== ")" || unopened-- <= 0) break;
  }
  return text.slice(0, end);
}
