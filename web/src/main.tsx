// The page: which screen, for which collection.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, login, path, post, Problem, root, type Facts, type Summary } from "./api";
import { t } from "./i18n";
import { Help } from "./parts/help";
import { Top } from "./parts/top";
import { DocsScreen } from "./screens/docs";
import { DuplicatesScreen } from "./screens/duplicates";
import { FeedbackScreen } from "./screens/feedback";
import { MapScreen } from "./screens/map";
import { ReleasesScreen } from "./screens/releases";
import { SearchScreen } from "./screens/search";
import { UnreadableScreen } from "./screens/unreadable";
import { address, followLinks, go, useLoaded, usePlace } from "./state";
import "./style.css";

const LOOK = 30_000;

function App() {
  const place = usePlace();
  const [turn, setTurn] = useState(0);
  const again = () => setTurn((old) => old + 1);
  const all = useLoaded(
    async (signal) => (await get<{ collections: Summary[] }>(`${root}/v1/collections`, signal)).collections,
    [turn],
  );
  const chosen = all.value?.find((one) => one.name === place.collection) ?? all.value?.[0];
  // The collection of the address is asked for beside the list, and once more where the list knows a newer release.
  const name = chosen?.name ?? place.collection;
  const [newer, setNewer] = useState("");
  const facts = useLoaded(name ? (signal) => get<Facts>(path(name), signal) : null, [name, newer]);
  useEffect(() => {
    const known = facts.value;
    if (chosen && known?.name === chosen.name && known.release !== chosen.release) setNewer(chosen.release);
  }, [chosen?.release, facts.value]);

  const [missing, setMissing] = useState({ name: "", other: "" });
  useEffect(() => {
    if (!chosen || chosen.name === place.collection) return;
    setMissing({ name: place.collection, other: chosen.name });
    go(address(chosen.name, place.screen), { replace: true });
  }, [chosen?.name, place.collection]);
  useEffect(() => {
    // Another release may have gone into service, also while nobody looks.
    const timer = setInterval(again, LOOK);
    return () => clearInterval(timer);
  }, []);

  if (all.error) return <Failure error={all.error} again={again} />;
  if (!all.value) return <div class="wait" aria-label={t("loading")} />;
  if (!chosen) return <main class="empty">{t("no_collections")}</main>;
  const known = facts.value?.name === chosen.name ? facts.value : undefined;
  return (
    <div onClick={followLinks}>
      <a class="skip" href="#content">
        {t("skip")}
      </a>
      <Top place={place} all={all.value} chosen={chosen} />
      {missing.name && missing.other === chosen.name && <p class="notice">{t("no_such_collection", missing)}</p>}
      {chosen.trouble && <p class="notice">{t("trouble")}</p>}
      {known && <Screen facts={known} place={place} />}
      <Help />
    </div>
  );
}

function Screen({ facts, place }: { facts: Facts; place: ReturnType<typeof usePlace> }) {
  const key = `${facts.name} ${facts.release}`;
  switch (place.screen) {
    case "map":
      return <MapScreen key={key} facts={facts} place={place} />;
    case "duplicates":
      return <DuplicatesScreen key={key} facts={facts} place={place} />;
    case "releases":
      return <ReleasesScreen key={key} facts={facts} place={place} />;
    case "unreadable":
      return <UnreadableScreen key={key} facts={facts} />;
    case "feedback":
      return <FeedbackScreen key={key} facts={facts} />;
    case "docs":
      return <DocsScreen facts={facts} />;
    default:
      return <SearchScreen key={key} facts={facts} place={place} />;
  }
}

function Failure({ error, again }: { error: Error; again: () => void }) {
  const [token, setToken] = useState("");
  const [refused, setRefused] = useState("");
  if (!(error instanceof Problem) || error.status !== 401) {
    return (
      <main class="empty">
        <p role="alert">{error instanceof Problem ? t("failed", { text: error.message }) : t("offline")}</p>
      </main>
    );
  }
  const enter = async (event: Event) => {
    event.preventDefault();
    try {
      await post(`${root}/v1/session`, JSON.stringify({ token: token.trim() }), "application/json");
      again();
    } catch (problem) {
      setRefused((problem as Error).message);
    }
  };
  return (
    <main class="empty">
      <form class="login" onSubmit={enter}>
        <label>
          {t("token_needed")}
          <input
            type="password"
            autocomplete="off"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <button class="main">{t("enter")}</button>
        {refused && <p role="alert">{refused}</p>}
      </form>
    </main>
  );
}

login()
  .catch(() => undefined)
  .finally(() => render(<App />, document.getElementById("app")!));
