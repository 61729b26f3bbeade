// The search: the field, filters, and the grid of hits with an honest end.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, path, Problem, query, thumb, type Answer, type Facts, type Hit, type Item, type ItemList } from "../api";
import { milliseconds, t } from "../i18n";
import { ask, ASKED, askFile, question, uploadOf } from "../parts/asking";
import { Bar } from "../parts/bar";
import { CropDialog } from "../parts/crop";
import { Filters } from "../parts/filters";
import { isTyping } from "../parts/help";
import { Icon } from "../parts/icons";
import { ItemDialog } from "../parts/item";
import { Programs } from "../parts/programs";
import { Tile } from "../parts/tile";
import { change, type Place, useLoaded } from "../state";

const EXAMPLES = 12;

export function SearchScreen({ facts, place }: { facts: Facts; place: Place }) {
  const asked = question(place.parameters);
  const [crop, setCrop] = useState<{ source: string; id: number | null } | null>(null);
  const [shown, setShown] = useState<(Item | Hit)[]>([]);
  const open = place.parameters.get("item");
  const upload = asked?.[0] === "code" ? uploadOf(asked[1]) : undefined;
  const pictures = facts.pictures && facts.kind === "images";

  const cropOf = (id: number) => setCrop({ source: thumb(facts.name, id, 448, facts.release), id });
  const cropAsked = () => {
    if (upload?.preview) setCrop({ source: upload.preview, id: null });
    else if (asked?.[0] === "id") cropOf(Number(asked[1]));
  };
  const canCrop = pictures && (upload?.preview || asked?.[0] === "id");
  const done = (box: number[]) => {
    const text = box.map((one) => one.toFixed(4)).join(",");
    const clear = Object.fromEntries([...ASKED, "item"].map((one) => [one, null]));
    if (crop?.id !== null && crop) change({ ...clear, id: String(crop.id), crop: text });
    else if (upload) askFile(facts, upload.file, t("part_of", { what: upload.name }), box).catch(() => undefined);
    setCrop(null);
  };
  return (
    <>
      <Bar facts={facts} place={place} onCrop={canCrop ? cropAsked : null} />
      <main id="content" class={asked ? "search" : "search start"}>
        {asked ? (
          <>
            <h1 class="unseen">{facts.name}</h1>
            <FilterSheet facts={facts} parameters={place.parameters} />
            <Hits facts={facts} place={place} onShown={setShown} />
          </>
        ) : (
          <Start facts={facts} onShown={setShown} />
        )}
      </main>
      {open !== null && /^\d+$/.test(open) && !crop && (
        <ItemDialog
          facts={facts}
          id={Number(open)}
          around={shown}
          asked={asked && asked[0] !== "text" && asked[0] !== "row" && asked[0] !== "vector" ? asked[1] : null}
          onCrop={pictures ? cropOf : null}
        />
      )}
      {crop && (
        <CropDialog
          source={crop.source}
          start={crop.id !== null && asked?.[1] === String(crop.id) ? place.parameters.get("crop") : null}
          onDone={done}
          onClose={() => setCrop(null)}
        />
      )}
    </>
  );
}

/** Filters beside the grid; on a phone they come from below. */
function FilterSheet({ facts, parameters }: { facts: Facts; parameters: URLSearchParams }) {
  const [open, setOpen] = useState(false);
  return (
    <div class={`sheet ${open ? "open" : ""}`}>
      <button class="sheet-turn" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name="filter" /> {t("filters")}
      </button>
      <Filters facts={facts} parameters={parameters} />
    </div>
  );
}

interface Found {
  answer: Answer;
  rows: number;
  took: number;
}

function Hits({ facts, place, onShown }: { facts: Facts; place: Place; onShown: (hits: Hit[]) => void }) {
  const asked = new URLSearchParams(place.parameters);
  asked.delete("item");
  const text = asked.toString();
  const [more, setMore] = useState<{ of: Found | undefined; hits: Hit[]; next: string | null }>();
  const [loading, setLoading] = useState(false);
  const end = useRef<HTMLButtonElement>(null);
  const first = useLoaded<Found>(
    async (signal) => {
      const found = await ask(facts, asked, null, signal);
      return { answer: found.answers[0]!, rows: found.rows, took: found.took_ms };
    },
    [facts.release, text],
  );

  // Further pages belong to the answer that they go on from.
  const own = more?.of === first.value ? more : undefined;
  const answered = first.value?.answer;
  const hits = useMemo(() => [...(answered?.hits ?? []), ...(own?.hits ?? [])], [answered, own]);
  const next = own ? own.next : (answered?.next ?? null);
  useEffect(() => onShown(hits), [hits]);

  const goOn = async () => {
    if (!next || loading) return;
    setLoading(true);
    const before = own?.hits ?? [];
    try {
      const found = (await ask(facts, asked, next, new AbortController().signal)).answers[0]!;
      setMore({ of: first.value, hits: [...before, ...found.hits], next: found.next });
    } catch {
      setMore({ of: first.value, hits: before, next: null });
    } finally {
      setLoading(false);
    }
  };
  useEffect(() => {
    // The button fires by itself when it is seen, but not for ever: the foot of the page stays in reach.
    if (!end.current || hits.length > 240) return;
    const watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && hits.length >= 60 && goOn());
    watcher.observe(end.current);
    return () => watcher.disconnect();
  }, [next, hits, loading]);

  if (first.error) {
    const words = first.error instanceof Problem ? first.error.message : t("offline");
    return (
      <section class="hits">
        <p class="notice" role="alert">
          {t("failed", { text: words })}
        </p>
      </section>
    );
  }
  const found = first.value;
  return (
    <section class={`hits ${first.loading ? "loading" : ""}`} aria-busy={first.loading}>
      <p class="summary" aria-live="polite">
        {found && summary(found, hits.length, place.parameters)}
      </p>
      {found && found.answer.understood.length > 0 && (
        <p class="told">{t("understood", { words: found.answer.understood.join(", ") })}</p>
      )}
      {found?.answer.strange && <p class="notice strange">{found.answer.strange}</p>}
      <Grid facts={facts} items={hits} />
      {found && (
        <div class="end">
          {next ? (
            <button ref={end} onClick={goOn} disabled={loading}>
              {t("more")}
            </button>
          ) : (
            <span class="told">{hits.length ? t("all_shown") : t("nothing")}</span>
          )}
        </div>
      )}
      {found && <Programs facts={facts} parameters={asked} />}
    </section>
  );
}

function summary(found: Found, shown: number, parameters: URLSearchParams): string {
  const time = milliseconds(found.took);
  const { total } = found.answer;
  const radius = parameters.get("radius");
  if (radius !== null && total !== null) return t("within", { n: shown, total, radius, time });
  if (total !== null) return t("nearest_filtered", { n: shown, total, time });
  return t("nearest", { n: shown, rows: found.rows, time });
}

/** A grid of items; arrows move through it, and a line says where hits become unlikely. */
export function Grid({ facts, items }: { facts: Facts; items: (Item | Hit)[] }) {
  const grid = useRef<HTMLDivElement>(null);
  const turn = items.findIndex((one) => "confidence" in one && typeof one.confidence === "number" && one.confidence < 0.5);
  const press = (event: KeyboardEvent) => {
    const tiles = [...(grid.current?.querySelectorAll<HTMLElement>(".tile") ?? [])];
    const now = tiles.indexOf(document.activeElement as HTMLElement);
    if (now < 0 || isTyping(event)) return;
    const top = tiles[0]!.offsetTop;
    const wide = Math.max(1, tiles.filter((one) => one.offsetTop === top).length);
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide };
    const to = tiles[now + (steps[event.key] ?? NaN)];
    if (event.key === "l") change({ ...cleared(), id: tiles[now]!.dataset.id ?? null });
    if (!to) return;
    event.preventDefault();
    to.focus();
  };
  return (
    <div ref={grid} class={`grid ${facts.pictures ? "pictures" : "texts"}`} onKeyDown={press}>
      {items.map((item, place) => (
        <>
          {place === turn && <p class="turn-line">{t(facts.labels.length ? "unlikely" : "unlikely_near")}</p>}
          <Tile key={item.id} facts={facts} item={item} href={itemAddress(item.id)} />
        </>
      ))}
    </div>
  );
}

const cleared = () => Object.fromEntries([...ASKED, "crop", "item"].map((one) => [one, null]));

function itemAddress(id: number): string {
  const parameters = new URLSearchParams(location.search);
  parameters.set("item", String(id));
  return `${location.pathname}?${parameters}`;
}

function Start({ facts, onShown }: { facts: Facts; onShown: (items: Item[]) => void }) {
  const [seed, setSeed] = useState(1);
  const given = useMemo(() => query({ order: "random", seed, limit: EXAMPLES }), [seed]);
  const found = useLoaded((signal) => get<ItemList>(path(facts.name, `/items${given}`), signal), [given]);
  useEffect(() => onShown(found.value?.items ?? []), [found.value]);
  return (
    <section class="hits">
      <h1>{t("start")}</h1>
      <p class="summary">
        {t("start_text", { rows: facts.rows })}{" "}
        <button class="quiet" onClick={() => setSeed(seed + 1)}>
          {t("others_sample")}
        </button>
      </p>
      <Grid facts={facts} items={found.value?.items ?? []} />
    </section>
  );
}

