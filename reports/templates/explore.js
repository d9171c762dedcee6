"use strict";
(function () {
  const source = document.getElementById("explore-data");
  const root = document.getElementById("explore");
  if (!source || !root) return;
  const data = JSON.parse(source.textContent);
  const NS = "http://www.w3.org/2000/svg";
  const W = 720, H = 420, LEFT = 66, RIGHT = 24, TOP = 16, BOTTOM = 50;
  const pick = function (name) { return root.querySelector("[name=" + name + "]"); };
  const state = { setting: 0, x: "seconds", y: "accuracy", xlog: true, ylog: false, off: new Set(), seeds: new Set() };
  let shown = [];

  function unique(values) { return Array.from(new Set(values)); }
  function here() { return data.points.filter(function (p) { return p.setting === state.setting; }); }
  function key(p) { return p.label + (devices() > 1 ? " on " + p.device : ""); }
  function devices() { return unique(here().map(function (p) { return p.device; })).length; }

  function read() {
    const words = new URLSearchParams(location.hash.replace(/^#explore&?/, ""));
    if (!location.hash.startsWith("#explore&")) return;
    const setting = parseInt(words.get("setting"), 10);
    if (setting >= 0 && setting < data.settings.length) state.setting = setting;
    ["x", "y"].forEach(function (axis) { if (data.axes[words.get(axis)]) state[axis] = words.get(axis); });
    state.xlog = words.get("xlog") !== "0";
    state.ylog = words.get("ylog") === "1";
    state.off = new Set(words.getAll("without"));
    state.seeds = new Set(words.getAll("noseed"));
  }

  function write() {
    const words = new URLSearchParams({ setting: state.setting, x: state.x, y: state.y, xlog: +state.xlog, ylog: +state.ylog });
    state.off.forEach(function (name) { words.append("without", name); });
    state.seeds.forEach(function (seed) { words.append("noseed", seed); });
    history.replaceState(null, "", "#explore&" + words.toString());
  }

  function mean(values) {
    const known = values.filter(function (v) { return v !== null; });
    return known.length ? known.reduce(function (a, b) { return a + b; }, 0) / known.length : null;
  }

  function rows() {
    const chosen = here().filter(function (p) { return !state.off.has(key(p)) && !state.seeds.has(String(p.seed)); });
    return unique(chosen.map(key)).map(function (name) {
      const own = chosen.filter(function (p) { return key(p) === name; });
      const row = { name: name, colour: own[0].colour, dashed: own[0].dashed, seeds: own.length };
      Object.keys(data.axes).forEach(function (axis) { row[axis] = mean(own.map(function (p) { return p[axis]; })); });
      return row;
    });
  }

  function better(axis, a, b) { return data.axes[axis].less ? a < b : a > b; }

  function front(found) {
    return found.filter(function (row) {
      return !found.some(function (other) {
        const noWorse = !better(state.x, row[state.x], other[state.x]) && !better(state.y, row[state.y], other[state.y]);
        return noWorse && (better(state.x, other[state.x], row[state.x]) || better(state.y, other[state.y], row[state.y]));
      });
    });
  }

  function element(name, attributes, text) {
    const made = document.createElementNS(NS, name);
    Object.keys(attributes).forEach(function (k) { made.setAttribute(k, attributes[k]); });
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function number(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    const digits = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
    return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  function tick(value) { return value.toLocaleString("en", { maximumSignificantDigits: 6 }); }

  function scale(values, log, from, to) {
    let low = Math.min.apply(null, values), high = Math.max.apply(null, values);
    if (log && low > 0) {
      low = Math.log10(low); high = Math.log10(high);
      const room = (high - low) * 0.08 || 0.1;
      low -= room; high += room;
      const at = function (v) { return from + (Math.log10(v) - low) / (high - low) * (to - from); };
      const ticks = [];
      for (let e = Math.floor(low); e <= Math.ceil(high); e += 1) {
        (high - low > 3 ? [1] : [1, 2, 5]).forEach(function (m) {
          const v = m * Math.pow(10, e);
          if (Math.log10(v) >= low && Math.log10(v) <= high) ticks.push(v);
        });
      }
      if (ticks.length > 1) return { at: at, ticks: ticks };
      return { at: at, ticks: [Math.pow(10, low + (high - low) * 0.1), Math.pow(10, high - (high - low) * 0.1)].map(function (v) { return +v.toPrecision(2); }) };
    }
    const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
    low -= room; high += room;
    const rough = (high - low) / 5, unit = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 5, 10].map(function (m) { return m * unit; }).find(function (s) { return s >= rough; });
    const ticks = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) ticks.push(+v.toPrecision(10));
    return { at: function (v) { return from + (v - low) / (high - low) * (to - from); }, ticks: ticks };
  }

  function draw(found) {
    const svg = root.querySelector("svg");
    svg.replaceChildren(element("title", { id: "explore-title" }, data.axes[state.y].title + " against " + data.axes[state.x].title));
    const ends = front(found);
    svg.appendChild(element("desc", { id: "explore-desc" }, "On the Pareto front: " + (ends.map(function (r) { return r.name; }).join(", ") || "nothing") + "."));
    if (!found.length) {
      svg.appendChild(element("text", { x: W / 2, y: H / 2, "text-anchor": "middle", class: "word" }, "Nothing chosen has both numbers."));
      return;
    }
    const x = scale(found.map(function (r) { return r[state.x]; }), state.xlog, LEFT, W - RIGHT);
    const y = scale(found.map(function (r) { return r[state.y]; }), state.ylog, H - BOTTOM, TOP);
    x.ticks.forEach(function (v) {
      svg.appendChild(element("line", { x1: x.at(v), x2: x.at(v), y1: TOP, y2: H - BOTTOM, class: "rule" }));
      svg.appendChild(element("text", { x: x.at(v), y: H - BOTTOM + 17, "text-anchor": "middle", class: "tick" }, tick(v)));
    });
    y.ticks.forEach(function (v) {
      svg.appendChild(element("line", { x1: LEFT, x2: W - RIGHT, y1: y.at(v), y2: y.at(v), class: "rule" }));
      svg.appendChild(element("text", { x: LEFT - 7, y: y.at(v) + 4, "text-anchor": "end", class: "tick" }, tick(v)));
    });
    const named = function (axis) { return data.axes[axis].title + " (" + data.axes[axis].unit + ")"; };
    svg.appendChild(element("text", { x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle", class: "word" }, named(state.x)));
    const turned = element("text", { x: 0, y: 0, "text-anchor": "middle", class: "word", transform: "translate(14 " + (TOP + H - BOTTOM) / 2 + ") rotate(-90)" }, named(state.y));
    svg.appendChild(turned);
    const line = ends.slice().sort(function (a, b) { return a[state.x] - b[state.x]; });
    svg.appendChild(element("polyline", { points: steps(line, x, y), class: "front" }));
    const taken = [];
    found.forEach(function (row) {
      const cx = x.at(row[state.x]), cy = y.at(row[state.y]);
      const colour = "var(--" + row.colour + ")";
      svg.appendChild(element("circle", { cx: cx, cy: cy, r: 6, fill: row.dashed ? "var(--paper)" : colour, stroke: colour, "stroke-width": 2 }));
      taken.push([cx - 8, cy - 8, cx + 8, cy + 8]);
    });
    found.forEach(function (row, place) {
      const cx = x.at(row[state.x]), cy = y.at(row[state.y]), wide = row.name.length * 6.4;
      const tries = [[10, 4, "start"], [-10, 4, "end"], [0, -11, "middle"], [0, 20, "middle"], [9, -10, "start"], [-9, -10, "end"], [9, 18, "start"], [-9, 18, "end"]];
      const fit = tries.find(function (t) {
        const left = cx + t[0] - (t[2] === "end" ? wide : t[2] === "middle" ? wide / 2 : 0);
        const box = [left, cy + t[1] - 11, left + wide, cy + t[1] + 3];
        const clear = box[0] > LEFT && box[2] < W - 2 && !taken.some(function (o, i) {
          return i !== place && box[0] < o[2] && box[2] > o[0] && box[1] < o[3] && box[3] > o[1];
        });
        if (clear) taken.push(box);
        return clear;
      });
      if (fit) svg.appendChild(element("text", { x: cx + fit[0], y: cy + fit[1], "text-anchor": fit[2], class: "name" }, row.name));
    });
  }

  function steps(line, x, y) {
    const corners = [];
    line.forEach(function (row, place) {
      if (place) corners.push(x.at(row[state.x]) + "," + y.at(line[place - 1][state.y]));
      corners.push(x.at(row[state.x]) + "," + y.at(row[state.y]));
    });
    return corners.join(" ");
  }

  function table(found) {
    const body = root.querySelector("tbody");
    const ends = new Set(front(found.filter(both)).map(function (r) { return r.name; }));
    body.replaceChildren();
    found.forEach(function (row) {
      const line = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = row.name;
      line.appendChild(head);
      Object.keys(data.axes).forEach(function (axis) {
        const cell = line.insertCell();
        cell.textContent = number(row[axis]);
        if (row[axis] !== null) cell.dataset.value = row[axis];
      });
      line.insertCell().textContent = row.seeds;
      line.insertCell().textContent = ends.has(row.name) ? "yes" : "";
    });
    root.querySelector("[aria-live]").textContent = found.length + (found.length === 1 ? " configuration" : " configurations") + ", " + ends.size + " on the Pareto front.";
  }

  function both(row) {
    return row[state.x] !== null && row[state.y] !== null;
  }

  function show() {
    shown = rows();
    draw(shown.filter(both));
    table(shown);
  }

  function update() {
    show();
    write();
  }

  function boxes(holder, names, off) {
    holder.querySelectorAll("label").forEach(function (label) { label.remove(); });
    names.forEach(function (name) {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !off.has(name);
      box.addEventListener("change", function () {
        if (box.checked) off.delete(name); else off.add(name);
        update();
      });
      label.append(box, " " + name);
      holder.appendChild(label);
    });
  }

  function build() {
    boxes(root.querySelector(".methods"), unique(here().map(key)), state.off);
    boxes(root.querySelector(".seeds"), unique(here().map(function (p) { return String(p.seed); })).sort(function (a, b) { return a - b; }), state.seeds);
    root.querySelector(".about").textContent = data.settings[state.setting].about;
  }

  function options(select, entries, value) {
    entries.forEach(function (entry) { select.add(new Option(entry[1], entry[0])); });
    select.value = value;
  }

  function csv() {
    const quoted = function (text) { return '"' + String(text).replace(/"/g, '""').replace(/^([=+\-@\t\r])/, "'$1") + '"'; };
    const axes = Object.keys(data.axes);
    const head = ["configuration"].concat(axes.map(function (a) { return data.axes[a].title + " (" + data.axes[a].unit + ")"; }), "seeds");
    const lines = shown.map(function (row) {
      return [quoted(row.name)].concat(axes.map(function (a) { return row[a] === null ? "" : row[a]; }), row.seeds).join(",");
    });
    return [head.map(quoted).join(",")].concat(lines).join("\n") + "\n";
  }

  const known = Object.keys(data.axes);
  if (!data.axes.accuracy) state.y = known.find(function (a) { return a !== "seconds"; }) || known[0];
  if (!data.axes.seconds) state.x = known.find(function (a) { return a !== state.y; }) || state.y;
  read();
  options(pick("setting"), data.settings.map(function (s, i) { return [i, s.title]; }), state.setting);
  const axes = Object.keys(data.axes).map(function (a) { return [a, data.axes[a].title]; });
  options(pick("x"), axes, state.x);
  options(pick("y"), axes, state.y);
  pick("xlog").checked = state.xlog;
  pick("ylog").checked = state.ylog;
  pick("setting").addEventListener("change", function () {
    state.setting = +pick("setting").value;
    state.off.clear();
    state.seeds.clear();
    build();
    update();
  });
  ["x", "y"].forEach(function (axis) {
    pick(axis).addEventListener("change", function () { state[axis] = pick(axis).value; update(); });
    pick(axis + "log").addEventListener("change", function () { state[axis + "log"] = pick(axis + "log").checked; update(); });
  });
  root.querySelector(".save").addEventListener("click", function (event) {
    event.currentTarget.href = "data:text/csv;charset=utf-8," + encodeURIComponent(csv());
  });
  root.hidden = false;
  build();
  show();
  if (location.hash.startsWith("#explore")) { root.closest("details").open = true; root.scrollIntoView(); }
})();
