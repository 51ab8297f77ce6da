// Builds the page into one file: the script and the styles go inline, so that the server can name their hashes in its
// Content-Security-Policy and the page needs nothing else.
import { defineConfig, type Plugin } from "vite";

/** Replaces the links to the built script and stylesheet by their text, one `<style>` and one `<script type="module">`. */
function singleFile(): Plugin {
  return {
    name: "single-file",
    enforce: "post",
    generateBundle(_options, bundle) {
      const page = bundle["index.html"];
      if (page?.type !== "asset") throw new Error("the build has no index.html");
      let html = String(page.source);
      const inlineInstead = (tag: RegExp, text: string) => {
        if (!tag.test(html)) throw new Error(`index.html has no ${tag}`);
        html = html.replace(tag, () => text);
      };
      for (const [name, output] of Object.entries(bundle)) {
        if (output.type === "chunk") {
          if (/<\/script|<!--/i.test(output.code)) throw new Error("the script would end its own <script> element");
          inlineInstead(/\s*<script type="module"[^>]*src=[^>]*><\/script>/, "");
          // At the end of the body the script finds the page parsed, whatever the browser makes of inline modules.
          inlineInstead(/<\/body>/, `<script type="module">${output.code.trim()}</script>\n</body>`);
        } else if (name.endsWith(".css")) {
          inlineInstead(/<link rel="stylesheet"[^>]*>/, `<style>${String(output.source).trim()}</style>`);
        } else {
          continue;
        }
        delete bundle[name];
      }
      page.source = html;
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [singleFile()],
  build: { target: "es2023", cssTarget: ["chrome123", "firefox121", "safari17.5"], modulePreload: false, reportCompressedSize: false, assetsInlineLimit: 0 },
  server: { proxy: Object.fromEntries(["/v1", "/props", "/ready", "/version"].map((path) => [path, process.env.STRATA_URL ?? "http://127.0.0.1:8080"])) },
});
