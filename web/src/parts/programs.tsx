// The same question for programs: curl, Python, the command line.

import { useState } from "preact/hooks";
import { path, query, type Facts } from "../api";
import { t } from "../i18n";
import { options, question } from "./asking";
import { copy } from "./item";

export function Programs({ facts, parameters }: { facts: Facts; parameters: URLSearchParams }) {
  const [form, setForm] = useState<"curl" | "python" | "command">("curl");
  const asked = question(parameters);
  if (!asked || asked[0] === "row" || asked[0] === "vector") return null;
  const text = { curl, python, command }[form](facts, asked, options(parameters));
  return (
    <details class="programs">
      <summary>{t("same_as")}</summary>
      <div class="tabs" role="group">
        {(["curl", "python", "command"] as const).map((one) => (
          <button key={one} aria-pressed={one === form} onClick={() => setForm(one)}>
            {t(`as_${one}`)}
          </button>
        ))}
        <button class="quiet" onClick={() => copy(text)}>
          {t("copy")}
        </button>
      </div>
      <pre tabIndex={0}>{text}</pre>
    </details>
  );
}

type Given = Record<string, string | string[]>;

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(facts: Facts, [kind, value]: [string, string], given: Given): string {
  return `curl ${quoted(location.origin + path(facts.name, `/search${query({ [kind]: value, ...given })}`))}`;
}

function python(facts: Facts, [kind, value]: [string, string], given: Given): string {
  const string = JSON.stringify;
  const asked = { id: `ids=[${value}]`, key: `keys=[${string(value)}]`, code: `codes=[${string(value)}]` }[kind] ?? string(value);
  const more = Object.entries(given)
    .filter(([name]) => name !== "label" && name !== "split")
    .map(([name, one]) => `, ${name}=${one === "true" ? "True" : /^[\d.]+$/.test(String(one)) ? one : string(one)}`);
  return `import aepipe\n\naepipe.open(name=${string(facts.name)}).query(${asked}${more.join("")}).to_pandas()`;
}

const mixed = (name: string, words: string[]) =>
  words.map((one) => ` --${name === "minus" ? "not" : name} ${quoted(one)}`).join("");

function command(facts: Facts, [kind, value]: [string, string], given: Given): string {
  const asked = kind === "text" ? quoted(value) : `--${kind} ${quoted(value)}`;
  const conditions = ["label", "split"].flatMap((name) => {
    const values = given[name];
    return Array.isArray(values) ? [`${name} IN (${values.map((one) => `'${one.replaceAll("'", "''")}'`).join(", ")})`] : [];
  });
  const where = [...conditions, given.where ? `(${given.where})` : ""].filter(Boolean).join(" AND ");
  const more = Object.entries(given)
    .filter(([name]) => !["label", "split", "where"].includes(name))
    .map(([name, one]) => (one === "true" ? ` --${name}` : Array.isArray(one) ? mixed(name, one) : ` --${name.replace("_", "-")} ${one}`));
  return `aepipe query ${asked}${more.join("")}${where ? ` --where ${quoted(where)}` : ""} --name ${quoted(facts.name)}`;
}
