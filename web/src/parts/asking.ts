// What is asked: rows, codes and words from the address; files from this page, sent once and never kept.

import { path, post, query, get, type Answer, type Facts, type SearchAnswer } from "../api";
import { change } from "../state";

export interface Upload {
  handle: string | null;
  name: string;
  preview: string | null;
  file: Blob;
  crop?: number[] | undefined;
}

/** Files that were asked with, by their codes: the address holds the code. */
const uploads = new Map<string, Upload>();

export const uploadOf = (code: string): Upload | undefined => uploads.get(code);

export const ASKED = ["id", "key", "code", "text", "row", "vector"] as const;
const OPTIONS = ["radius", "min_confidence", "bits", "others", "distinct", "fast", "hybrid", "where", "weight"];
const SEVERAL = ["label", "split", "plus", "minus"];

/** Whether words find what is no text, and can be added to questions. */
export const mixes = (facts: Facts): boolean => facts.asks.includes("text") && facts.kind !== "text";

/** Whether what was measured of distances says nothing of a question: one in words to what is no text. */
export const unmeasured = (facts: Facts, parameters: URLSearchParams): boolean =>
  mixes(facts) && ["text", "plus", "minus"].some((one) => parameters.has(one));

export function question(parameters: URLSearchParams): [string, string] | null {
  for (const name of ASKED) {
    const value = parameters.get(name);
    if (value !== null) return [name, value];
  }
  return null;
}

export function options(parameters: URLSearchParams): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = {};
  for (const name of [...OPTIONS, ...SEVERAL]) {
    const values = parameters.getAll(name);
    if (values.length) found[name] = SEVERAL.includes(name) ? values : values[0]!;
  }
  return found;
}

const PAGE = 30;

export async function ask(
  facts: Facts,
  parameters: URLSearchParams,
  after: string | null,
  signal: AbortSignal,
): Promise<SearchAnswer> {
  const [kind, value] = question(parameters)!;
  const wanted = { ...options(parameters), k: String(PAGE), after, release: facts.release };
  if (kind === "row" || kind === "vector") {
    const { k, ...rest } = wanted;
    const body = { ...typed(rest), k: Number(k), queries: [{ [kind]: JSON.parse(value) }] };
    return post(path(facts.name, "/search"), JSON.stringify(body), "application/json", signal);
  }
  const crop = parameters.get("crop");
  const upload = kind === "code" ? uploads.get(value) : undefined;
  if (upload && ["plus", "minus", "hybrid"].some((one) => parameters.has(one))) {
    // What was kept of a file cannot be mixed with words, and has none of its own: the file is sent once more.
    const type = upload.file.type || "application/octet-stream";
    return post(path(facts.name, `/search${query({ ...wanted, name: upload.name })}`), upload.file, type, signal);
  }
  if (upload?.handle) {
    try {
      return await get(path(facts.name, `/search${query({ ...wanted, handle: upload.handle })}`), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      upload.handle = null; // forgotten by the service: the code alone does it
    }
  }
  return get(path(facts.name, `/search${query({ ...wanted, [kind]: value, crop })}`), signal);
}

/** Options of an address as JSON has them. */
function typed(given: Record<string, unknown>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined) continue;
    if (["others", "distinct", "fast", "hybrid"].includes(name)) found[name] = value === "true" || value === "1";
    else if (["radius", "min_confidence", "bits", "weight"].includes(name)) found[name] = Number(value);
    else found[name] = value;
  }
  return found;
}

export const typeOf = (file: Blob): string =>
  /^(image|audio|video)\//.test(file.type) ? file.type : "application/octet-stream";

/** Sends a file, and goes to the address of its code. */
export async function askFile(facts: Facts, file: Blob, name: string, crop?: number[]): Promise<Answer> {
  const given = query({ k: "1", name, crop: crop?.map((one) => one.toFixed(4)).join(",") });
  const found = await post<SearchAnswer>(path(facts.name, `/search${given}`), file, typeOf(file));
  const answer = found.answers[0]!;
  if (answer.code) {
    const preview = /^image\//.test(file.type) ? URL.createObjectURL(file) : null;
    uploads.set(answer.code, { handle: answer.handle, name, preview, file, crop });
    change({ ...Object.fromEntries([...ASKED, "crop", "item"].map((one) => [one, null])), code: answer.code });
  }
  return answer;
}

/** Reads what was typed as words, a row, a vector, a key or an id. */
export function askTyped(facts: Facts, text: string): void {
  const clear: Record<string, string | null> = Object.fromEntries([...ASKED, "crop", "item"].map((one) => [one, null]));
  const asks = new Set(facts.asks);
  const trimmed = text.trim();
  if (!trimmed) return change(clear);
  const hex = facts.n_bits / 4;
  if (asks.has("row") && trimmed.startsWith("{")) return change({ ...clear, row: trimmed });
  if (asks.has("vector") && trimmed.startsWith("[")) return change({ ...clear, vector: trimmed });
  if (asks.has("text") && facts.kind === "text") return change({ ...clear, text: trimmed });
  if (/^\d{1,15}$/.test(trimmed)) return change({ ...clear, id: trimmed });
  if (new RegExp(`^[0-9a-f]{${hex}}$`, "i").test(trimmed)) return change({ ...clear, code: trimmed.toLowerCase() });
  const likeKey = /^\S*(\/\S*|\.[A-Za-z0-9]{1,5})$/.test(trimmed);
  change({ ...clear, [asks.has("text") && !likeKey ? "text" : "key"]: trimmed });
}
