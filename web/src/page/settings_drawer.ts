// The drawer of settings: each change holds at once and is kept in the browser.
import { apiKey, setApiKey } from "../api/client.ts";
import type { ServedModel } from "../api/types.ts";
import { kDefaults, kRanges, readNumber, schemaFault, toolsFault, type NumberSetting, type Settings, type Theme } from "../chat/settings.ts";
import { textButton } from "./buttons.ts";
import { modal } from "./dialogs.ts";
import { h, setText } from "./dom.ts";
import { count } from "./format.ts";

export interface SettingsActions {
  change(settings: Partial<Settings>): void;
  keyChanged(): void;
  exportAll(): void;
  importFile(file: File): void;
  removeAll(): void;
}

export function openSettings(settings: Settings, model: ServedModel, actions: SettingsActions): void {
  const dialog = modal(
    "Settings",
    "drawer",
    section("Appearance", themeChoice(settings, actions)),
    section("Model", modelFacts(model), systemPrompt(settings, actions)),
    samplingSection(settings, model, actions),
    section(
      "Form of the answer",
      jsonBox("Answer in JSON that follows a schema", "JSON schema", settings, "schema", schemaFault, actions),
      jsonBox("Offer tools; calls are shown, not run", "Tools, as a JSON array", settings, "tools", toolsFault, actions),
    ),
    section("Server", keyField(actions)),
    section("Chats", chatsButtons(actions, () => dialog.close())),
  );
}

function section(title: string, ...content: Node[]): HTMLElement {
  return h("section", {}, h("h3", {}, title), ...content);
}

function themeChoice(settings: Settings, actions: SettingsActions): HTMLElement {
  const themes: [Theme, string][] = [
    ["system", "System"],
    ["light", "Light"],
    ["dark", "Dark"],
  ];
  const choices = themes.map(([theme, label]) => {
    const radio = h("input", { type: "radio", name: "theme", value: theme, checked: settings.theme === theme, onchange: () => actions.change({ theme }) });
    return h("label", {}, radio, h("span", {}, label));
  });
  return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Theme"), ...choices);
}

function modelFacts(model: ServedModel): HTMLElement {
  const facts = [model.id ?? "Not known yet", model.contextTokens && `${count(model.contextTokens)} tokens of context`, model.version && `server ${model.version}`];
  return h("p", { class: "hint" }, facts.filter(Boolean).join(" · "));
}

function systemPrompt(settings: Settings, actions: SettingsActions): HTMLElement {
  const box = h("textarea", { rows: 4, value: settings.system, oninput: () => actions.change({ system: box.value }) });
  return h("label", { class: "field" }, "System prompt", box);
}

function samplingSection(settings: Settings, model: ServedModel, actions: SettingsActions): HTMLElement {
  const { defaults } = model;
  const fields: [NumberSetting, string, number | undefined][] = [
    ["temperature", "Temperature", defaults.temperature],
    ["topP", "Top p", defaults.top_p],
    ["maxTokens", "Max tokens", defaults.max_tokens && defaults.max_tokens > 0 ? defaults.max_tokens : undefined],
    ["seed", "Seed", undefined],
  ];
  const inputs = fields.map(([name, label, byDefault]) => numberField(name, label, byDefault, settings, actions));
  const reset = textButton("Reset to the model's defaults", () => {
    const { temperature, topP, maxTokens, seed, thinkingBudget } = kDefaults;
    actions.change({ temperature, topP, maxTokens, seed, thinkingBudget });
    for (const { input } of inputs) {
      input.value = "";
      input.dispatchEvent(new Event("input"));
    }
  });
  return section("Sampling", h("div", { class: "number-fields" }, ...inputs.map(({ element }) => element)), reset);
}

function numberField(name: NumberSetting, label: string, byDefault: number | undefined, settings: Settings, actions: SettingsActions) {
  const { min, max, step, whole } = kRanges[name];
  const fault = h("span", { class: "fault", role: "alert" });
  const note = () => {
    // A number field with text that is no number has an empty value.
    const value = input.validity.badInput ? undefined : readNumber(name, input.value);
    const range = max > 1e6 ? `from ${min}` : `from ${min} to ${max}`;
    setText(fault, value === undefined ? `A ${whole ? "whole " : ""}number ${range}; the old value holds.` : "");
    input.ariaInvalid = String(value === undefined);
    if (value !== undefined) actions.change({ [name]: value });
  };
  const placeholder = byDefault === undefined ? (name === "seed" ? "random" : "default") : `${byDefault} (default)`;
  const input = h("input", { type: "number", step: String(whole ? step : "any"), min, max, value: settings[name] ?? "", placeholder, oninput: note });
  return { input, element: h("label", { class: "field" }, label, input, fault) };
}

/** A switch and the JSON text that it turns on; it can't be on while the text is not right. */
function jsonBox(
  switchLabel: string,
  boxLabel: string,
  settings: Settings,
  name: "schema" | "tools",
  faultOf: (text: string) => string | undefined,
  actions: SettingsActions,
): HTMLElement {
  const on = name === "schema" ? "schemaOn" : "toolsOn";
  const fault = h("p", { class: "fault", role: "alert" });
  const note = () => {
    const wrong = faultOf(box.value);
    setText(fault, toggle.checked && wrong ? wrong : "");
    box.ariaInvalid = String(toggle.checked && wrong !== undefined);
    area.hidden = !toggle.checked;
    actions.change({ [on]: toggle.checked && wrong === undefined, [name]: box.value });
  };
  const toggle = h("input", { type: "checkbox", checked: settings[on], onchange: note });
  const box = h("textarea", { rows: 7, value: settings[name], spellcheck: false, class: "mono", "aria-label": boxLabel, oninput: note });
  const area = h("div", { hidden: !settings[on] }, box, fault);
  return h("div", { class: "json-box" }, h("label", { class: "check" }, toggle, switchLabel), area);
}

function keyField(actions: SettingsActions): HTMLElement {
  const onchange = () => {
    setApiKey(input.value.trim());
    actions.keyChanged();
  };
  const input = h("input", { type: "password", value: apiKey(), autocomplete: "off", placeholder: "none", onchange });
  return h("label", { class: "field" }, "API key", input, h("span", { class: "hint" }, "Kept until this tab closes."));
}

function chatsButtons(actions: SettingsActions, close: () => void): HTMLElement {
  const picker = h("input", {
    type: "file",
    accept: ".json,application/json",
    hidden: true,
    "aria-label": "Exported chats",
    onchange: () => picker.files?.[0] && (close(), actions.importFile(picker.files[0])),
  });
  return h(
    "div",
    { class: "buttons" },
    textButton("Export all", () => actions.exportAll()),
    textButton("Import", () => picker.click()),
    picker,
    textButton("Delete everything", () => (close(), actions.removeAll()), "danger"),
  );
}
