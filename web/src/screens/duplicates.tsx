// Groups of identical items, edited copies or items alike in content: a rule decides which of each stays.

import { useEffect, useState } from "preact/hooks";
import { getWhenDone, path, post, query, type Alike, type Duplicates, type Facts, type Member } from "../api";
import { t } from "../i18n";
import { bits, Tile } from "../parts/tile";
import { Waiting } from "../parts/waiting";
import { address, change, type Place, useLoaded } from "../state";

const RULES = ["best", "newest", "oldest", "first"] as const;
const RELATIONS = {
  first: "relation_first",
  identical: "relation_identical",
  "edited copy": "relation_edited",
  "alike in content": "alike_content",
} as const;
const MOST_LISTED = 10_000;
const SHOWN = 12;

/** The row that stays, and the first of the others. */
function shownOf(group: Member[]): Member[] {
  return [...group].sort((a, b) => Number(b.mark === "keep") - Number(a.mark === "keep")).slice(0, SHOWN);
}

export function DuplicatesScreen({ facts, place }: { facts: Facts; place: Place }) {
  const ways: Alike[] = facts.kind === "images" ? ["copies", "identical", "content"] : ["content", "identical"];
  const given = place.parameters.get("radius");
  const alike = ways.find((one) => one === place.parameters.get("alike")) ?? (given === null ? ways[0]! : "content");
  const radius = alike === "content" ? Number(given ?? 3) : null;
  const keep = place.parameters.get("keep") ?? "best";
  const [slider, setSlider] = useState(radius ?? 3);
  const [groups, setGroups] = useState<Member[][]>([]);
  const [next, setNext] = useState<number | null>(null);
  const [said, setSaid] = useState("");
  const url = (after: number, limit = 50) =>
    path(facts.name, `/duplicates${query({ alike, radius, keep, after, limit, release: facts.release })}`);
  const found = useLoaded((signal, told) => getWhenDone<Duplicates>(url(0), signal, told), [alike, radius, keep]);
  useEffect(() => {
    setGroups(found.value?.groups ?? []);
    setNext(found.value?.next ?? null);
  }, [found.value]);

  const all = async (): Promise<Member[]> => {
    const members: Member[] = [];
    let after: number | null = 0;
    while (after !== null && members.length < MOST_LISTED) {
      const page: Duplicates = await getWhenDone(url(after, 500), new AbortController().signal);
      members.push(...page.groups.flat());
      after = page.next;
    }
    return members;
  };
  const save = async () => {
    const cell = (text: string) => `"${text.replaceAll('"', '""')}"`;
    const lines = (await all()).map((one) => [one.mark, one.id, cell(one.key), cell(one.label ?? ""), one.distance].join());
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([["mark,id,key,label,distance", ...lines, ""].join("\r\n")], { type: "text/csv" }));
    link.download = `${facts.name}-duplicates.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const remove = async () => {
    const ids = (await all()).filter((one) => one.mark === "remove").map((one) => one.id);
    if (!confirm(t("remove_sure", { n: ids.length }))) return;
    try {
      const done = await post<{ rows: number }>(path(facts.name, "/remove"), JSON.stringify({ ids }), "application/json");
      setSaid(t("removed", { n: done.rows }));
      setTimeout(() => location.reload(), 1500);
    } catch (error) {
      setSaid(t("failed", { text: (error as Error).message }));
    }
  };
  const more = async () => {
    if (next === null) return;
    const page = await getWhenDone<Duplicates>(url(next), new AbortController().signal);
    setGroups([...groups, ...page.groups]);
    setNext(page.next);
  };
  return (
    <main id="content" class="page">
      <h1>{t("duplicates")}</h1>
      <div class="controls">
        <label>
          {t("dup_alike")}{" "}
          <select value={alike} onChange={(event) => change({ alike: event.currentTarget.value, radius: null })}>
            {ways.map((one) => (
              <option key={one} value={one}>
                {t(`alike_${one}`)}
              </option>
            ))}
          </select>
        </label>
        {radius !== null && (
          <label>
            {t("dup_text", { far: bits(slider) })}
            <input
            type="range"
            min="0"
            max={Math.ceil(facts.n_bits / 4)}
            value={slider}
            onInput={(event) => setSlider(Number(event.currentTarget.value))}
            onChange={(event) => change({ radius: event.currentTarget.value }, { replace: true })}
          />
          </label>
        )}
        <label>
          {t("dup_keep")}{" "}
          <select value={keep} onChange={(event) => change({ keep: event.currentTarget.value })}>
            {RULES.map((one) => (
              <option key={one} value={one}>
                {t(`keep_${one}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Waiting found={found} />
      {found.value && (
        <p class="summary" aria-live="polite">
          {found.value.total
            ? t("dup_groups", { n: found.value.total, removable: found.value.removable })
            : t("dup_none")}{" "}
          {found.value.total > 0 && (
            <>
              <button class="quiet" onClick={save}>
                {t("save_list")}
              </button>
              {facts.write && (
                <button class="quiet danger" onClick={remove}>
                  {t("remove_rows", { n: found.value.removable })}
                </button>
              )}
            </>
          )}
        </p>
      )}
      {said && <p class="notice">{said}</p>}
      {groups.map((group) => (
        <div key={group[0]!.id} class={`group grid ${facts.pictures ? "pictures" : "texts"}`}>
          {shownOf(group).map((one) => (
            <Tile
              key={one.id}
              facts={facts}
              item={{ ...one, confidence: null }}
              mark={one.mark}
              name={one.key.slice(one.key.lastIndexOf("/") + 1)}
              said={found.value?.alike === "content" ? undefined : t(RELATIONS[one.relation])}
              href={address(facts.name, "search", new URLSearchParams({ id: String(one.id), item: String(one.id) }))}
            />
          ))}
          {group.length > SHOWN && <p class="told rest">{t("and_more", { n: group.length - SHOWN })}</p>}
        </div>
      ))}
      {next !== null && (
        <div class="end">
          <button onClick={more}>{t("more")}</button>
        </div>
      )}
    </main>
  );
}

