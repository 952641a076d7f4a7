/** A live sequence diagram: an ordered list whose items are arrows between lanes. Readable without sight, too. */

const MOST = 200;

export class Sequence {
  #list;
  #lanes;
  #laneBar;
  #rows = [];
  #storage;

  /** `lanes`: [{id, name, note}], left to right. What happened survives the sign-in redirect in `sessionStorage`. */
  constructor(list, laneBar, lanes, storageKey) {
    this.#list = list;
    this.#laneBar = laneBar;
    this.#storage = storageKey;
    this.lanes = lanes;
    try {
      this.#rows = JSON.parse(sessionStorage.getItem(storageKey) ?? "[]");
    } catch {
      this.#rows = [];
    }
    for (const row of this.#rows) this.#draw(row, false);
  }

  set lanes(lanes) {
    this.#lanes = lanes;
    this.#laneBar.style.setProperty("--lanes", String(lanes.length));
    this.#list.style.setProperty("--lanes", String(lanes.length));
    this.#laneBar.replaceChildren(
      ...lanes.map((lane) => {
        const cell = document.createElement("div");
        cell.className = "lane";
        const name = document.createElement("strong");
        name.textContent = lane.name;
        const note = document.createElement("span");
        note.textContent = lane.note;
        cell.append(name, note);
        return cell;
      }),
    );
  }

  /** An arrow `{from, to, text, kind: request|good|bad|warn|event, steps: [n], note}`; `from === to` is a note on a lane. */
  add(row) {
    this.#rows.push(row);
    if (this.#rows.length > MOST) {
      this.#rows.shift();
      this.#list.firstElementChild?.remove();
    }
    this.#draw(row, true);
    try {
      sessionStorage.setItem(this.#storage, JSON.stringify(this.#rows));
    } catch {
      // The diagram is a comfort: without storage it forgets across a redirect.
    }
  }

  clear() {
    this.#rows = [];
    this.#list.replaceChildren();
    try {
      sessionStorage.removeItem(this.#storage);
    } catch {
      // As above.
    }
  }

  #draw(row, fresh) {
    const count = this.#lanes.length;
    const index = (id) => Math.max(0, this.#lanes.findIndex((lane) => lane.id === id));
    const from = index(row.from);
    const to = index(row.to);
    const item = document.createElement("li");
    item.className = `row ${row.kind}`;
    item.dataset.steps = (row.steps ?? []).join(" ");

    const label = document.createElement("div");
    label.className = "label";
    const text = document.createElement("span");
    text.className = "text";
    text.textContent = row.text;
    label.append(text);
    if (row.note) {
      const note = document.createElement("small");
      note.textContent = row.note;
      label.append(note);
    }
    for (const step of [...(row.steps ?? [])].reverse()) {
      const badge = document.createElement("b");
      badge.className = "step";
      badge.textContent = String(step);
      label.prepend(badge);
    }

    const arrow = document.createElement("div");
    const left = Math.min(from, to);
    const span = Math.abs(from - to);
    if (span === 0) {
      item.classList.add("self");
      label.style.left = `${((left + 0.5) / count) * 100}%`;
      label.dataset.side = left === 0 ? "start" : left === count - 1 ? "end" : "middle";
    } else {
      arrow.className = `arrow ${from < to ? "to-right" : "to-left"}`;
      arrow.style.left = `${((left + 0.5) / count) * 100}%`;
      arrow.style.width = `${(span / count) * 100}%`;
      label.style.left = `${((left + span / 2 + 0.5) / count) * 100}%`;
      label.dataset.side = "middle";
      item.append(arrow);
    }
    item.prepend(label);
    item.setAttribute("aria-label", `${this.#lanes[from].name} → ${this.#lanes[to].name}: ${row.text} ${row.note ?? ""}`);
    this.#list.append(item);
    if (fresh) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
