// Words of the page in several languages. Numbers are written as the language does.

import de from "./locales/de.json";
import en from "./locales/en.json";
import zh from "./locales/zh.json";

const LOCALES: Record<string, Record<string, string>> = { en, de, zh };
export const LANGUAGES: Record<string, string> = { en: "English", de: "Deutsch", zh: "中文" };
const KEY = "aepipe.language";

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function chosen(): string {
  const wanted = [stored() ?? "", ...navigator.languages].map((one) => one.slice(0, 2).toLowerCase());
  return wanted.find((one) => one in LOCALES) ?? "en";
}

export const language = chosen();
const words = LOCALES[language] ?? en;
document.documentElement.lang = language;

export function setLanguage(name: string): void {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // it holds until the page is left
  }
  location.reload();
}

/** The text of a name; `{x}` in it becomes the value of x. */
export function t(name: keyof typeof en, values: Record<string, string | number> = {}): string {
  const text = words[name] ?? en[name];
  return text.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = values[key] ?? "";
    return typeof value === "number" ? number(value) : value;
  });
}

const integers = new Intl.NumberFormat(language);
const percents = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
const decimals = new Intl.NumberFormat(language, { maximumFractionDigits: 3, minimumFractionDigits: 3 });
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

export const number = (value: number): string => integers.format(value);
export const percent = (value: number): string => percents.format(value);
export const decimal = (value: number): string => decimals.format(value);
export const date = (text: string): string => dates.format(new Date(text));

export function milliseconds(value: number): string {
  const digits = value < 10 ? 1 : 0;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value)} ms`;
}
