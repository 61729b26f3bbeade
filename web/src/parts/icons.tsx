// Signs of one line width, drawn in the colour of the text.

const PATHS: Record<string, string> = {
  logo: "M3 3h5v5H3zM11 3h2M11 6h2M3 11h2M3 13h2M8 11h5v2H8z",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM11 11l4 4",
  close: "M3 3l10 10M13 3L3 13",
  crop: "M4 1v11h11M1 4h11v11",
  camera: "M2 5h3l1.5-2h3L11 5h3v8H2zM8 11.5A2.5 2.5 0 1 0 8 6.5a2.5 2.5 0 0 0 0 5Z",
  file: "M3 10v3h10v-3M8 10V2M5 5l3-3 3 3",
  theme: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12",
  help: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM6.3 6.3c0-2.3 3.4-2.3 3.4 0 0 1.4-1.7 1.5-1.7 3M8 11.3v.2",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  link: "M6.5 9.5l3-3M5 8L3.5 9.5a2 2 0 0 0 3 3L8 11M8 5l1.5-1.5a2 2 0 0 1 3 3L11 8",
  like: "M2 8h9M8 4l4 4-4 4M14 3v10",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  whole: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  lasso: "M8 3c3.5 0 6 1.6 6 3.8S11.5 10.5 8 10.5 2 9 2 6.8 4.5 3 8 3ZM5 10c-1.5.5-2 2-1 3s2 .5 2 1.5",
  map: "M2 4l4-2 4 2 4-2v10l-4 2-4-2-4 2zM6 2v10M10 4v10",
  filter: "M2 3h12L9.5 8.5V13l-3-1.5v-3z",
};

export function Icon({ name }: { name: string }) {
  return (
    <svg class="sign" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name] ?? ""} />
    </svg>
  );
}
