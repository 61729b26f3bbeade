// The line above every screen: collection, screens, language, theme, help.

import { useEffect, useRef } from "preact/hooks";
import type { Summary } from "../api";
import { LANGUAGES, language, setLanguage, t } from "../i18n";
import { address, go, SCREENS, type Place } from "../state";
import { Icon } from "./icons";

export function Top({ place, all, chosen }: { place: Place; all: Summary[]; chosen: Summary }) {
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [place.screen]);
  return (
    <header class="top">
      <a class="brand" href={address(chosen.name)}>
        <Icon name="logo" /> <span>aepipe</span>
      </a>
      {all.length > 1 ? (
        <select
          class="quiet collection"
          aria-label={t("collection")}
          value={chosen.name}
          onChange={(event) => go(address(event.currentTarget.value, place.screen))}
        >
          {all.map((one) => (
            <option key={one.name} value={one.name}>
              {one.name}
            </option>
          ))}
        </select>
      ) : (
        <span class="collection">
          <bdi>{chosen.name}</bdi>
        </span>
      )}
      <nav ref={tabs}>
        {SCREENS.map((screen) => (
          <a
            key={screen}
            href={address(chosen.name, screen)}
            {...(screen === place.screen ? { "aria-current": "page" as const } : {})}
          >
            {t(screen)}
          </a>
        ))}
      </nav>
      <span class="space" />
      <span class="tools">
        <select
          class="quiet language"
          aria-label={t("language")}
          value={language}
          onChange={(event) => setLanguage(event.currentTarget.value)}
        >
          {Object.entries(LANGUAGES).map(([code, name]) => (
            <option key={code} value={code} lang={code}>
              {name}
            </option>
          ))}
        </select>
        <button class="icon" title={t("theme")} aria-label={t("theme")} onClick={turnTheme}>
          <Icon name="theme" />
        </button>
        <button
          class="icon"
          title={t("help")}
          aria-label={t("help")}
          onClick={() => document.querySelector<HTMLDialogElement>("#help")?.showModal()}
        >
          <Icon name="help" />
        </button>
      </span>
    </header>
  );
}

const KEY = "aepipe.theme";

function turnTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  setTheme(now === "dark" ? "light" : "dark");
}

function setTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // it holds until the page is left
  }
}

try {
  const kept = localStorage.getItem(KEY);
  if (kept) document.documentElement.dataset.theme = kept;
} catch {
  // the theme of the system
}
