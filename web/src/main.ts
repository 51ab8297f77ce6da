// Starts the page.
import { App } from "./page/app.ts";
import { openStore } from "./chat/store.ts";

new App(await openStore()).start();
