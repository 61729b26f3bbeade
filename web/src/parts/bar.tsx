// The field: words are typed, files are dropped anywhere, pasted or chosen; below it what is asked.

import { useEffect, useRef, useState } from "preact/hooks";
import { thumb, type Facts } from "../api";
import { t } from "../i18n";
import { change, type Place } from "../state";
import { ASKED, askFile, askTyped, question, uploadOf, mixes } from "./asking";
import { Icon } from "./icons";

const HINTS: Record<string, Parameters<typeof t>[0]> = {
  images: "ask_picture",
  text: "ask_text",
  audio: "ask_sound",
  video: "ask_film",
  table: "ask_row",
  vectors: "ask_vector",
};

/** A row of the collection's own first columns, as an example of a question. */
function exampleOf(facts: Facts): string {
  const shown = Object.entries(facts.columns).filter(([name]) => name !== "snippet").slice(0, 2);
  const cells = shown.map(([name, type]) => `${JSON.stringify(name)}: ${/int|double|float/.test(type) ? 1 : '"…"'}`);
  return `{${cells.join(", ")}}`;
}

export function Bar({ facts, place, onCrop }: { facts: Facts; place: Place; onCrop: (() => void) | null }) {
  const asked = question(place.parameters);
  const typed = asked && ["text", "row", "vector"].includes(asked[0]) ? asked[1] : "";
  const [text, setText] = useState(typed);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const chooser = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  const files = facts.asks.includes("bytes");

  useEffect(() => setText(typed), [typed]);
  useEffect(() => setError(""), [place]);

  const send = async (file: File | null | undefined) => {
    if (!file) return;
    setBusy(true);
    setError("");
    try {
      await askFile(facts, file, file.name || t("your_file"));
    } catch (problem) {
      setError(t("failed", { text: (problem as Error).message }));
    } finally {
      setBusy(false);
    }
  };

  useEffect(() => {
    if (!files) return;
    let depth = 0;
    const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files");
    const enter = (event: DragEvent) => holdsFiles(event) && (depth++, setOver(true));
    const leave = () => --depth <= 0 && ((depth = 0), setOver(false));
    const move = (event: DragEvent) => holdsFiles(event) && event.preventDefault();
    const drop = (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      depth = 0;
      setOver(false);
      send(event.dataTransfer?.files[0]);
    };
    const paste = (event: ClipboardEvent) => {
      const file = event.clipboardData?.files[0];
      if (file) {
        event.preventDefault();
        send(file);
      }
    };
    addEventListener("dragenter", enter);
    addEventListener("dragleave", leave);
    addEventListener("dragover", move);
    addEventListener("drop", drop);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragenter", enter);
      removeEventListener("dragleave", leave);
      removeEventListener("dragover", move);
      removeEventListener("drop", drop);
      removeEventListener("paste", paste);
    };
  }, [facts.name, files]);

  const submit = (event: Event) => {
    event.preventDefault();
    try {
      if (/^[{[]/.test(text.trim()) && !facts.asks.includes("text")) JSON.parse(text);
      askTyped(facts, text);
    } catch {
      setError(t("failed", { text: "JSON" }));
    }
  };
  const typing = mixes(facts) ? "ask_words" : facts.kind === "images" ? "ask_key" : null;
  const hint = t(HINTS[facts.kind] ?? "ask_picture", { row: exampleOf(facts) }) + (typing ? ` – ${t(typing)}` : "");
  return (
    <div class="bar" role="search">
      <form onSubmit={submit}>
        <span class={`field ${busy ? "busy" : ""}`}>
          <Icon name="search" />
          <input
            id="field"
            type="search"
            value={text}
            placeholder={hint}
            aria-label={hint}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          {files && (
            <button type="button" class="icon" title={t("choose")} aria-label={t("choose")} onClick={() => chooser.current?.click()}>
              <Icon name="file" />
            </button>
          )}
          {files && facts.kind === "images" && (
            <button type="button" class="icon phone" title={t("camera")} aria-label={t("camera")} onClick={() => camera.current?.click()}>
              <Icon name="camera" />
            </button>
          )}
        </span>
        <button class="main">{t("ask")}</button>
        <input ref={chooser} class="hidden" type="file" tabIndex={-1} aria-hidden="true" onChange={(event) => chosen(event, send)} />
        <input ref={camera} class="hidden" type="file" tabIndex={-1} aria-hidden="true" accept="image/*" capture="environment" onChange={(event) => chosen(event, send)} />
      </form>
      {asked && <Chip facts={facts} asked={asked} crop={place.parameters.get("crop")} onCrop={onCrop} />}
      {error && (
        <p class="notice" role="alert">
          {error}
        </p>
      )}
      {over && <div class="drop">{t("drop_here")}</div>}
    </div>
  );
}

function chosen(event: Event, send: (file: File | undefined) => void): void {
  const input = event.currentTarget as HTMLInputElement;
  send(input.files?.[0]);
  input.value = "";
}

function Chip({
  facts,
  asked: [kind, value],
  crop,
  onCrop,
}: {
  facts: Facts;
  asked: [string, string];
  crop: string | null;
  onCrop: (() => void) | null;
}) {
  const [later, setLater] = useState(false);
  const [missing, setMissing] = useState("");
  useEffect(() => setLater(true), []); // the hits are asked for before the picture of the question
  if (["text", "row", "vector"].includes(kind)) return null;
  const upload = kind === "code" ? uploadOf(value) : undefined;
  const name = upload?.name ?? (kind === "id" ? `${t("id")} ${value}` : kind === "code" ? `${t("code")} ${value}` : value);
  const source = upload?.preview ?? (kind === "id" && facts.pictures ? thumb(facts.name, Number(value), 112, facts.release) : null);
  const clear = () => change({ ...Object.fromEntries([...ASKED, "crop", "item"].map((one) => [one, null])) });
  return (
    <div class="chip">
      {source && source !== missing && (
        <img {...(later ? { src: source } : {})} alt="" width="64" height="64" onError={() => setMissing(source)} />
      )}
      <bdi>{crop ? t("part_of", { what: name }) : name}</bdi>
      {onCrop && (
        <button class="quiet" onClick={onCrop}>
          <Icon name="crop" /> {t("crop")}
        </button>
      )}
      <button class="icon" aria-label={t("clear")} title={t("clear")} onClick={clear}>
        <Icon name="close" />
      </button>
    </div>
  );
}
