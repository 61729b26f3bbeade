// The map: all rows on a plane, classes to show or hide, the question's hits lit, and a part of it as a list.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, path, query, thumb, type Facts, type Item } from "../api";
import { number, t } from "../i18n";
import { ask, question } from "../parts/asking";
import { Icon } from "../parts/icons";
import { ItemDialog } from "../parts/item";
import { MOST_PICTURES, Plane, type View } from "../parts/plane";
import { chunkOf, inside, loadPoints, Points, Rows, type MapClass, type MapFacts, type MapRow, type Polygon } from "../parts/points";
import { Face } from "../parts/tile";
import { address, change, type Place, useLoaded } from "../state";
import { Grid } from "./search";

const LISTED = 60;
const IN_TABLE = 30;
const IN_LEGEND = 20;
const HOVER = 60;

export function MapScreen({ facts, place }: { facts: Facts; place: Place }) {
  const release = facts.release.slice(0, 16);
  const map = useLoaded(
    facts.map ? (signal) => get<MapFacts>(path(facts.name, `/map${query({ release })}`), signal) : null,
    [facts.release],
  );
  const first = useFirst(facts);
  return (
    <main id="content" class="page">
      <h1>{t("map")}</h1>
      {!facts.map && (
        <>
          <p class="notice">{t("map_none")}</p>
          <pre tabIndex={0}>aepipe map --name {facts.name}</pre>
        </>
      )}
      {map.error && (
        <p class="notice" role="alert">
          {t("failed", { text: map.error.message })}
        </p>
      )}
      {map.value && first && <Whole facts={facts} map={map.value} first={first} place={place} />}
    </main>
  );
}

/** The first chunk of points, asked for beside what the map shows, and not after it. */
function useFirst(facts: Facts): Promise<ArrayBuffer> | null {
  const [first, setFirst] = useState<Promise<ArrayBuffer> | null>(null);
  useEffect(() => {
    if (!facts.map) return;
    const controller = new AbortController();
    const asked = chunkOf(facts, 0, controller.signal);
    asked.catch(() => undefined); // told where it is waited for
    setFirst(asked);
    return () => controller.abort();
  }, [facts.release]);
  return first;
}

interface Over {
  point: number;
  x: number;
  y: number;
  left: boolean;
  up: boolean;
}

interface Seen {
  count: number;
  some: number[];
}

interface Shown {
  facts: Facts;
  map: MapFacts;
  first: Promise<ArrayBuffer>;
  place: Place;
}

function Whole({ facts, map, first, place }: Shown) {
  const { parameters } = place;
  const canvas = useRef<HTMLCanvasElement>(null);
  const plane = useRef<Plane | null>(null);
  const points = useMemo(() => new Points(map.rows), [map]);
  const rows = useMemo(() => new Rows(facts), [map]);
  const [loaded, setLoaded] = useState(0);
  const [failed, setFailed] = useState("");
  const [seen, setSeen] = useState<Seen | null>(null);
  const [over, setOver] = useState<Over | null>(null);
  const [marking, setMarking] = useState(false);
  const [around, setAround] = useState<Item[]>([]);
  const wrote = useRef<string | null>(parameters.get("at"));
  const hide = parameters.get("hide") ?? "";
  const hidden = useMemo(() => new Set(hide ? hide.split("-").map(Number) : []), [hide]);
  const areaText = parameters.get("area");
  const area = useMemo(() => polygonOf(areaText), [areaText]);
  const lit = useHits(facts, parameters, rows);

  useEffect(() => {
    const made = new Plane(canvas.current!, points, map.side, map.classes, map.regions, {
      moved: (view, count, some) => {
        setSeen({ count, some });
        const text = textOf(view);
        if (text === (wrote.current ?? textOf(made.whole))) return;
        wrote.current = text === textOf(made.whole) ? null : text;
        change({ at: wrote.current }, { replace: true });
      },
      pointed: (point, x, y) => {
        const { clientWidth, clientHeight } = canvas.current!;
        setOver(point === null ? null : { point, x, y, left: x > clientWidth / 2, up: y > clientHeight / 2 });
      },
      chosen: (point) => {
        rows.of([point], new AbortController().signal).then(([one]) => one && change({ item: String(one.item.id) }), () => undefined);
      },
      marked: (polygon) => {
        setMarking(false);
        change({ area: polygon.length ? areaOf(polygon, map.side) : null });
      },
    });
    plane.current = made;
    const start = viewOf(parameters.get("at"));
    if (start) made.go(start);
    const controller = new AbortController();
    const grown = () => {
      setLoaded(points.loaded);
      made.draw();
    };
    loadPoints(facts, map, points, first, controller.signal, grown).catch((error) => controller.signal.aborted || setFailed(error.message));
    return () => {
      controller.abort();
      made.close();
    };
  }, [points]);

  const at = parameters.get("at");
  useEffect(() => {
    // The address was changed by going back, and not by moving.
    if (!plane.current || at === wrote.current) return;
    wrote.current = at;
    plane.current.go(viewOf(at) ?? plane.current.whole);
  }, [at]);
  useEffect(() => plane.current?.hide(hidden), [hidden]);
  useEffect(() => {
    if (!plane.current) return;
    Object.assign(plane.current, { lit, area, marking });
    plane.current.draw();
  }, [lit, area, marking]);
  usePictures(facts, plane.current, seen, rows);

  const open = parameters.get("item");
  const asked = question(parameters);
  const known = asked && asked[0] !== "text" && asked[0] !== "row" && asked[0] !== "vector" ? asked[1] : null;
  const turn = (index: number) => {
    const next = new Set(hidden);
    if (!next.delete(index)) next.add(index);
    change({ hide: next.size ? [...next].sort((a, b) => a - b).join("-") : null }, { replace: true });
  };
  return (
    <>
      <p class="summary" aria-live="polite">
        {loaded < map.rows || !seen
          ? t("map_loading", { n: loaded, rows: map.rows })
          : t("in_view", { n: seen.count, rows: map.rows })}
        {lit.length > 0 && ` · ${t("map_lit", { n: lit.length })} `}
        {asked && (
          <a href={address(facts.name, "search", only(parameters))}>{t("as_list")}</a>
        )}
      </p>
      {failed && (
        <p class="notice" role="alert">
          {t("failed", { text: failed })}
        </p>
      )}
      <div class="map">
        <div class={`stage ${marking ? "marking" : ""}`}>
          <canvas ref={canvas} tabIndex={0} role="application" aria-label={t("map_about")} aria-describedby="map-keys" />
          <p id="map-keys" class="unseen">
            {t("map_keys")}
          </p>
          <div class="over">
            <button class="icon" title={t("zoom_in")} aria-label={t("zoom_in")} onClick={() => plane.current?.zoom(1.8)}>
              <Icon name="plus" />
            </button>
            <button class="icon" title={t("zoom_out")} aria-label={t("zoom_out")} onClick={() => plane.current?.zoom(1 / 1.8)}>
              <Icon name="minus" />
            </button>
            <button
              class="icon"
              title={t("whole")}
              aria-label={t("whole")}
              onClick={() => plane.current?.go(plane.current.whole)}
            >
              <Icon name="whole" />
            </button>
            <button
              class="icon"
              title={t("mark_area")}
              aria-label={t("mark_area")}
              aria-pressed={marking}
              onClick={() => setMarking(!marking)}
            >
              <Icon name="lasso" />
            </button>
          </div>
          {over && <HoverCard key={over.point} facts={facts} rows={rows} over={over} />}
        </div>
        <Legend classes={map.classes} hidden={hidden} turn={turn} />
      </div>
      {area && <Marked facts={facts} points={points} rows={rows} area={area} hidden={hidden} loaded={loaded} onShown={setAround} />}
      {seen && <InView facts={facts} rows={rows} seen={seen} />}
      {open !== null && /^\d+$/.test(open) && (
        <ItemDialog facts={facts} id={Number(open)} around={area ? around : lit.map((one) => one.item)} asked={known} onCrop={null} />
      )}
    </>
  );
}

/** The parameters that ask, without those of the map. */
function only(parameters: URLSearchParams): URLSearchParams {
  const found = new URLSearchParams(parameters);
  for (const name of ["at", "hide", "area", "item"]) found.delete(name);
  return found;
}

const textOf = ({ x, y, zoom }: View): string => `${Math.round(x)}-${Math.round(y)}-${zoom.toFixed(2)}`;

function viewOf(text: string | null): View | null {
  const [x, y, zoom] = (text ?? "").split("-").map(Number);
  return x !== undefined && y !== undefined && zoom && Number.isFinite(x + y + zoom) ? { x, y, zoom } : null;
}

function areaOf(polygon: Polygon, side: number): string {
  const within = (one: number) => Math.round(Math.min(side, Math.max(0, one)));
  return polygon.map((one) => one.map(within).join("-")).join("_");
}

function polygonOf(text: string | null): Polygon | null {
  const found = (text ?? "").split("_").map((one) => one.split("-").map(Number));
  const sound = found.length > 2 && found.every((one) => one.length === 2 && one.every(Number.isFinite));
  return sound ? (found as Polygon) : null;
}

const NONE: MapRow[] = [];

/** The hits of the present question, with their places. */
function useHits(facts: Facts, parameters: URLSearchParams, rows: Rows): MapRow[] {
  const asked = question(parameters);
  const text = asked ? String(only(parameters)) : "";
  const found = useLoaded(
    asked
      ? async (signal) => {
          const { hits } = (await ask(facts, new URLSearchParams(text), null, signal)).answers[0]!;
          return rows.named(hits.map((one) => one.id), signal);
        }
      : null,
    [text, rows],
  );
  return asked ? (found.value ?? NONE) : NONE;
}

/** Lets the plane draw small pictures of what is in view. */
function usePictures(facts: Facts, plane: Plane | null, seen: Seen | null, rows: Rows): void {
  useEffect(() => {
    if (!facts.pictures || !plane || !seen || seen.count >= MOST_PICTURES || !seen.some.length) return;
    const controller = new AbortController();
    rows.of(seen.some, controller.signal).then(
      (found) => {
        for (const { point, item } of found) {
          if (plane.pictures.has(point)) continue;
          const image = new Image();
          image.onload = () => plane.draw();
          image.src = thumb(facts.name, item.id, 112, facts.release);
          plane.pictures.set(point, image);
        }
      },
      () => undefined,
    );
    return () => controller.abort();
  }, [plane, seen?.some.join()]);
}

function HoverCard({ facts, rows, over }: { facts: Facts; rows: Rows; over: Over }) {
  const found = useLoaded(
    async (signal) => {
      await new Promise((resolve) => setTimeout(resolve, rows.known.has(over.point) ? 0 : HOVER));
      signal.throwIfAborted();
      return (await rows.of([over.point], signal))[0];
    },
    [over.point],
  );
  if (!found.value) return null;
  const { item } = found.value;
  const style = { left: `${over.x + 14}px`, top: `${over.y + 14}px` };
  return (
    <div class={`hover ${over.left ? "left" : ""} ${over.up ? "up" : ""}`} style={style} aria-hidden="true">
      <Face facts={facts} item={item} release={facts.release} size={112} />
      <bdi>{item.label ?? item.key}</bdi>
    </div>
  );
}

function Legend({ classes, hidden, turn }: { classes: MapClass[]; hidden: Set<number>; turn: (index: number) => void }) {
  const [all, setAll] = useState(false);
  return (
    <section class="legend" aria-label={t("labels")}>
      <ul>
        {(all ? classes : classes.slice(0, IN_LEGEND)).map((one) => (
          <li key={one.index}>
            <button aria-pressed={!hidden.has(one.index)} onClick={() => turn(one.index)}>
              <i style={{ background: one.colour }} />
              <bdi>{one.label ?? t(one.index === 255 ? "other_labels" : "no_label")}</bdi>
              <span class="count">{number(one.count)}</span>
            </button>
          </li>
        ))}
      </ul>
      {classes.length > IN_LEGEND && !all && (
        <button class="quiet" onClick={() => setAll(true)}>
          {t("show_all", { n: classes.length })}
        </button>
      )}
      {hidden.size > 0 && (
        <button class="quiet" onClick={() => change({ hide: null }, { replace: true })}>
          {t("show_classes")}
        </button>
      )}
    </section>
  );
}

/** What lies in the marked part of the map, as a list. */
function Marked({
  facts,
  points,
  rows,
  area,
  hidden,
  loaded,
  onShown,
}: {
  facts: Facts;
  points: Points;
  rows: Rows;
  area: Polygon;
  hidden: Set<number>;
  loaded: number;
  onShown: (items: Item[]) => void;
}) {
  const [most, setMost] = useState(LISTED);
  const found = useMemo(() => inside(points, area, hidden), [area, hidden, loaded]);
  const listed = found.slice(0, most);
  const shown = useLoaded((signal) => rows.of(listed, signal), [listed.join()]);
  const items = (shown.value ?? []).map((one) => one.item);
  useEffect(() => onShown(items), [shown.value]);
  return (
    <section class="marked">
      <h2>
        {t("in_area", { n: found.length })}{" "}
        <button class="quiet" onClick={() => change({ area: null })}>
          {t("clear")}
        </button>
      </h2>
      <Grid facts={facts} items={items} />
      {found.length > most && (
        <div class="end">
          <button onClick={() => setMost(most + LISTED)}>{t("more")}</button>
        </div>
      )}
    </section>
  );
}

/** Some of what is in view, for those who do not see the map: rows are shuffled, so these are a fair sample. */
function InView({ facts, rows, seen }: { facts: Facts; rows: Rows; seen: Seen }) {
  const [open, setOpen] = useState(false);
  const listed = seen.some.slice(0, IN_TABLE);
  const shown = useLoaded(open ? (signal) => rows.of(listed, signal) : null, [open, listed.join()]);
  return (
    <details class="programs" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("view_table", { n: listed.length, count: seen.count })}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">{t("key")}</th>
            <th scope="col">{t("label")}</th>
          </tr>
        </thead>
        <tbody>
          {(shown.value ?? []).map(({ item }) => (
            <tr key={item.id}>
              <td>
                <a href={withItem(facts, item.id)}>
                  <bdi>{item.key}</bdi>
                </a>
              </td>
              <td>
                <bdi>{item.label ?? ""}</bdi>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function withItem(facts: Facts, id: number): string {
  const parameters = new URLSearchParams(location.search);
  parameters.set("item", String(id));
  return address(facts.name, "map", parameters);
}
