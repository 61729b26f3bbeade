// One item in a grid: its picture, or what can be read of it, with label and distance.

import { useState } from "preact/hooks";
import { thumb, type Facts, type Hit, type Item } from "../api";
import { percent, t } from "../i18n";

export const bits = (n: number): string => (n === 1 ? t("bit_away") : t("bits_away", { n }));

interface Shown extends Item {
  distance?: number;
  confidence?: number | null;
}

export function Tile({
  facts,
  item,
  href,
  release = facts.release,
  mark,
  said,
  name = item.label ?? item.key,
}: {
  facts: Facts;
  item: Shown | Hit;
  href: string;
  release?: string;
  mark?: "keep" | "remove";
  /** In place of the distance. */
  said?: string | undefined;
  name?: string;
}) {
  const sure = "confidence" in item && typeof item.confidence === "number" ? item.confidence : null;
  const far = "distance" in item && typeof item.distance === "number" ? item.distance : null;
  // Of a vector there is nothing to show but its name, which the face has.
  const bare = !facts.pictures && !item.snippet && name === item.key && !Object.values(item.columns).some((value) => value !== null);
  return (
    <a class="tile" href={href} data-id={item.id} title={item.key}>
      <Face facts={facts} item={item} release={release} />
      <span class="under">
        {!bare && (
          <span class="name">
            <bdi>{name}</bdi>
          </span>
        )}
        {said && <span class="badge">{said}</span>}
        {said === undefined && far !== null && (
          <span class={`badge ${sure === null ? "" : sure >= 0.5 ? "sure" : "unsure"}`}>
            {bits(far)}
            {sure !== null && ` · ${percent(sure)}`}
          </span>
        )}
        {mark && <span class={`badge ${mark}`}>{t(mark)}</span>}
      </span>
    </a>
  );
}

export function Face({
  facts,
  item,
  release,
  size = 224,
}: {
  facts: Facts;
  item: Item | Hit;
  release: string;
  size?: 112 | 224 | 448;
}) {
  const [gone, setGone] = useState(false);
  if (facts.pictures && !gone) {
    return (
      <span class="face">
        <img
          src={thumb(facts.name, item.id, size, release)}
          alt={item.label ? `${item.label}, ${item.key}` : item.key}
          loading="lazy"
          decoding="async"
          onError={() => setGone(true)}
        />
      </span>
    );
  }
  const columns = Object.entries(item.columns).filter(([, value]) => value !== null);
  if (!item.snippet && columns.length) {
    return (
      <span class="face cells">
        {columns.slice(0, 6).map(([name, value]) => (
          <span key={name}>
            <i>{name}</i> <bdi>{value}</bdi>
          </span>
        ))}
      </span>
    );
  }
  return (
    <span class="face words">
      <bdi>{item.snippet ?? item.key}</bdi>
      {gone && <small>{t("gone")}</small>}
    </span>
  );
}
