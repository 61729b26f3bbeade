// Builds the page into the Python package: one script, one style sheet, both named by their content, and index.html.
import { build, context } from "esbuild";
import { readFileSync, readdirSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";

const out = new URL("../aepipe/serve/page/", import.meta.url).pathname;

const options = {
  entryPoints: ["src/main.tsx"],
  entryNames: "app.[hash]",
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  metafile: true,
  charset: "utf8",
  legalComments: "none",
  outdir: out,
  logLevel: "warning",
};

function writePage(result) {
  const made = Object.keys(result.metafile.outputs).map((file) => basename(file));
  for (const file of readdirSync(out)) {
    if (/^app\..*\.(js|css)$/.test(file) && !made.includes(file)) rmSync(join(out, file));
  }
  const named = (ending) => made.find((file) => file.endsWith(ending));
  const page = readFileSync("src/index.html", "utf8")
    .replace("app.js", named(".js"))
    .replace("app.css", named(".css"));
  writeFileSync(join(out, "index.html"), page);
}

mkdirSync(out, { recursive: true });
if (process.argv.includes("--watch")) {
  const plugin = { name: "page", setup: (one) => one.onEnd((result) => result.metafile && writePage(result)) };
  await (await context({ ...options, plugins: [plugin] })).watch();
} else {
  writePage(await build(options));
}
