// Draws the points of a map on a canvas, and moves over it: as a density when far, as dots, as pictures when near.

import type { MapClass, MapRegion, MapRow, Points, Polygon } from "./points";

export interface View {
  x: number;
  y: number;
  zoom: number;
}

export interface Told {
  moved(view: View, inView: number, some: number[]): void;
  pointed(point: number | null, x: number, y: number): void;
  chosen(point: number): void;
  marked(polygon: Polygon): void;
}

const MOST_DOTS = 20_000;
export const MOST_PICTURES = 200;
const MOST_ZOOM = 400;
const NEAR = 10;
const REST = 160;
const FRAME = 32; // milliseconds that a frame may take while the map moves
const FEWEST = 65_536;
const STEPS = 48;
const NAME = 13; // pixels of the letters of a name

export class Plane {
  view: View;
  marking = false;
  lit: MapRow[] = [];
  area: Polygon | null = null;
  readonly pictures = new Map<number, HTMLImageElement>();
  private hidden = new Uint8Array(256);
  private readonly context: CanvasRenderingContext2D;
  private readonly sheet = document.createElement("canvas");
  private cells = new Uint16Array(0);
  private last = new Uint8Array(0);
  private image: ImageData | null = null;
  private readonly palette = new Uint32Array(256).fill(0x848a8b);
  private readonly colours: string[] = new Array(256).fill("#8b8a84");
  private sprites = new Map<string, HTMLCanvasElement>();
  private readonly seen = new Uint32Array(MOST_DOTS);
  private inView = 0;
  private asked = 0;
  private resting = 0;
  private atRest = true;
  private each = 3e-5; // milliseconds a point
  private width = 1;
  private height = 1;
  private ratio = 1;
  private fingers = new Map<number, [number, number]>();
  private path: [number, number][] | null = null;
  private went = 0;
  private readonly watcher: ResizeObserver;

  constructor(
    readonly canvas: HTMLCanvasElement,
    readonly points: Points,
    readonly side: number,
    classes: MapClass[],
    readonly regions: MapRegion[],
    readonly told: Told,
  ) {
    this.context = canvas.getContext("2d")!;
    this.view = this.whole;
    for (const { index, colour } of classes) {
      const [r, g, b] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16)) as [number, number, number];
      this.palette[index] = (b << 16) | (g << 8) | r;
      this.colours[index] = colour;
    }
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(canvas);
    this.resize();
    this.listen();
  }

  get whole(): View {
    return { x: this.side / 2, y: this.side / 2, zoom: 1 };
  }

  /** CSS pixels of one unit of the map. */
  private get scale(): number {
    return (Math.min(this.width, this.height) / this.side) * this.view.zoom;
  }

  close(): void {
    this.watcher.disconnect();
    cancelAnimationFrame(this.asked);
    clearTimeout(this.resting);
  }

  hide(classes: Set<number>): void {
    this.hidden.fill(0);
    for (const one of classes) this.hidden[one] = 1;
    this.draw();
  }

  go(view: View): void {
    const zoom = Math.min(MOST_ZOOM, Math.max(0.5, view.zoom));
    const within = (one: number) => Math.min(this.side, Math.max(0, one));
    this.view = { x: within(view.x), y: within(view.y), zoom };
    this.atRest = false;
    this.draw();
  }

  /** Zooms about a place of the canvas, its middle unless one is given. */
  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    const [left, top] = this.unitsOf(x, y);
    const zoom = Math.min(MOST_ZOOM, Math.max(0.5, this.view.zoom * factor));
    const kept = this.view.zoom / zoom;
    this.go({ x: left + (this.view.x - left) * kept, y: top + (this.view.y - top) * kept, zoom });
  }

  pan(right: number, down: number): void {
    this.go({ ...this.view, x: this.view.x + right / this.scale, y: this.view.y + down / this.scale });
  }

  /** The part of the map in view. */
  get frame(): Polygon {
    const [left, top] = this.unitsOf(0, 0);
    const [right, bottom] = this.unitsOf(this.width, this.height);
    return [
      [left, top],
      [right, top],
      [right, bottom],
      [left, bottom],
    ];
  }

  draw(): void {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => this.render());
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.rest(), REST);
  }

  private rest(): void {
    const partly = !this.atRest;
    this.atRest = true;
    if (partly) this.render();
    const listed = Math.min(this.inView, MOST_PICTURES);
    this.told.moved(this.view, this.inView, [...this.seen.subarray(0, listed)]);
  }

  private unitsOf(x: number, y: number): [number, number] {
    const { scale } = this;
    return [this.view.x + (x - this.width / 2) / scale, this.view.y + (y - this.height / 2) / scale];
  }

  private placeOf(x: number, y: number): [number, number] {
    const { scale } = this;
    return [this.width / 2 + (x - this.view.x) * scale, this.height / 2 + (y - this.view.y) * scale];
  }

  private resize(): void {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = Math.min(2, devicePixelRatio || 1);
    this.width = Math.max(1, Math.round(box.width));
    this.height = Math.max(1, Math.round(box.height));
    this.canvas.width = this.width * this.ratio;
    this.canvas.height = this.height * this.ratio;
    this.draw();
  }

  private render(): void {
    const began = performance.now();
    const { context, points } = this;
    // Rows are shuffled: while the map moves, so many of them are drawn as there is time for.
    const able = Math.max(FEWEST, Math.floor(FRAME / this.each));
    const count = this.atRest ? points.loaded : Math.min(points.loaded, able);
    const cell = this.inView > 300_000 ? 1 : 2;
    const found = this.gather(count, cell);
    if (count > FEWEST / 2) this.each += 0.3 * ((performance.now() - began) / count - this.each);
    this.inView = count ? Math.round((found * points.loaded) / count) : 0;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.globalAlpha = this.lit.length ? 0.4 : 1;
    const far = this.inView > MOST_DOTS;
    if (far) this.paint(cell);
    else this.dots(found);
    context.globalAlpha = 1;
    this.names();
    this.rings();
    this.outline();
    const state = far ? "density" : this.inView < MOST_PICTURES && this.pictures.size ? "pictures" : "dots";
    Object.assign(this.canvas.dataset, { state, ms: (performance.now() - began).toFixed(1), drawn: String(count) });
  }

  /** Counts the points in each cell, and keeps the class of the last: a fair draw among those of the cell. */
  private gather(count: number, cell: number): number {
    const wide = Math.ceil(this.width / cell);
    const high = Math.ceil(this.height / cell);
    if (this.cells.length !== wide * high) {
      this.cells = new Uint16Array(wide * high);
      this.last = new Uint8Array(wide * high);
      this.sheet.width = wide;
      this.sheet.height = high;
      this.image = this.sheet.getContext("2d")!.createImageData(wide, high);
    } else this.cells.fill(0);
    const { cells, last, hidden, seen } = this;
    const { x, y, classes } = this.points;
    const scale = this.scale / cell;
    const left = wide / 2 - this.view.x * scale;
    const top = high / 2 - this.view.y * scale;
    let found = 0;
    for (let i = 0; i < count; i++) {
      const across = x[i]! * scale + left;
      const down = y[i]! * scale + top;
      if (across < 0 || down < 0 || across >= wide || down >= high) continue;
      const kind = classes[i]!;
      if (hidden[kind]) continue;
      if (found < MOST_DOTS) seen[found] = i;
      found++;
      const place = (down | 0) * wide + (across | 0);
      cells[place]!++;
      last[place] = kind;
    }
    return found;
  }

  private paint(cell: number): void {
    const { cells, last, palette, image } = this;
    const pixels = new Uint32Array(image!.data.buffer);
    let most = 1;
    for (let i = 0; i < cells.length; i++) if (cells[i]! > most) most = cells[i]!;
    const strength = new Uint32Array(Math.min(most, 4095) + 1);
    const full = Math.log(1 + most * 0.5);
    for (let n = 1; n < strength.length; n++) {
      strength[n] = (Math.min(255, Math.round(255 * (0.4 + (0.6 * Math.log(n)) / full))) << 24) >>> 0;
    }
    const end = strength.length - 1;
    for (let i = 0; i < cells.length; i++) {
      const n = cells[i]!;
      pixels[i] = n ? palette[last[i]!]! | strength[n > end ? end : n]! : 0;
    }
    this.sheet.getContext("2d")!.putImageData(image!, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(this.sheet, 0, 0, this.sheet.width * cell, this.sheet.height * cell);
  }

  private dots(found: number): void {
    const room = Math.sqrt((this.width * this.height) / Math.max(1, found));
    const radius = Math.min(6, Math.max(1.6, room / 7));
    const side = Math.min(72, Math.max(26, room * 0.75));
    const draws = found < MOST_PICTURES ? this.pictures : null;
    for (let n = Math.min(found, MOST_DOTS) - 1; n >= 0; n--) {
      const i = this.seen[n]!;
      const [x, y] = this.placeOf(this.points.x[i]!, this.points.y[i]!);
      const picture = draws?.get(i);
      if (picture?.complete && picture.naturalWidth) this.picture(picture, x, y, side, this.colours[this.points.classes[i]!]!);
      else {
        const sprite = this.sprite(this.points.classes[i]!, radius);
        const size = sprite.width / this.ratio;
        this.context.drawImage(sprite, x - size / 2, y - size / 2, size, size);
      }
    }
  }

  private picture(picture: HTMLImageElement, x: number, y: number, side: number, colour: string): void {
    const shrink = side / Math.max(picture.naturalWidth, picture.naturalHeight);
    const [wide, high] = [picture.naturalWidth * shrink, picture.naturalHeight * shrink];
    this.context.imageSmoothingEnabled = true;
    this.context.fillStyle = colour;
    this.context.fillRect(x - wide / 2 - 2, y - high / 2 - 2, wide + 4, high + 4);
    this.context.drawImage(picture, x - wide / 2, y - high / 2, wide, high);
  }

  private sprite(kind: number, radius: number): HTMLCanvasElement {
    const name = `${kind} ${radius.toFixed(1)} ${this.ratio}`;
    const known = this.sprites.get(name);
    if (known) return known;
    if (this.sprites.size > 600) this.sprites.clear();
    const made = document.createElement("canvas");
    const half = Math.ceil(radius * this.ratio) + 1;
    made.width = made.height = 2 * half;
    const context = made.getContext("2d")!;
    context.fillStyle = this.colours[kind]!;
    context.arc(half, half, radius * this.ratio, 0, 2 * Math.PI);
    context.fill();
    this.sprites.set(name, made);
    return made;
  }

  private get ink(): string {
    return getComputedStyle(this.canvas).color;
  }

  /** Hits of the question, each with a ring. */
  private rings(): void {
    const { context } = this;
    context.strokeStyle = this.ink;
    context.lineWidth = 2;
    for (const { point, x, y } of this.lit) {
      const kind = this.points.classes[point]!;
      if (this.hidden[kind]) continue;
      const [left, top] = this.placeOf(x, y);
      context.beginPath();
      context.arc(left, top, 5.5, 0, 2 * Math.PI);
      context.fillStyle = this.colours[kind]!;
      if (point < this.points.loaded) context.fill();
      context.stroke();
    }
  }

  /** Names of parts of the map, the largest first; one that would cover another is left out. */
  private names(): void {
    const { context } = this;
    const style = getComputedStyle(this.canvas);
    context.font = `600 ${NAME}px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = style.getPropertyValue("--ground") || "Canvas";
    context.fillStyle = style.color;
    const drawn: [number, number, number][] = [];
    for (const { name, x, y } of this.regions) {
      const [left, top] = this.placeOf(x, y);
      const half = context.measureText(name).width / 2;
      if (left + half < 0 || left - half > this.width || top < 0 || top > this.height) continue;
      if (drawn.some(([a, b, wide]) => Math.abs(a - left) < wide + half + 4 && Math.abs(b - top) < NAME + 2)) continue;
      drawn.push([left, top, half]);
      context.strokeText(name, left, top);
      context.fillText(name, left, top);
    }
    this.canvas.dataset.names = String(drawn.length);
  }

  private outline(): void {
    const drawn = this.path ?? this.area?.map(([x, y]) => this.placeOf(x, y));
    if (!drawn || drawn.length < 2) return;
    const { context } = this;
    context.strokeStyle = this.ink;
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.beginPath();
    drawn.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }

  /** The point nearest to a place of the canvas. */
  private nearest(x: number, y: number): number | null {
    const [left, top] = this.unitsOf(x, y);
    const { points, hidden } = this;
    const drawsPictures = this.canvas.dataset.state === "pictures";
    let least = ((drawsPictures ? 30 : NEAR) / this.scale) ** 2;
    let found: number | null = null;
    for (let i = 0; i < points.loaded; i++) {
      const across = points.x[i]! - left;
      const down = points.y[i]! - top;
      const far = across * across + down * down;
      if (far < least && !hidden[points.classes[i]!]) {
        least = far;
        found = i;
      }
    }
    return found;
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 20 : 1;
      this.zoom(Math.exp(-event.deltaY * lines * 0.0018), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.told.pointed(null, 0, 0));
    canvas.addEventListener("keydown", (event) => this.press(event));
  }

  private down(event: PointerEvent): void {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.went = this.fingers.size > 1 ? Infinity : 0;
    this.path = (event.shiftKey || this.marking) && this.fingers.size === 1 ? [[event.offsetX, event.offsetY]] : null;
  }

  private move(event: PointerEvent): void {
    const before = this.fingers.get(event.pointerId);
    const now: [number, number] = [event.offsetX, event.offsetY];
    if (!before) {
      if (event.pointerType === "mouse") this.told.pointed(this.nearest(...now), ...now);
      return;
    }
    this.went += Math.hypot(now[0] - before[0], now[1] - before[1]);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, now);
    if (this.path && !other) {
      this.path.push(now);
      this.draw();
    } else if (other) {
      const wide = (a: [number, number]) => Math.hypot(a[0] - other[0], a[1] - other[1]);
      this.pan((before[0] - now[0]) / 2, (before[1] - now[1]) / 2);
      if (wide(before) > 1) this.zoom(wide(now) / wide(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (this.went > 4) {
      this.told.pointed(null, 0, 0);
      this.pan(before[0] - now[0], before[1] - now[1]);
    }
  }

  private up(event: PointerEvent): void {
    if (!this.fingers.delete(event.pointerId)) return;
    const { path } = this;
    this.path = null;
    if (path && path.length > 3 && this.went > 12) {
      const every = Math.ceil(path.length / STEPS);
      this.told.marked(path.filter((_, place) => place % every === 0).map(([x, y]) => this.unitsOf(x, y)));
    } else if (this.went <= 4) {
      const point = this.nearest(event.offsetX, event.offsetY);
      if (point !== null) this.told.chosen(point);
    }
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [right, down] = [this.width / 8, this.height / 8];
    const does: Record<string, () => void> = {
      ArrowLeft: () => this.pan(-right, 0),
      ArrowRight: () => this.pan(right, 0),
      ArrowUp: () => this.pan(0, -down),
      ArrowDown: () => this.pan(0, down),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      "0": () => this.go(this.whole),
      Enter: () => this.told.marked(this.frame),
      Escape: () => this.told.marked([]),
    };
    const one = does[event.key];
    if (!one) return;
    event.preventDefault();
    one();
  }
}
