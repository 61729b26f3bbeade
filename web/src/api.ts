// The endpoints of the service, with the types of their answers.

export interface Hit {
  rank: number;
  id: number;
  distance: number;
  similarity: number;
  confidence: number | null;
  cosine: number | null;
  key: string;
  label: string | null;
  labels: string[];
  split: string | null;
  snippet: string | null;
  columns: Record<string, string | null>;
}

export interface Answer {
  query: string;
  code: string | null;
  strange: string | null;
  total: number | null;
  next: string | null;
  handle: string | null;
  error: string | null;
  hits: Hit[];
  understood: string[];
}

export interface SearchAnswer {
  name: string;
  release: string;
  fingerprint: string;
  rows: number;
  took_ms: number;
  answers: Answer[];
}

export interface Item {
  id: number;
  key: string;
  label: string | null;
  labels: string[];
  split: string | null;
  snippet: string | null;
  columns: Record<string, string | null>;
  code?: string;
}

export interface ItemList {
  release: string;
  total: number;
  next: string | null;
  items: Item[];
}

export interface Summary {
  name: string;
  kind: string;
  rows: number;
  n_bits: number;
  release: string;
  promoted: string | null;
  asks: string[];
  pictures: boolean;
  trouble: string | null;
}

export interface Counted {
  value: string;
  count: number;
}

export interface Facts extends Summary {
  fingerprint: string;
  columns: Record<string, string>;
  labels: Counted[];
  splits: Counted[];
  confidence: number[] | null;
  meaning: string | null;
  reranked: boolean;
  hybrid: boolean;
  map: boolean;
  write: boolean;
  originals: boolean;
}

export interface Bit {
  a: number;
  b: number;
  share: number;
}

export interface Explanation {
  a: string;
  b: string;
  distance: number;
  similarity: number;
  confidence: number | null;
  cosine: number | null;
  bits: Bit[];
}

export interface Member extends Item {
  distance: number;
  relation: "first" | "identical" | "edited copy" | "alike in content";
  mark: "keep" | "remove";
}

export type Alike = "identical" | "copies" | "content";

export interface Duplicates {
  release: string;
  alike: Alike;
  radius: number;
  summary: string;
  total: number;
  removable: number;
  next: number | null;
  groups: Member[][];
}

export interface ReleaseEvent {
  when: string;
  action: "promote" | "rollback" | "refuse";
  before: string;
  after: string;
  why: string;
  scores: Record<string, number>;
  here: boolean;
}

export interface Difference {
  before: string;
  after: string;
  same_encoder: boolean;
  lost: number;
  gained: number;
  overlap: number;
  interval: number;
  unchanged: number;
  flips: number | null;
  rows: number;
  k: number;
  most_changed: { key: string; common: number; before: Item[]; after: Item[] }[];
}

export interface Unreadable {
  what: string;
  reason: string;
  count: number;
  keys: string[];
}

export interface Marked {
  key: string;
  code: string;
  upload: string;
  good: string[];
  bad: string[];
  passed: boolean;
  said: string;
}

/** An answer that is an error, in the words of the service. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(text);
  }
}

export const root = document.querySelector<HTMLMetaElement>('meta[name="root"]')?.content ?? "";

type Value = string | number | boolean | null | undefined;
export type Parameters = Record<string, Value | string[]>;

export function query(parameters: Parameters): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "" && one !== false) found.append(name, String(one));
    }
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

export function path(name: string, rest = ""): string {
  return `${root}/v1/collections/${encodeURIComponent(name)}${rest}`;
}

/** The address of a small picture; pinned to a release it never changes, so the browser keeps it. */
export function thumb(name: string, id: number, size: 112 | 224 | 448, release: string): string {
  return path(name, `/items/${id}/thumb${query({ s: size, release: release.slice(0, 16) })}`);
}

export function original(name: string, id: number, release: string): string {
  return path(name, `/items/${id}/original${query({ release: release.slice(0, 16) })}`);
}

async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const answer = await fetch(url, { credentials: "same-origin", ...init });
  if (answer.ok) return answer;
  let text = answer.statusText;
  try {
    text = (await answer.json()).detail ?? text;
  } catch {
    // not an answer of the service, but of something between
  }
  throw new Problem(answer.status, text);
}

export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  return (await ask(url, signal ? { signal } : {})).json();
}

/** Asks again while the service is still at work. */
/** How far longer work of the service is; without a stage it waits for other work. */
export interface Progress {
  stage?: string;
  done?: number;
  total?: number | null;
}

export async function getWhenDone<T>(url: string, signal: AbortSignal, told?: (at: Progress) => void): Promise<T> {
  for (;;) {
    const answer = await ask(url, { signal });
    if (answer.status !== 202) return answer.json();
    const at: Progress = await answer.json();
    signal.throwIfAborted();
    told?.(at);
    await new Promise((resolve) => setTimeout(resolve, 400));
    signal.throwIfAborted();
  }
}

export async function post<T>(url: string, body: BodyInit, type: string, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method: "POST", body, headers: { "Content-Type": type } };
  const answer = await ask(url, signal ? { ...init, signal } : init);
  return answer.status === 204 ? (undefined as T) : answer.json();
}

/** Trades the token in the address for a cookie, and clears it. */
export async function login(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  await post(`${root}/v1/session`, JSON.stringify({ token }), "application/json");
}
