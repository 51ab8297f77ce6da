// Light or dark: as the system says, unless the user does.
import type { Theme } from "../chat/settings.ts";

export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
