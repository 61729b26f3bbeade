// A box over a picture; its part is what is asked with.

import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "./icons";

type Box = [number, number, number, number];

const STEP = 0.01;
const LEAST = 0.04;

const inside = ([left, top, width, height]: Box): Box => {
  const w = Math.min(1, Math.max(LEAST, width));
  const h = Math.min(1, Math.max(LEAST, height));
  return [Math.min(1 - w, Math.max(0, left)), Math.min(1 - h, Math.max(0, top)), w, h];
};

export function CropDialog({
  source,
  start,
  onDone,
  onClose,
}: {
  source: string;
  start: string | null;
  onDone: (box: number[]) => void;
  onClose: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const [box, setBox] = useState<Box>(() => {
    const kept = start?.split(",").map(Number) ?? [];
    return kept.length === 4 ? (kept as Box) : [0.2, 0.2, 0.6, 0.6];
  });
  const drag = useRef<{ part: string; x: number; y: number; box: Box } | null>(null);

  useEffect(() => dialog.current?.showModal(), []);

  const at = (event: PointerEvent): [number, number] => {
    const edge = frame.current!.getBoundingClientRect();
    return [(event.clientX - edge.left) / edge.width, (event.clientY - edge.top) / edge.height];
  };
  const press = (event: PointerEvent) => {
    const part = (event.target as HTMLElement).dataset.part ?? "new";
    const [x, y] = at(event);
    const from: Box = part === "new" ? [x, y, 0, 0] : box;
    drag.current = { part: part === "new" ? "se" : part, x, y, box: from };
    frame.current!.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const move = (event: PointerEvent) => {
    const held = drag.current;
    if (!held) return;
    const [x, y] = at(event);
    const [dx, dy] = [x - held.x, y - held.y];
    let [left, top, width, height] = held.box;
    if (held.part === "move") [left, top] = [left + dx, top + dy];
    if (held.part.includes("e")) width += dx;
    if (held.part.includes("s")) height += dy;
    if (held.part.includes("w")) [left, width] = [left + dx, width - dx];
    if (held.part.includes("n")) [top, height] = [top + dy, height - dy];
    // Drawn to the other side, the box turns over.
    if (width < 0) [left, width] = [left + width, -width];
    if (height < 0) [top, height] = [top + height, -height];
    setBox(inside([left, top, width, height]));
  };
  const keys = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    };
    const step = steps[event.key];
    if (event.key === "Enter") onDone(box);
    if (!step) return;
    event.preventDefault();
    const [left, top, width, height] = box;
    const [dx, dy] = step;
    setBox(inside(event.shiftKey ? [left, top, width + dx, height + dy] : [left + dx, top + dy, width, height]));
  };
  const share = (value: number) => `${100 * value}%`;
  const [left, top, width, height] = box;
  return (
    <dialog ref={dialog} class="crop" aria-label={t("crop")} onClose={onClose}>
      <div
        ref={frame}
        class="frame"
        onPointerDown={press}
        onPointerMove={move}
        onPointerUp={() => (drag.current = null)}
      >
        <img src={source} alt="" draggable={false} />
        <div
          class="box"
          data-part="move"
          tabIndex={0}
          role="group"
          aria-label={t("crop_help")}
          onKeyDown={keys}
          style={`left:${share(left)};top:${share(top)};width:${share(width)};height:${share(height)}`}
        >
          {["nw", "n", "ne", "e", "se", "s", "sw", "w"].map((part) => (
            <span key={part} class={`handle ${part}`} data-part={part} />
          ))}
        </div>
      </div>
      <p class="told">{t("crop_help")}</p>
      <div class="actions">
        <button class="main" onClick={() => onDone(box)}>
          {t("crop_search")}
        </button>
        <button onClick={() => dialog.current?.close()}>{t("cancel")}</button>
      </div>
      <button class="icon corner" aria-label={t("close")} onClick={() => dialog.current?.close()}>
        <Icon name="close" />
      </button>
    </dialog>
  );
}
