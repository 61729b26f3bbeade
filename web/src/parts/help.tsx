// The keys, on a page of its own.

import { t } from "../i18n";
import { Icon } from "./icons";

export function Help() {
  const lines: [string, string][] = [
    ["/", t("key_field")],
    ["← ↑ → ↓", t("key_arrows")],
    ["Enter", t("key_open")],
    ["l", t("key_like")],
    ["c", t("key_crop")],
    ["g b", t("key_mark")],
    ["+ − 0", t("key_zoom")],
    ["Shift", t("key_area")],
    ["Esc", t("key_back")],
    ["?", t("key_help")],
  ];
  return (
    <dialog id="help" class="small" aria-labelledby="help-title">
      <h2 id="help-title">{t("help")}</h2>
      <dl class="keys">
        {lines.map(([key, text]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog">
        <button class="icon corner" aria-label={t("close")}>
          <Icon name="close" />
        </button>
      </form>
    </dialog>
  );
}

export const isTyping = (event: KeyboardEvent): boolean =>
  event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).matches?.("input, textarea, select");

addEventListener("keydown", (event) => {
  if (event.key === "?" && !isTyping(event)) document.querySelector<HTMLDialogElement>("#help")?.showModal();
  if (event.key === "/" && !isTyping(event)) {
    event.preventDefault();
    document.querySelector<HTMLInputElement>("#field")?.focus();
  }
});
