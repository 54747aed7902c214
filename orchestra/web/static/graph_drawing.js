// How the graph of tasks is drawn on its two canvases, one for the lines and one for the tasks. Nothing here is kept.

import { SIGNS, TASK_STATES } from "./words.js";

export const BOX = { width: 190, height: 40 }, COLUMN = 250, ROW = 56; // as the server lays it out
export const FAR = 0.35; // below this scale a task is a block of colour without text
const LABEL_PIXELS = 76; // of the counts over a group of columns

const COLOURS = { planned: "dim", ready: "dim", active: "busy", awaiting_qa: "wait", complete: "good", failed: "bad", waiting_human: "warn", abandoned: "dim" };

/** Read the colours of the theme. In forced colours the system's are used, and the signs tell the states apart. */
export function readPalette(element) {
  if (matchMedia("(forced-colors: active)").matches) {
    const names = Object.fromEntries(["dim", "busy", "wait", "good", "bad", "warn", "text", "line"].map((name) => [name, "CanvasText"]));
    return { ...names, raised: "Canvas", ground: "Canvas", link: "Highlight" };
  }
  const probe = element.ownerDocument.createElement("i");
  element.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const palette = Object.fromEntries(["dim", "busy", "wait", "good", "bad", "warn", "text", "line", "raised", "ground", "link"].map((name) => [name, read(name)]));
  probe.remove();
  return palette;
}

/** What can be asked of a layout: the box of a task, the task at a point, and its neighbours. */
export function indexGraph(graph, rows) {
  const boxes = new Map(graph.boxes.map(([id, x, y]) => [id, { id, x, y }])), cells = new Map(), neededBy = new Map(), columns = new Map();
  for (const box of boxes.values()) {
    cells.set(cellOf(box.x, box.y), box.id);
    if (!columns.has(box.x)) columns.set(box.x, []);
    columns.get(box.x).push(box);
  }
  for (const column of columns.values()) column.sort((a, b) => a.y - b.y);
  const edges = [];
  for (const row of rows.values()) {
    for (const need of row.needs) {
      if (!boxes.has(need) || !boxes.has(row.id)) continue;
      edges.push([boxes.get(need), boxes.get(row.id)]);
      if (!neededBy.has(need)) neededBy.set(need, []);
      neededBy.get(need).push(row.id);
    }
  }
  return { boxes, cells, neededBy, edges, columns: [...columns.entries()].sort((a, b) => a[0] - b[0]) };
}

const cellOf = (x, y) => `${Math.floor(x / COLUMN)} ${Math.floor(y / ROW)}`;

export function taskAt(index, x, y) {
  const id = index.cells.get(cellOf(x, y)), box = id === undefined ? null : index.boxes.get(id);
  return box && x <= box.x + BOX.width && y <= box.y + BOX.height && x >= box.x && y >= box.y ? id : null;
}

/** Whether a box of so many units is in what is seen. */
const meets = (seen, x, y, width, height) => x + width >= seen.left && x <= seen.right && y + height >= seen.top && y <= seen.bottom;

export function drawEdges(context, index, seen, scale, palette) {
  context.strokeStyle = palette.dim;
  context.lineWidth = Math.max(1, 0.6 / scale);
  context.globalAlpha = scale < FAR ? 0.45 : 0.8;
  context.beginPath();
  for (const [from, to] of index.edges) {
    const x1 = from.x + BOX.width, y1 = from.y + BOX.height / 2, x2 = to.x, y2 = to.y + BOX.height / 2;
    if (!meets(seen, Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1))) continue;
    context.moveTo(x1, y1);
    const middle = (x1 + x2) / 2;
    if (scale < FAR) context.lineTo(x2, y2);
    else context.bezierCurveTo(middle, y1, middle, y2, x2, y2);
  }
  context.stroke();
  context.globalAlpha = 1;
}

export function drawNodes(context, index, rows, seen, look) {
  for (const box of index.boxes.values()) {
    const row = rows.get(box.id);
    if (row && meets(seen, box.x, box.y, BOX.width, BOX.height)) drawNode(context, box, row, look);
  }
}

export function clearNode(context, { x, y }) {
  context.clearRect(x - 4, y - 4, BOX.width + 8, BOX.height + 8);
}

/** `look`: the scale, the palette, the chosen tasks, and which tasks fit the search. */
export function drawNode(context, { x, y }, row, { scale, palette, chosen, linking, fits }) {
  const colour = palette[COLOURS[row.state]] ?? palette.dim, isFar = scale < FAR;
  context.globalAlpha = fits(row.id) ? 1 : 0.25;
  context.fillStyle = isFar ? colour : palette.raised;
  context.strokeStyle = row.id === linking ? palette.warn : row.id === chosen ? palette.link : colour;
  context.lineWidth = row.id === chosen || row.id === linking ? 3 : 1.25;
  context.beginPath();
  if (isFar) context.rect(x, y, BOX.width, BOX.height);
  else context.roundRect(x, y, BOX.width, BOX.height, 6);
  context.fill();
  context.stroke();
  if (isFar) drawFarSign(context, x, y, row, scale, palette);
  else drawText(context, x, y, row, colour, palette);
  context.globalAlpha = 1;
}

function drawFarSign(context, x, y, row, scale, palette) {
  if (scale * BOX.height < 7) return;
  context.fillStyle = palette.ground;
  context.font = "32px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillText(SIGNS[row.state], x + BOX.width / 2 - 14, y + BOX.height / 2);
}

function drawText(context, x, y, row, colour, palette) {
  context.textBaseline = "alphabetic";
  context.font = "600 13px system-ui, sans-serif";
  context.fillStyle = colour;
  context.fillText(SIGNS[row.state], x + 8, y + 17);
  context.fillStyle = palette.text;
  context.fillText(shorten(context, `${row.agent}  ${row.phase ?? ""}`, BOX.width - 36), x + 27, y + 17);
  context.font = "11.5px system-ui, sans-serif";
  context.fillText(shorten(context, row.title || row.files[0] || "", BOX.width - 16), x + 8, y + 33);
}

function shorten(context, text, most) {
  if (context.measureText(text).width <= most) return text;
  let short = text.slice(0, Math.ceil(text.length * most / context.measureText(text).width));
  while (short && context.measureText(`${short}…`).width > most) short = short.slice(0, -1);
  return `${short}…`;
}

/** Groups of columns that are wide enough on the screen for their counts. */
export function groupColumns(index, scale) {
  const each = Math.max(1, Math.ceil(LABEL_PIXELS / (COLUMN * scale))), groups = [];
  for (let n = 0; n < index.columns.length; n += each) {
    const part = index.columns.slice(n, n + each);
    groups.push({ x: part[0][0], right: part.at(-1)[0] + BOX.width, boxes: part.flatMap(([, boxes]) => boxes) });
  }
  return groups;
}

/** Far away the columns are counts: how many tasks are in which state. */
export function drawCounts(context, index, rows, scale, palette) {
  context.clearRect(-COLUMN, -LABEL_HEIGHT / scale, (index.columns.length + 2) * COLUMN, (LABEL_HEIGHT - 4) / scale);
  context.font = `${11 / scale}px system-ui, sans-serif`;
  context.textBaseline = "alphabetic";
  context.fillStyle = palette.text;
  for (const group of groupColumns(index, scale)) {
    const counts = countStates(group.boxes, rows).slice(0, 4);
    counts.forEach(([state, number], n) => context.fillText(`${number}${SIGNS[state]}`, group.x + ((n % 2) * 36) / scale, -(n < 2 ? 20 : 6) / scale));
  }
}

export const LABEL_HEIGHT = 36; // pixels over the graph when it is far away

function countStates(boxes, rows) {
  const counts = Object.groupBy(boxes, (box) => rows.get(box.id)?.state ?? "planned");
  return ["failed", "waiting_human", "active", ...TASK_STATES].filter((state, n, all) => counts[state] && all.indexOf(state) === n).map((state) => [state, counts[state].length]);
}
