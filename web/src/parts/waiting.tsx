// What a screen says while it waits for an answer, and where none came.

import type { Progress } from "../api";
import { t } from "../i18n";
import type { Loaded } from "../state";

const STAGES = {
  comparing: "stage_comparing",
  "comparing pictures": "stage_pictures",
  "looking at originals": "stage_originals",
} as const;

/** How far longer work is; its parts come one after another, and each has its own bar. */
function Working({ at }: { at: Progress }) {
  if (!at.stage) return <p class="told">{t("stage_waiting")} …</p>;
  const name = STAGES[at.stage as keyof typeof STAGES];
  const known = at.total ? { done: at.done ?? 0, total: at.total } : null;
  return (
    <p class="told working">
      <label>
        {name ? t(name) : at.stage} {known ? t("stage_done", known) : "…"}
        {known && <progress value={known.done} max={known.total} />}
      </label>
    </p>
  );
}

export function Waiting({ found }: { found: Loaded<unknown> }) {
  if (found.loading && found.at) return <Working at={found.at} />;
  if (found.loading) return <p class="told">{t("loading")} …</p>;
  if (!found.error) return null;
  return (
    <p class="notice" role="alert">
      {t("failed", { text: found.error.message })}
    </p>
  );
}
