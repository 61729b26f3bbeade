// Every state of the page is its address: the path says which screen, the parameters what is asked and shown.

import { useEffect, useState } from "preact/hooks";
import { type Progress, root } from "./api";

export const SCREENS = ["search", "map", "duplicates", "releases", "unreadable", "feedback", "docs"] as const;
export type Screen = (typeof SCREENS)[number];

export interface Place {
  collection: string;
  screen: Screen;
  parameters: URLSearchParams;
}

export function placeOf(url: URL): Place {
  const parts = url.pathname.slice(root.length).split("/").filter(Boolean);
  const collection = parts[0] === "c" ? decodeURIComponent(parts[1] ?? "") : "";
  const screen = SCREENS.find((one) => one === parts[2]) ?? "search";
  return { collection, screen, parameters: url.searchParams };
}

export function address(collection: string, screen: Screen = "search", parameters?: URLSearchParams): string {
  const below = screen === "search" ? "" : `/${screen}`;
  const text = parameters?.toString();
  return `${root}/c/${encodeURIComponent(collection)}${below}${text ? `?${text}` : ""}`;
}

const listeners = new Set<() => void>();

/** Goes to another address of the page. */
export function go(url: string, { replace = false }: { replace?: boolean } = {}): void {
  if (url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  listeners.forEach((listener) => listener());
}

/** Changes some parameters of the present address; null takes one away. */
export function change(changes: Record<string, string | string[] | null>, options?: { replace?: boolean }): void {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    parameters.delete(name);
    for (const one of Array.isArray(value) ? value : value === null ? [] : [value]) parameters.append(name, one);
  }
  const text = parameters.toString();
  go(location.pathname + (text ? `?${text}` : ""), options);
}

export function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(new URL(location.href)));
  useEffect(() => {
    const update = () => setPlace(placeOf(new URL(location.href)));
    listeners.add(update);
    addEventListener("popstate", update);
    return () => {
      listeners.delete(update);
      removeEventListener("popstate", update);
    };
  }, []);
  return place;
}

/** Lets links within the page change its address without loading it anew. */
export function followLinks(event: MouseEvent): void {
  const link = (event.target as Element).closest?.("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!link.pathname.startsWith(`${root}/c/`)) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

export interface Loaded<T> {
  value: T | undefined;
  error: Error | undefined;
  loading: boolean;
  /** How far the service is, where it says so. */
  at?: Progress;
}

type Load<T> = (signal: AbortSignal, told: (at: Progress) => void) => Promise<T>;

/** Loads something whenever what it depends on changes; the old value stays until the new one is there. */
export function useLoaded<T>(load: Load<T> | null, depends: unknown[]): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ value: undefined, error: undefined, loading: !!load });
  useEffect(() => {
    if (!load) {
      setState({ value: undefined, error: undefined, loading: false });
      return;
    }
    const controller = new AbortController();
    setState(({ value }) => ({ value, error: undefined, loading: true }));
    const told = (at: Progress) => setState((old) => ({ ...old, at }));
    load(controller.signal, told).then(
      (value) => controller.signal.aborted || setState({ value, error: undefined, loading: false }),
      (error) => controller.signal.aborted || setState({ value: undefined, error, loading: false }),
    );
    return () => controller.abort();
  }, depends);
  return state;
}
