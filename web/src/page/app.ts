// The page as a whole: which chat is open, which answers are on their way, and what each action does to them.
import { setApiKey } from "../api/client.ts";
import { Library } from "../chat/library.ts";
import { clearLocal, loadDraft, loadSettings, saveDraft, saveSettings } from "../chat/local.ts";
import type { Run } from "../chat/run.ts";
import type { Settings } from "../chat/settings.ts";
import type { Store } from "../chat/store.ts";
import { addMessage, leaveOutOldest, newChat, removeMessage, showBranch, shownPath, type Chat, type Message } from "../chat/tree.ts";
import { Announcer } from "./announcer.ts";
import { Answering } from "./answering.ts";
import { copyText } from "./buttons.ts";
import { saveAsJson, saveAsMarkdown } from "./chat_files.ts";
import { Composer } from "./composer.ts";
import { Connection } from "./connection.ts";
import { Conversation } from "./conversation.ts";
import { askText, confirmed, showShortcuts } from "./dialogs.ts";
import { counted } from "./format.ts";
import { Header } from "./header.ts";
import { listenForKeys } from "./keyboard.ts";
import { Layout } from "./layout.ts";
import { Notice } from "./notice.ts";
import { problemCard } from "./problem_card.ts";
import { openSettings } from "./settings_drawer.ts";
import { Sidebar } from "./sidebar.ts";
import { StatusStrip } from "./status_strip.ts";
import { applyTheme } from "./theme.ts";

export class App {
  readonly #library: Library;
  readonly #server = new Connection(() => this.#show());
  #settings: Settings = loadSettings();
  #chat: Chat = newChat(Date.now());
  #frame = 0;

  readonly #announcer = new Announcer();
  readonly #answering = new Answering(this.#announcer, {
    isShown: (chat) => this.#chat === chat,
    draw: (run) => this.#draw(run),
    save: (chat) => this.#save(chat).then(() => this.#showList()),
    ended: (chat) => this.#ended(chat),
  });
  readonly #notice = new Notice();
  readonly #status = new StatusStrip();
  readonly #sidebar: Sidebar;
  readonly #header: Header;
  readonly #conversation: Conversation;
  readonly #composer: Composer;
  readonly #layout: Layout;

  constructor(store: Store) {
    this.#library = new Library(store, (id) => void this.#changedElsewhere(id));
    applyTheme(this.#settings.theme);
    this.#sidebar = new Sidebar({
      newChat: () => this.#startNew(),
      rename: (id) => this.#rename(id),
      remove: (id) => this.#removeChat(id),
      search: () => this.#showList(),
      fold: () => this.#layout.setOpen(false, true),
    });
    this.#header = new Header({
      menu: () => this.#layout.setOpen(true, true),
      rename: () => this.#rename(this.#chat.id),
      saveMarkdown: () => saveAsMarkdown(this.#chat),
      saveJson: () => saveAsJson([this.#chat], this.#chat.title),
      remove: () => this.#removeChat(this.#chat.id),
      settings: () => this.#openSettings(),
      help: showShortcuts,
    });
    this.#conversation = new Conversation({
      edit: (message, text) => this.#ask(message.parent, text),
      again: (message) => this.#answer(message.parent),
      goOn: (message) => this.#ask(message.id, "Continue."),
      remove: (message) => this.#removeMessage(message),
      showBranch: (message, step) => this.#showBranch(message, step),
      say: this.#announcer.say,
    });
    this.#composer = new Composer({
      send: (text) => this.#ask(shownPath(this.#chat).at(-1)?.id ?? null, text),
      stop: () => this.#run?.stop(),
      editLast: () => this.#conversation.editLast(),
      changed: (text) => saveDraft(this.#draftName, text),
      change: (settings) => this.#change(settings),
      openSettings: () => this.#openSettings(),
      refuse: (text) => this.#notice.show(text),
    });
    this.#layout = new Layout(
      this.#sidebar.element,
      this.#header.element,
      this.#conversation.element,
      [this.#notice.element, this.#composer.element, this.#status.element],
      [this.#announcer.element],
    );
    this.#composer.showSettings(this.#settings);
  }

  start(): void {
    listenForKeys({
      stop: () => this.#layout.closeOnNarrow() || (this.#run !== undefined && (this.#run.stop(), true)),
      search: () => (this.#layout.setOpen(true), this.#sidebar.search.focus()),
      newChat: () => this.#startNew(),
      copyLast: () => void this.#copyLast(),
      help: showShortcuts,
    });
    addEventListener("hashchange", () => void this.#openFromAddress());
    addEventListener("pagehide", () => this.#answering.all().forEach((run) => void this.#save(run.chat)));
    // What the server is waited for, and for how long yet, changes without a chunk.
    setInterval(() => this.#run?.waiting && this.#showStatus(), 500);
    void this.#openFromAddress();
    void this.#server.meet();
    // A question in the address is put into the box and never sent: a link must not make the model work.
    const question = new URLSearchParams(location.search).get("q");
    if (question) this.#composer.setText(question);
    if (!this.#library.lasting) this.#notice.show("This browser does not let the page keep chats: they are gone when it is closed.");
  }

  get #run(): Run | undefined {
    return this.#answering.run(this.#chat.id);
  }

  /** A chat without messages shares one draft, whatever its id. */
  get #draftName(): string {
    return this.#chat.messages.length > 0 ? this.#chat.id : "new";
  }

  // Which chat is open.

  async #openFromAddress(): Promise<void> {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id === this.#chat.id) return this.#show();
    const found = id ? await this.#find(id) : undefined;
    if (id && !found) history.replaceState(null, "", location.pathname);
    this.#chat = found ?? newChat(Date.now());
    this.#layout.closeOnNarrow();
    const draft = loadDraft(this.#draftName);
    if (draft || !this.#composer.box.value || found) this.#composer.setText(draft);
    this.#show();
    this.#conversation.scrollToEnd();
    this.#composer.box.focus();
  }

  #startNew(): void {
    if (location.hash) {
      location.hash = "";
    } else {
      this.#layout.closeOnNarrow();
      this.#composer.box.focus();
    }
  }

  async #changedElsewhere(id: string): Promise<void> {
    await this.#showList();
    if (id !== this.#chat.id || this.#run) return;
    const chat = await this.#library.get(id);
    if (chat) this.#chat = chat;
    this.#show();
  }

  // Asking.

  /** Adds a question after `parent` and asks for its answer. */
  #ask(parent: string | null, text: string): void {
    this.#run?.stop();
    const question = addMessage(this.#chat, parent, "user", text, Date.now());
    if (location.hash !== `#${this.#chat.id}`) history.replaceState(null, "", `#${this.#chat.id}`);
    this.#answer(question.id);
  }

  /** Asks for an answer to the message `parent`, beside those that it has. */
  #answer(parent: string | null): void {
    this.#notice.hide();
    this.#answering.start(this.#chat, parent, this.#settings, this.#server.model.id);
    this.#show();
    this.#conversation.scrollToEnd();
  }

  #ended(chat: Chat): void {
    if (this.#server.model.id === undefined) void this.#server.meet();
    if (this.#chat === chat) this.#show();
    else void this.#showList();
  }

  // Changing a chat.

  #removeMessage(message: Message): void {
    const chat = this.#chat;
    this.#run?.stop();
    const before = structuredClone(chat);
    removeMessage(chat, message.id);
    this.#answering.forgetProblem(chat.id);
    void this.#changed(chat);
    this.#notice.show("Deleted.", { label: "Undo", run: () => this.#restore(before) });
    this.#composer.box.focus();
  }

  #restore(chat: Chat): void {
    if (this.#chat.id === chat.id) this.#chat = chat;
    void this.#changed(chat);
    if (location.hash !== `#${chat.id}`) location.hash = chat.id;
  }

  #showBranch(message: Message, step: number): void {
    this.#run?.stop();
    const at = shownPath(this.#chat).indexOf(message);
    showBranch(this.#chat, message, step);
    void this.#changed(this.#chat);
    this.#conversation.focusArrow(shownPath(this.#chat)[at], step);
  }

  async #rename(id: string): Promise<void> {
    const chat = await this.#find(id);
    const title = chat && (await askText("Rename the chat", "Name", chat.title));
    if (!title) return;
    chat.title = title;
    void this.#changed(chat);
  }

  async #removeChat(id: string): Promise<void> {
    const chat = await this.#find(id);
    if (!chat) return;
    this.#answering.forget(id);
    await this.#library.remove(id);
    saveDraft(id, "");
    if (this.#chat.id === id) this.#startNew();
    await this.#showList();
    this.#notice.show(`“${chat.title || "Untitled"}” was deleted.`, { label: "Undo", run: () => this.#restore(chat) });
  }

  /** A chat as it is at this moment, not as it was saved, where it is open or answered. */
  #find(id: string): Promise<Chat | undefined> {
    const open = id === this.#chat.id ? this.#chat : this.#answering.run(id)?.chat;
    return open ? Promise.resolve(open) : this.#library.get(id);
  }

  async #changed(chat: Chat): Promise<void> {
    this.#show();
    await this.#save(chat);
    await this.#showList();
  }

  async #save(chat: Chat): Promise<void> {
    try {
      await this.#library.keep(chat);
    } catch (error) {
      this.#notice.show(`The browser did not keep the chat: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #copyLast(): Promise<void> {
    const last = shownPath(this.#chat).findLast((message) => message.role === "assistant");
    if (last) this.#notice.show((await copyText(last.content)) ? "The last answer was copied." : "The browser does not let the page copy.");
  }

  // Settings and files.

  #change(settings: Partial<Settings>): void {
    this.#settings = { ...this.#settings, ...settings };
    saveSettings(this.#settings);
    applyTheme(this.#settings.theme);
    this.#composer.showSettings(this.#settings);
  }

  #openSettings(): void {
    openSettings(this.#settings, this.#server.model, {
      change: (settings) => this.#change(settings),
      keyChanged: () => void this.#server.meet(),
      exportAll: async () => saveAsJson(await this.#library.all(), "strata-chats"),
      importFile: (file) => this.#importFile(file),
      removeAll: () => this.#removeAll(),
    });
  }

  async #importFile(file: File): Promise<void> {
    try {
      const added = await this.#library.take(await file.text());
      await this.#showList();
      this.#notice.show(`${counted(added, "chat")} imported.`);
    } catch (error) {
      this.#notice.show(error instanceof Error ? error.message : String(error));
    }
  }

  async #removeAll(): Promise<void> {
    const sure = await confirmed("Delete everything?", "All chats, drafts and settings in this browser go. This can't be undone.", "Delete everything");
    if (!sure) return;
    this.#answering.all().forEach((run) => this.#answering.forget(run.chat.id));
    await this.#library.clear();
    clearLocal();
    setApiKey("");
    this.#change({ ...loadSettings() });
    this.#chat = newChat(Date.now());
    this.#startNew();
    this.#show();
    await this.#showList();
    this.#notice.show("Everything was deleted.");
  }

  // Drawing.

  #show(): void {
    const chat = this.#chat;
    const run = this.#run;
    this.#header.show(chat.title, this.#server.model.id, chat.messages.length > 0);
    this.#conversation.show(chat, run?.message, this.#afterTurns(), this.#server.model);
    this.#composer.setRunning(run !== undefined);
    this.#showStatus();
    void this.#showList();
  }

  /** What stands under the last message: what went wrong, or that a question has no answer. */
  #afterTurns(): Node[] {
    if (this.#run) return [];
    const last = shownPath(this.#chat).at(-1);
    const unanswered = { title: "No answer yet", text: "This question was not answered.", remedies: ["retry" as const] };
    const problem = this.#answering.problem(this.#chat.id) ?? (last?.role === "user" ? unanswered : this.#server.problem);
    if (!problem) return [];
    return [
      problemCard(problem, {
        retry: () => this.#retry(),
        useKey: (key) => (setApiKey(key), void this.#server.meet(), this.#retry()),
        leaveOutOldest: () => this.#leaveOutOldest(),
        newChat: () => this.#startNew(),
        openSettings: () => this.#openSettings(),
      }),
    ];
  }

  /** Asks the last question again; an answer that broke off stays as a version. */
  #retry(): void {
    const last = shownPath(this.#chat).at(-1);
    if (last) this.#answer(last.role === "user" ? last.id : last.parent);
    else void this.#server.meet();
  }

  #leaveOutOldest(): void {
    if (leaveOutOldest(this.#chat)) return this.#retry();
    this.#notice.show("Only the last question is left, and it alone is too long: shorten it, or start a new chat.");
  }

  /** Draws a run at the next frame, however many chunks come before it. */
  #draw(run: Run): void {
    if (this.#chat !== run.chat || this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#run) this.#conversation.updateRunning(this.#run.message);
      this.#showStatus();
    });
  }

  #showStatus(): void {
    const figures = shownPath(this.#chat).findLast((message) => message.figures)?.figures;
    this.#status.showRun(this.#run, "");
    this.#status.showContext(figures, this.#server.model.contextTokens);
  }

  async #showList(): Promise<void> {
    const chats = await this.#library.list(this.#sidebar.search.value);
    this.#sidebar.show(chats, this.#chat.id, (id) => this.#answering.run(id) !== undefined);
  }
}
