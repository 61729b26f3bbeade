// The history of a collection: promotions, refusals and their reasons, scores, and how two releases differ.

import { get, getWhenDone, path, query, type Difference, type Facts, type ReleaseEvent } from "../api";
import { date, decimal, percent, t } from "../i18n";
import { Tile } from "../parts/tile";
import { Waiting } from "../parts/waiting";
import { address, change, type Place, useLoaded } from "../state";

export function ReleasesScreen({ facts, place }: { facts: Facts; place: Place }) {
  const found = useLoaded(
    async (signal) => (await get<{ events: ReleaseEvent[] }>(path(facts.name, "/releases"), signal)).events,
    [],
  );
  const before = place.parameters.get("before");
  const events = found.value ?? [];
  const metric = events.map((one) => Object.keys(one.scores)).find((names) => names.length)?.[0];
  return (
    <main id="content" class="page">
      <h1>{t("releases")}</h1>
      <p class="summary">{t("rel_text")}</p>
      {before && <Differing facts={facts} before={before} />}
      <Waiting found={found} />
      <ol class="events">
        {events.map((one, place) => (
          <li key={place} class={one.action}>
            <div class="line">
              <time dateTime={one.when}>{date(one.when)}</time>
              <strong>{t(one.action)}</strong>
              <code title={one.after}>{one.after.slice(0, 12)}</code>
              {one.after === facts.release && <span class="badge sure">{t("now")}</span>}
              {!one.here && <span class="told">{t("collected")}</span>}
              {metric && one.scores[metric] !== undefined && (
                <span class="score">
                  {metric} {decimal(one.scores[metric])}
                </span>
              )}
              {one.here && one.after !== facts.release && (
                <button class="quiet" onClick={() => change({ before: one.after.slice(0, 16) })}>
                  {t("compare")}
                </button>
              )}
            </div>
            <p class="told">{one.why}</p>
          </li>
        ))}
      </ol>
    </main>
  );
}

function Differing({ facts, before }: { facts: Facts; before: string }) {
  const found = useLoaded(
    (signal) => getWhenDone<Difference>(path(facts.name, `/diff${query({ before })}`), signal),
    [before],
  );
  const diff = found.value;
  if (found.error) return <p class="notice">{t("failed", { text: found.error.message })}</p>;
  if (!diff) return <p class="told">{t("loading")} …</p>;
  const seen = (id: number) => address(facts.name, "search", new URLSearchParams({ item: String(id) }));
  return (
    <section class="differing">
      <p>
        {t("diff_text", {
          rows: diff.rows,
          k: diff.k,
          overlap: percent(diff.overlap),
          interval: percent(diff.interval),
        })}{" "}
        {t("diff_rows", { lost: percent(diff.lost), gained: percent(diff.gained) })}{" "}
        {diff.flips !== null && t("diff_flips", { flips: percent(diff.flips) })}
      </p>
      {diff.most_changed.length > 0 && <h2>{t("diff_most")}</h2>}
      {diff.most_changed.slice(0, 5).map((one) => (
        <div key={one.key} class="pair">
          <h3>
            <bdi>{one.key}</bdi> <span class="told">{percent(one.common)}</span>
          </h3>
          {([["before", one.before, diff.before], ["after", one.after, diff.after]] as const).map(([name, items, release]) => (
            <div key={name} class="side">
              <span class="told">{t(name)}</span>
              <div class={`grid small ${facts.pictures ? "pictures" : "texts"}`}>
                {items.slice(0, 6).map((item) => (
                  <Tile key={item.id} facts={facts} item={item} release={release} href={seen(item.id)} />
                ))}
              </div>
            </div>
          ))}
        </div>
      ))}
    </section>
  );
}
