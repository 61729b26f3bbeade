// One item, large, over the grid: its columns, what can be done with it, and why it is a hit.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, original, path, post, query, type Explanation, type Facts, type Hit, type Item } from "../api";
import { decimal, percent, t } from "../i18n";
import { address, change, placeOf, useLoaded } from "../state";
import { ASKED, question, typeOf, uploadOf } from "./asking";
import { isTyping } from "./help";
import { Icon } from "./icons";
import { bits, Face } from "./tile";

export function ItemDialog({
  facts,
  id,
  around,
  asked,
  onCrop,
}: {
  facts: Facts;
  id: number;
  around: (Item | Hit)[];
  asked: string | null;
  onCrop: ((id: number) => void) | null;
}) {
  const box = useRef<HTMLDialogElement>(null);
  const [copied, setCopied] = useState(false);
  const release = facts.release.slice(0, 16);
  const item = useLoaded((signal) => get<Item>(path(facts.name, `/items/${id}${query({ release })}`), signal), [id]);
  const place = around.findIndex((one) => one.id === id);
  const hit = around[place];
  const show = (step: number) => {
    const next = around[place + step];
    if (place >= 0 && next) change({ item: String(next.id) }, { replace: true });
  };
  const isMap = placeOf(new URL(location.href)).screen === "map";
  const close = () => change({ item: null });
  const like = () =>
    change({ ...Object.fromEntries([...ASKED, "crop", "item"].map((one) => [one, null])), id: String(id) });

  useEffect(() => {
    if (!box.current?.open) box.current?.showModal();
  }, []);
  useEffect(() => {
    setCopied(false);
    const press = (event: KeyboardEvent) => {
      if (isTyping(event)) return;
      if (event.key === "ArrowLeft") show(-1);
      if (event.key === "ArrowRight") show(1);
      if (event.key === "l") like();
      if (event.key === "c") onCrop?.(id);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [id, around]);

  const shown = item.value ?? hit;
  return (
    <dialog ref={box} class="item" aria-label={shown?.key ?? ""} onClose={close} onClick={(event) => event.target === box.current && box.current?.close()}>
      {shown && (
        <div class="card">
          <figure>
            <Face key={id} facts={facts} item={shown} release={facts.release} size={448} />
            {facts.originals && facts.kind === "audio" && <audio controls src={original(facts.name, id, facts.release)} />}
            {facts.originals && facts.kind === "video" && <video controls src={original(facts.name, id, facts.release)} />}
            {place > 0 && (
              <button class="icon turn left" aria-label={t("previous")} onClick={() => show(-1)}>
                <Icon name="left" />
              </button>
            )}
            {place >= 0 && place < around.length - 1 && (
              <button class="icon turn right" aria-label={t("next")} onClick={() => show(1)}>
                <Icon name="right" />
              </button>
            )}
          </figure>
          <div class="about">
            <h2>
              <bdi>{shown.label ?? shown.key}</bdi>
            </h2>
            <div class="actions">
              <button class="main" onClick={like}>
                <Icon name="like" /> {t("like_this")}
              </button>
              {onCrop && (
                <button onClick={() => onCrop(id)}>
                  <Icon name="crop" /> {t("crop")}
                </button>
              )}
              {facts.map && !isMap && (
                <a class="button" href={address(facts.name, "map", new URLSearchParams({ id: String(id) }))}>
                  <Icon name="map" /> {t("show_on_map")}
                </a>
              )}
              <button onClick={() => copy(location.href).then(setCopied)}>
                <Icon name="link" /> {copied ? t("copied") : t("copy_link")}
              </button>
              {facts.originals && (
                <a class="button" href={original(facts.name, id, facts.release)} download>
                  {t("download")}
                </a>
              )}
            </div>
            {facts.write && asked !== null && hit && item.value && (
              <Marks key={id} facts={facts} hit={item.value.key} asked={asked} />
            )}
            <Lines item={item.value ?? shown} />
            {asked !== null && <Why facts={facts} a={asked} b={String(id)} />}
          </div>
        </div>
      )}
      <button class="icon corner" aria-label={t("close")} onClick={() => box.current?.close()}>
        <Icon name="close" />
      </button>
    </dialog>
  );
}

/** Bytes of a file that the service keeps with a mark. */
const MOST_KEPT = 8 << 20;

/** Good or bad: a test that every later release is asked. */
function Marks({ facts, hit, asked }: { facts: Facts; hit: string; asked: string }) {
  const [given, setGiven] = useState<"good" | "bad" | null>(null);
  const [error, setError] = useState("");
  const [name, value] = question(new URLSearchParams(location.search)) ?? ["code", asked];
  const sent = name === "code" ? uploadOf(value) : undefined;
  const upload = sent && sent.file.size <= MOST_KEPT ? sent : undefined;
  const mark = async (verdict: "good" | "bad") => {
    try {
      if (upload) {
        const given = query({ hit, verdict, name: upload.name, crop: upload.crop?.map((one) => one.toFixed(4)).join(",") });
        await post(path(facts.name, `/feedback${given}`), upload.file, typeOf(upload.file));
      } else {
        const key = name === "id" ? (await get<Item>(path(facts.name, `/items/${value}`))).key : value;
        const body = { hit, verdict, ...(name === "code" ? { code: value } : { key }) };
        await post(path(facts.name, "/feedback"), JSON.stringify(body), "application/json");
      }
      setGiven(verdict);
    } catch (problem) {
      setError((problem as Error).message);
    }
  };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (!isTyping(event) && event.key === "g") mark("good");
      if (!isTyping(event) && event.key === "b") mark("bad");
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [hit, asked]);
  return (
    <div class="verdicts" role="group" aria-label={t("feedback")}>
      <span class="told">{t("is_good")}</span>
      <span class="pair">
        {(["good", "bad"] as const).map((one) => (
          <button key={one} aria-pressed={given === one} onClick={() => mark(one)}>
            {t(one)}
          </button>
        ))}
      </span>
      {upload && <span class="told">{t("mark_keeps")}</span>}
      {error && <span class="told">{t("failed", { text: error })}</span>}
    </div>
  );
}

export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    prompt(t("copy"), text); // over plain HTTP on a network there is no clipboard
    return false;
  }
}

function Lines({ item }: { item: Item | Hit }) {
  const own = Object.entries(item.columns).filter(([, value]) => value !== null && value !== "");
  const fixed: [string, string | null | undefined][] = [
    [t("key"), item.key],
    [t("label"), item.labels.join(", ")],
    [t("split"), item.split],
    [t("id"), String(item.id)],
    [t("code"), "code" in item ? item.code : null],
  ];
  return (
    <dl class="lines">
      {[...fixed, ...own].map(([name, value]) =>
        value ? (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <bdi>{value}</bdi>
            </dd>
          </div>
        ) : null,
      )}
    </dl>
  );
}

/** The bits of both codes in a strip, those that differ marked. */
function Why({ facts, a, b }: { facts: Facts; a: string; b: string }) {
  const found = useLoaded(
    (signal) => get<Explanation>(path(facts.name, `/explain${query({ a, b, release: facts.release.slice(0, 16) })}`), signal),
    [a, b],
  );
  const [told, setTold] = useState("");
  const why = found.value;
  if (!why) return null;
  const measures = [
    bits(why.distance),
    why.confidence !== null && `${t("confidence")} ${percent(why.confidence)}`,
    why.cosine !== null && `${t("cosine")} ${decimal(why.cosine)}`,
  ].filter(Boolean);
  const text = (place: number) => {
    const one = why.bits[place]!;
    const values = { n: place + 1, value: one.a, share: percent(one.share) };
    return one.a === one.b ? t("bit_same", values) : t("bit_differs", values);
  };
  return (
    <section class="why">
      <h3>{t("why")}</h3>
      <p>{measures.join(" · ")}</p>
      <div class="strip" role="img" aria-label={t("why_text", { distance: why.distance, bits: why.bits.length })}>
        {why.bits.map((one, place) => (
          <span
            key={place}
            class={one.a === one.b ? (one.a ? "set" : "") : "differs"}
            title={text(place)}
            onMouseEnter={() => setTold(text(place))}
          />
        ))}
      </div>
      <p class="told">{told || t("why_text", { distance: why.distance, bits: why.bits.length })}</p>
    </section>
  );
}
