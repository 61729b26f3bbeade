// Filters with counts: labels, splits, distance with what it is worth, and the order of hits.

import { useEffect, useState } from "preact/hooks";
import type { Counted, Facts } from "../api";
import { number, percent, t } from "../i18n";
import { change } from "../state";
import { mixes, unmeasured } from "./asking";

const SHOWN = 12;

export function Filters({ facts, parameters }: { facts: Facts; parameters: URLSearchParams }) {
  const hybrid = parameters.get("hybrid") === "true";
  return (
    <aside class="filters" aria-label={t("filters")}>
      <Choices title={t("labels")} name="label" values={facts.labels} parameters={parameters} />
      <Choices title={t("splits")} name="split" values={facts.splits} parameters={parameters} />
      {mixes(facts) && <Words parameters={parameters} />}
      {facts.hybrid && <Hybrid on={hybrid} />}
      {!hybrid && <Distance facts={facts} parameters={parameters} />}
      <fieldset>
        <legend>{t("leave_out")}</legend>
        <Flag name="others" text={t("others")} parameters={parameters} />
        {!hybrid && <Flag name="distinct" text={t("distinct")} parameters={parameters} />}
      </fieldset>
      {facts.reranked && !hybrid && (
        <fieldset>
          <Flag name="fast" text={t("order")} parameters={parameters} />
        </fieldset>
      )}
      <FirstBits facts={facts} parameters={parameters} />
      <Condition parameters={parameters} columns={facts.columns} />
    </aside>
  );
}

/** Documents by their words, too; what holds for hits by code alone is let go of. */
function Hybrid({ on }: { on: boolean }) {
  const turn = () =>
    change(on ? { hybrid: null } : { hybrid: "true", radius: null, min_confidence: null, distinct: null, fast: null });
  return (
    <fieldset>
      <label class="choice">
        <input type="checkbox" checked={on} onChange={turn} />
        {t("hybrid")}
      </label>
    </fieldset>
  );
}

/** Words that are added to the question, and others that are taken away, with their share. */
function Words({ parameters }: { parameters: URLSearchParams }) {
  const share = Number(parameters.get("weight") ?? 0.5);
  const some = parameters.has("plus") || parameters.has("minus");
  return (
    <fieldset>
      <legend>{t("words_more")}</legend>
      <WordsField name="plus" text={t("words_plus")} kept={parameters.get("plus") ?? ""} />
      <WordsField name="minus" text={t("words_minus")} kept={parameters.get("minus") ?? ""} />
      {some && (
        <label class="told">
          {t("words_weight", { share: percent(share) })}
          <input
            type="range"
            min="0"
            max="1"
            step="0.05"
            value={share}
            onChange={(event) => change({ weight: event.currentTarget.value }, { replace: true })}
          />
        </label>
      )}
    </fieldset>
  );
}

function WordsField({ name, text, kept }: { name: string; text: string; kept: string }) {
  const [value, setValue] = useState(kept);
  useEffect(() => setValue(kept), [kept]);
  const submit = (event: Event) => {
    event.preventDefault();
    change({ [name]: value.trim() || null });
  };
  return (
    <form onSubmit={submit}>
      <input
        type="search"
        value={value}
        aria-label={text}
        placeholder={text}
        onInput={(event) => setValue(event.currentTarget.value)}
        onChange={submit}
      />
    </form>
  );
}

function Choices({
  title,
  name,
  values,
  parameters,
}: {
  title: string;
  name: string;
  values: Counted[];
  parameters: URLSearchParams;
}) {
  const [all, setAll] = useState(false);
  const chosen = parameters.getAll(name);
  if (values.length < 2) return null;
  const shown = all ? values : values.filter((one, place) => place < SHOWN || chosen.includes(one.value));
  const turn = (value: string) =>
    change({ [name]: chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value] });
  return (
    <fieldset>
      <legend>{title}</legend>
      {shown.map((one) => (
        <label class="choice" key={one.value}>
          <input type="checkbox" checked={chosen.includes(one.value)} onChange={() => turn(one.value)} />
          <bdi>{one.value}</bdi>
          <span class="count">{number(one.count)}</span>
        </label>
      ))}
      {values.length > shown.length && (
        <button class="quiet" onClick={() => setAll(true)}>
          {t("show_all", { n: values.length })}
        </button>
      )}
    </fieldset>
  );
}

function Flag({ name, text, parameters }: { name: string; text: string; parameters: URLSearchParams }) {
  const on = parameters.get(name) === "true";
  return (
    <label class="choice">
      <input type="checkbox" checked={on} onChange={() => change({ [name]: on ? null : "true" })} />
      {text}
    </label>
  );
}

function Distance({ facts, parameters }: { facts: Facts; parameters: URLSearchParams }) {
  const most = Math.min(facts.n_bits, Math.ceil(facts.n_bits / 2));
  const kept = parameters.get("radius");
  const [value, setValue] = useState(kept === null ? most : Number(kept));
  useEffect(() => setValue(kept === null ? most : Number(kept)), [kept]);
  const share = unmeasured(facts, parameters) ? undefined : facts.confidence?.[value];
  const text =
    value >= most
      ? t("any_distance")
      : share === undefined
        ? t("at_most", { n: value })
        : t("at_most_sure", { n: value, share: percent(share) });
  return (
    <fieldset>
      <legend>{t("distance")}</legend>
      <input
        type="range"
        min="0"
        max={most}
        value={value}
        aria-label={t("distance")}
        aria-valuetext={text}
        onInput={(event) => setValue(Number(event.currentTarget.value))}
        onChange={(event) => {
          const wanted = Number(event.currentTarget.value);
          change({ radius: wanted >= most ? null : String(wanted) }, { replace: true });
        }}
      />
      <p class="told">{text}</p>
    </fieldset>
  );
}

function FirstBits({ facts, parameters }: { facts: Facts; parameters: URLSearchParams }) {
  const lengths = [8, 16, 32, 64, 128].filter((one) => one < facts.n_bits);
  if (!lengths.length) return null;
  return (
    <fieldset>
      <label class="choice">
        {t("first_bits")}
        <select
          value={parameters.get("bits") ?? ""}
          onChange={(event) => change({ bits: event.currentTarget.value || null })}
        >
          <option value="">{t("all_bits")}</option>
          {lengths.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
    </fieldset>
  );
}

function Condition({ parameters, columns }: { parameters: URLSearchParams; columns: Record<string, string> }) {
  const kept = parameters.get("where") ?? "";
  const [text, setText] = useState(kept);
  useEffect(() => setText(kept), [kept]);
  const submit = (event: Event) => {
    event.preventDefault();
    change({ where: text.trim() || null });
  };
  const names = ["id", "key", "label", "split", ...Object.keys(columns)];
  return (
    <details open={!!kept}>
      <summary>{t("condition")}</summary>
      <form onSubmit={submit}>
        <textarea
          rows={2}
          value={text}
          spellcheck={false}
          aria-label={t("condition")}
          placeholder="label = 'Boot' AND id < 100"
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button>{t("apply")}</button>
        <p class="told">
          <bdi>{names.join(", ")}</bdi>
        </p>
      </form>
    </details>
  );
}
