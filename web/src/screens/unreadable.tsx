// What the last run could not read or passed over, by reason.

import { get, path, Problem, type Facts, type Unreadable } from "../api";
import { number, t } from "../i18n";
import { copy } from "../parts/item";
import { Waiting } from "../parts/waiting";
import { useLoaded } from "../state";

export function UnreadableScreen({ facts }: { facts: Facts }) {
  const found = useLoaded(
    async (signal) => (await get<{ reasons: Unreadable[] }>(path(facts.name, "/quarantine"), signal)).reasons,
    [],
  );
  const none = found.error instanceof Problem && found.error.status === 404;
  return (
    <main id="content" class="page">
      <h1>{t("unreadable")}</h1>
      <p class="summary">{none || found.value?.length === 0 ? t("unread_none") : t("unread_text")}</p>
      {!none && <Waiting found={found} />}
      {found.value?.map((one) => (
        <details key={`${one.what} ${one.reason}`} class="reason">
          <summary>
            <span class="count">{number(one.count)}</span> {one.reason} <span class="told">{one.what}</span>
          </summary>
          <ul>
            {one.keys.map((key) => (
              <li key={key}>
                <bdi>{key}</bdi>
              </li>
            ))}
          </ul>
          <button class="quiet" onClick={() => copy(one.keys.join("\n"))}>
            {t("copy")}
          </button>
        </details>
      ))}
    </main>
  );
}
