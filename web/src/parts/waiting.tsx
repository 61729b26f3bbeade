// What a screen says while it waits for an answer, and where none came.

import { t } from "../i18n";
import type { Loaded } from "../state";

export function Waiting({ found }: { found: Loaded<unknown> }) {
  if (found.loading) return <p class="told">{t("loading")} …</p>;
  if (!found.error) return null;
  return (
    <p class="notice" role="alert">
      {t("failed", { text: found.error.message })}
    </p>
  );
}
