// What was marked good or bad, as tests of every later release, with the outcome on the one in service.

import { get, path, type Facts, type Marked } from "../api";
import { t } from "../i18n";
import { address, useLoaded } from "../state";

export function FeedbackScreen({ facts }: { facts: Facts }) {
  const found = useLoaded(
    async (signal) => (await get<{ marks: Marked[] }>(path(facts.name, "/feedback"), signal)).marks,
    [],
  );
  const marks = found.value ?? [];
  const asked = (one: Marked) => new URLSearchParams(one.key ? { key: one.key } : { code: one.code });
  return (
    <main id="content" class="page">
      <h1>{t("feedback")}</h1>
      <p class="summary">
        {marks.length || found.loading ? t("feedback_text") : t(facts.write ? "feedback_none" : "feedback_closed")}{" "}
        {marks.length > 0 && <a href={path(facts.name, "/canaries.toml")} download="canaries.toml">canaries.toml</a>}
      </p>
      {found.error && (
        <p class="notice" role="alert">
          {t("failed", { text: found.error.message })}
        </p>
      )}
      <ul class="marks">
        {marks.map((one) => (
          <li key={one.key + one.code + one.upload}>
            <div class="line">
              <span class={`badge ${one.passed ? "sure" : "remove"}`}>{t(one.passed ? "passed" : "not_passed")}</span>
              {one.upload ? (
                <bdi>{one.upload}</bdi>
              ) : (
                <a href={address(facts.name, "search", asked(one))}>
                  <bdi>{one.key || one.code}</bdi>
                </a>
              )}
            </div>
            {([["good", one.good], ["bad", one.bad]] as const).map(
              ([name, keys]) =>
                keys.length > 0 && (
                  <p key={name} class="told">
                    {t(name)}: <bdi>{keys.join(", ")}</bdi>
                  </p>
                ),
            )}
          </li>
        ))}
      </ul>
    </main>
  );
}
