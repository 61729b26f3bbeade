// The points of a map: numbers and classes of all rows, in typed arrays, and the rows behind some of them.

import { get, path, query, type Facts, type Item } from "../api";

export interface MapClass {
  index: number;
  label: string | null;
  colour: string;
  count: number;
}

export interface MapFacts {
  release: string;
  rows: number;
  side: number;
  chunk: number;
  chunks: number;
  landmarks: number;
  classes: MapClass[];
  regions: MapRegion[];
}

/** A part of the map with a name. */
export interface MapRegion {
  name: string;
  x: number;
  y: number;
  count: number;
}

export interface MapRow {
  point: number;
  x: number;
  y: number;
  item: Item;
}

/** All points of a map; those below `loaded` are there. */
export class Points {
  readonly x: Uint16Array;
  readonly y: Uint16Array;
  readonly classes: Uint8Array;
  loaded = 0;

  constructor(readonly rows: number) {
    this.x = new Uint16Array(rows);
    this.y = new Uint16Array(rows);
    this.classes = new Uint8Array(rows);
  }

  /** Adds the next chunk: all x, all y, all classes. */
  add(bytes: ArrayBuffer): void {
    const count = bytes.byteLength / 5;
    this.x.set(new Uint16Array(bytes, 0, count), this.loaded);
    this.y.set(new Uint16Array(bytes, 2 * count, count), this.loaded);
    this.classes.set(new Uint8Array(bytes, 4 * count, count), this.loaded);
    this.loaded += count;
  }
}

const AHEAD = 3;

/** Asks for one chunk of points. */
export async function chunkOf(facts: Facts, chunk: number, signal: AbortSignal): Promise<ArrayBuffer> {
  const url = path(facts.name, `/map/points${query({ chunk, release: facts.release.slice(0, 16) })}`);
  const answer = await fetch(url, { credentials: "same-origin", signal });
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.arrayBuffer();
}

/** Loads all points chunk by chunk; rows are shuffled, so the first chunk is a fair picture of all. */
export async function loadPoints(
  facts: Facts,
  map: MapFacts,
  points: Points,
  first: Promise<ArrayBuffer>,
  signal: AbortSignal,
  grown: () => void,
) {
  const asked = [first];
  for (let chunk = 0; chunk < map.chunks; chunk++) {
    // The first one alone, so that nothing shares its way.
    while (chunk && asked.length < map.chunks && asked.length < chunk + AHEAD) {
      const next = chunkOf(facts, asked.length, signal);
      next.catch(() => undefined); // told where it is waited for
      asked.push(next);
    }
    points.add(await asked[chunk]!);
    grown();
  }
}

const MOST_KEPT = 5000;
const AT_ONCE = 150;

/** Asks for the rows behind points, and remembers them. */
export class Rows {
  readonly known = new Map<number, MapRow>();

  constructor(readonly facts: Facts) {}

  async of(points: number[], signal: AbortSignal): Promise<MapRow[]> {
    const missing = points.filter((one) => !this.known.has(one));
    if (this.known.size > MOST_KEPT) this.known.clear();
    for (let start = 0; start < missing.length; start += AT_ONCE) {
      await this.ask({ point: missing.slice(start, start + AT_ONCE).map(String) }, signal);
    }
    return points.flatMap((one) => this.known.get(one) ?? []);
  }

  async named(ids: number[], signal: AbortSignal): Promise<MapRow[]> {
    return ids.length ? this.ask({ id: ids.map(String) }, signal) : [];
  }

  private async ask(what: Record<string, string[]>, signal: AbortSignal): Promise<MapRow[]> {
    const { facts } = this;
    const columns = facts.pictures || !Object.keys(facts.columns).length ? [] : ["*"];
    const url = path(facts.name, `/map/at${query({ ...what, columns, release: facts.release.slice(0, 16) })}`);
    const { rows } = await get<{ rows: MapRow[] }>(url, signal);
    rows.forEach((one) => this.known.set(one.point, one));
    return rows;
  }
}

export type Polygon = [number, number][];

/** Returns which points lie in a polygon; points of hidden classes do not count. */
export function inside(points: Points, polygon: Polygon, hidden: Set<number>): number[] {
  const xs = polygon.map(([x]) => x);
  const ys = polygon.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found: number[] = [];
  for (let i = 0; i < points.loaded; i++) {
    const x = points.x[i]!;
    const y = points.y[i]!;
    if (x < left || x > right || y < top || y > bottom || hidden.has(points.classes[i]!)) continue;
    let within = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      if (ys[a]! > y !== ys[b]! > y && x < ((xs[b]! - xs[a]!) * (y - ys[a]!)) / (ys[b]! - ys[a]!) + xs[a]!) within = !within;
    }
    if (within) found.push(i);
  }
  return found;
}
